package config

import (
	"fmt"
	"io"
	"strings"
)

// referenceIntro is what docs/configuration.md says before the tables.
const referenceIntro = `# Configuration

<!-- Generated from the struct tags in config/config.go: go test ./config -run TestReference -update -->

Every setting is a flag, an environment variable and a key of a YAML file. ` + "`sluice config`" + ` prints the value in force for each,
where it comes from, and everything that is wrong.

**Precedence.** The first of these that has a setting wins: flag, environment variable, file named by a ` + "`_FILE`" + ` variable,
YAML file, default. The YAML file is the one named by ` + "`--config`" + ` or ` + "`SLUICE_CONFIG`" + `; there is none by default. An environment
variable that is set but empty counts as not set.

**YAML file.** One level of ` + "`key: value`" + `, each value written as for the flag. Lists may also be YAML lists, and
` + "`topic_overrides`" + ` a mapping: ` + "`{email_sent: {partitions: 12, retention: 168h}}`" + `.

**Mistakes.** Unknown flags, YAML keys and ` + "`SLUICE_…`" + ` variables are refused, so that a misspelt name can't leave a default in
force; the variables that Kubernetes adds for a Service called sluice are passed over. All problems are reported at once, and
the exit code is 2.

**Durations** are written as in Go, with days as well: ` + "`150ms`, `1m30s`, `720h`, `30d`, `1d12h`" + `. A day has 24 hours.
**Sizes** are bytes, or whole numbers of K, M, G or KiB, MiB, GiB, which are powers of 1024 either way: ` + "`8388608`, `8MiB`, `8M`" + `.

**Secrets.** A setting that may hold one can also be read from a file whose path is in its ` + "`_FILE`" + ` variable, as container
platforms mount them; line breaks at the file's end are dropped. Setting both variables is refused. Prefer either to a flag: a
process's flags can be read by every user of its host. Sluice prints no secret; in ` + "`sluice config`" + ` each is ` + "`****`" + `.

**Signing keys** are separated by commas or line breaks. Each is the key alone or ` + "`name=key`" + `; the name, 1 to 40 of
` + "`A-Z a-z 0-9 . _ -`" + `, shows in metrics and in the record header ` + "`ce_source`" + `, and is key1, key2 … by place where none is given.
The first ` + "`=`" + ` ends the name, unless only ` + "`=`" + ` follows it: that is a base64 key's padding. So give a key that has an ` + "`=`" + ` further
inside a name.
`

// WriteReference writes docs/configuration.md: what holds for all settings, then a table for each group.
func WriteReference(w io.Writer) error {
	var page strings.Builder
	page.WriteString(referenceIntro)
	group := ""
	for i, f := range fieldsOf(&Config{}) {
		if i == 0 || f.Group != group {
			group = f.Group
			page.WriteString("\n## " + referenceTitle(group) + "\n\n")
			page.WriteString("| Flag | Environment | YAML key | Default | Description |\n|---|---|---|---|---|\n")
		}
		page.WriteString(referenceRow(f.Setting))
	}
	_, err := io.WriteString(w, page.String())
	if err != nil {
		return fmt.Errorf("writing the reference: %w", err)
	}
	return nil
}

func referenceTitle(group string) string {
	if group == "" {
		return "File"
	}
	return group
}

func referenceRow(s Setting) string {
	env := code(s.Env)
	if s.FileEnv != "" {
		env += "<br>" + code(s.FileEnv)
	}
	key := code(s.Key)
	if s.Key == "" {
		key = "–"
	}
	byDefault := code(s.Default)
	if s.shown != "" {
		byDefault = s.shown
	}
	description := s.Description()
	if s.OneOf != nil {
		description += " One of " + codeList(s.OneOf) + "."
	}
	flag := code("--" + s.Flag)
	if s.negatable {
		flag += "<br>" + code("--no-"+s.Flag)
	}
	cells := []string{flag, env, key, byDefault, description}
	for i, cell := range cells {
		cells[i] = strings.ReplaceAll(cell, "|", `\|`)
	}
	return "| " + strings.Join(cells, " | ") + " |\n"
}

func code(text string) string { return "`" + text + "`" }

func codeList(words []string) string {
	var named []string
	for _, word := range words {
		if word != "" {
			named = append(named, code(word))
		}
	}
	return strings.Join(named, ", ")
}
