package config

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// Sources are the places that Load takes values from. The functions stand in for the system's in tests; nil means the
// system's own.
type Sources struct {
	// Flags holds the flags given on the command line, by name without dashes: see [FlagsOf].
	Flags map[string]string
	// Environ holds the environment as "NAME=value" pairs, as os.Environ returns it.
	Environ []string
	// Groups are the headings of the settings that the command uses; nil stands for all. What is wrong with other
	// settings doesn't keep it from running, nor does a missing signing key unless both HTTP and Signature are among them.
	Groups   []string
	ReadFile func(path string) ([]byte, error)
	Hostname func() (string, error)
}

// Row is the outcome for one setting.
type Row struct {
	Setting
	// Value is the effective value as text, secrets masked. For a refused setting it is what was given.
	Value string
	// Masked reports whether Value hides something, so that it can't be given back as it stands.
	Masked bool
	Origin Origin
	// Refused reports whether a problem names this setting.
	Refused bool
}

// Report tells how a configuration came about.
type Report struct {
	Rows []Row
	// Warnings are about settings that work but are likely not what their user wants, a sentence each.
	Warnings []string
}

// Load fills into with the value of every setting and checks them, each and together. It returns the report also
// together with an error, which is an [*InvalidError] with all problems found; into is then not to be used.
func Load(into *Config, src Sources) (Report, error) {
	if src.ReadFile == nil {
		src.ReadFile = os.ReadFile
	}
	if src.Hostname == nil {
		src.Hostname = os.Hostname
	}
	*into = Config{}
	l := &loader{src: src, cfg: into, fields: fieldsOf(into)}
	var problems []string
	l.env, problems = readEnviron(src.Environ, l.fields)
	l.problems = append(l.problems, problems...)
	l.openFile()
	for _, f := range l.fields {
		l.fill(f)
	}
	l.nameInstance()
	l.check()

	report := Report{Rows: l.rows(), Warnings: l.warnings}
	if src.Groups != nil {
		report.Warnings = nil // they are about serving
	}
	if len(l.problems) > 0 {
		return report, &InvalidError{Problems: l.problems}
	}
	return report, nil
}

// loader is the state of one Load.
type loader struct {
	src      Sources
	cfg      *Config
	fields   []*field
	env      environment
	path     string               // of the YAML file, "" for none
	file     map[string]fileValue // by key
	problems []string
	warnings []string
}

// openFile reads the YAML file that the flag or the environment names.
func (l *loader) openFile() {
	f := l.field(&l.cfg.File)
	f.given = l.choose(f)
	l.path = f.given.text
	if l.path == "" {
		return
	}
	content, err := l.src.ReadFile(l.path)
	if err != nil {
		l.refuse(&l.cfg.File, "%v", err)
		return
	}
	var problems []string
	l.file, problems = readFile(l.path, content, l.fields)
	l.problems = append(l.problems, problems...)
}

// fill gives the field its value from the first source that has it. A text that is refused leaves the default in place,
// so that the checks across settings have something to compare with.
func (l *loader) fill(f *field) {
	if f.Default != "" {
		if err := f.parse(f.Default); err != nil {
			panic(fmt.Sprintf("config: default of %s: %v", f.Name(), err))
		}
	}
	f.given = l.choose(f)
	if f.refuse {
		return
	}
	if f.given.err != nil {
		l.refuse(f.pointer(), "%v", f.given.err)
		return
	}
	if f.given.origin.Source == SourceDefault {
		return
	}
	if err := f.parse(f.given.text); err != nil {
		l.refuse(f.pointer(), "%v", err)
	}
}

// choose finds what was given for the field. A secret that is set in both ways is refused, whichever would win: one of
// the two is a mistake, and using the wrong key shows only when requests are refused.
func (l *loader) choose(f *field) given {
	fileName := l.env[f.FileEnv]
	chosen := l.chooseFrom(f, fileName)
	if text, set := l.env[f.Env]; set && fileName != "" {
		chosen = given{text: text, origin: Origin{SourceEnv, f.Env}}
		chosen.err = fmt.Errorf("%s is set as well; set only one of the two", f.FileEnv)
	}
	chosen.shown = f.shownText(chosen)
	return chosen
}

// chooseFrom is the order of precedence.
func (l *loader) chooseFrom(f *field, fileName string) given {
	if text, set := l.src.Flags[f.Flag]; set {
		return given{text: text, origin: Origin{SourceFlag, "--" + f.Flag}}
	}
	if text, set := l.env[f.Env]; set {
		return given{text: text, origin: Origin{SourceEnv, f.Env}}
	}
	if fileName != "" {
		return l.readSecret(f, fileName)
	}
	if v, set := l.file[f.Key]; set {
		return given{text: v.text, err: v.err, line: v.line, path: l.path, origin: Origin{SourceFile, l.path + ":" + f.Key}}
	}
	return given{text: f.Default, origin: Origin{Source: SourceDefault}}
}

// readSecret reads the file that a _FILE variable names. The line break at its end isn't part of the secret: editors
// and echo put it there.
func (l *loader) readSecret(f *field, fileName string) given {
	g := given{shown: fileName, origin: Origin{SourceEnv, f.FileEnv}}
	content, err := l.src.ReadFile(fileName)
	switch {
	case err != nil:
		g.err = err
	default:
		g.text = strings.TrimRight(string(content), "\r\n")
		if g.text == "" {
			g.err = errors.New("the file is empty")
		}
	}
	return g
}

// shownText is the text as messages may repeat it.
func (f *field) shownText(g given) string {
	if g.origin.Name == f.FileEnv && f.FileEnv != "" {
		return g.shown
	}
	return f.maskedText(g.text)
}

// nameInstance takes the host's name for an instance that wasn't named.
func (l *loader) nameInstance() {
	f := l.field(&l.cfg.Instance)
	if f.refuse || l.cfg.Instance != "" {
		return
	}
	host, err := l.src.Hostname()
	if err != nil {
		l.refuse(&l.cfg.Instance, "finding the host's name: %v; set %s", err, f.Env)
		return
	}
	l.cfg.Instance = host
	f.given.shown = host
}

func (l *loader) rows() []Row {
	rows := make([]Row, len(l.fields))
	for i, f := range l.fields {
		row := Row{Setting: f.Setting, Value: formatValue(f.value), Origin: f.given.origin, Refused: f.refuse}
		if f.refuse {
			row.Value = f.given.shown
		}
		switch value := f.pointer().(type) {
		case *URL:
			row.Masked = value.String() != value.Reveal()
		case *Secret, *SigningKeys:
			row.Masked = row.Value != ""
		}
		rows[i] = row
	}
	return rows
}

// field finds the setting that is kept at pointer, such as &l.cfg.Listen.
func (l *loader) field(pointer any) *field {
	for _, f := range l.fields {
		if f.pointer() == pointer {
			return f
		}
	}
	panic(fmt.Sprintf("config: no field at this %T", pointer))
}

// refuse records what is wrong with the setting kept at pointer. It is called once for a setting: what else is wrong
// with a refused value doesn't matter yet.
func (l *loader) refuse(pointer any, format string, args ...any) {
	f := l.field(pointer)
	f.refuse = true
	if f.in(l.src.Groups) {
		l.problems = append(l.problems, f.label()+": "+fmt.Sprintf(format, args...))
	}
}

// usable reports whether none of the settings kept at the pointers has been refused.
func (l *loader) usable(pointers ...any) bool {
	for _, pointer := range pointers {
		if l.field(pointer).refuse {
			return false
		}
	}
	return true
}

func (l *loader) warn(format string, args ...any) {
	l.warnings = append(l.warnings, fmt.Sprintf(format, args...))
}

// name names the setting kept at pointer as its user did.
func (l *loader) name(pointer any) string { return l.field(pointer).name() }
