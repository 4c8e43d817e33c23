package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/alecthomas/kong"

	"sluice/config"
)

// configCmd is "sluice config".
type configCmd struct {
	config.Config
	Output string `short:"o" enum:"table,yaml,json" default:"table" placeholder:"table|yaml|json" help:"Format: a table, a file that --config reads, or JSON for programs."`
}

// Help says what it is for and shows how it is used.
func (configCmd) Help() string {
	return `It takes every flag that serve takes, prints what would be in force, and exits with code 2 if something is wrong, with all problems on standard error. Secrets are masked. It connects to nothing.

Examples:

    # What would be in force with this environment and this file?
    sluice config --config sluice.yaml

    # Write down what is in force, to start a file from:
    sluice config --output yaml > sluice.yaml`
}

// Run loads the configuration and prints it, also when it is invalid.
func (c *configCmd) Run(parsed *kong.Context, p *process) error {
	report, invalid := config.Load(&c.Config, config.SourcesOf(parsed, p.environ))
	var err error
	switch c.Output {
	case "yaml":
		err = writeConfigYAML(p.stdout, report)
	case "json":
		err = writeConfigJSON(p.stdout, report, invalid)
	default:
		err = writeConfigTable(p.stdout, report)
	}
	if err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	for _, warning := range report.Warnings {
		fmt.Fprintf(p.stderr, "sluice: warning: %s\n", warning)
	}
	return invalid
}

// refusedMark follows the origin of a value that can't be used.
const refusedMark = " (refused)"

func origin(row config.Row) string {
	if row.Refused {
		return row.Origin.String() + refusedMark
	}
	return row.Origin.String()
}

func writeConfigTable(w io.Writer, report config.Report) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SETTING\tVALUE\tFROM")
	for _, row := range report.Rows {
		value := row.Value
		if value == "" || !printable(value) {
			value = strconv.Quote(value)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", row.Name(), value, origin(row))
	}
	return table.Flush()
}

// printable keeps tabs, line breaks and terminal controls out of the table and of YAML's comments.
func printable(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) })
}

// plainYAML matches texts that YAML takes as they stand.
var plainYAML = regexp.MustCompile(`^-?[A-Za-z0-9][A-Za-z0-9_./+-]*$`)

// writeConfigYAML writes a file that Load accepts. What can't be given back, masked and refused values, is commented
// out; so is an instance named after its host, since the file may go to another host.
func writeConfigYAML(w io.Writer, report config.Report) error {
	var page strings.Builder
	group := ""
	for _, row := range report.Rows {
		if row.Key == "" {
			continue
		}
		if row.Group != group {
			group = row.Group
			page.WriteString("\n# " + group + "\n")
		}
		line := row.Key + ": " + yamlText(row.Value) + "  # " + commentText(origin(row))
		if row.Masked || row.Refused || (row.Key == "instance" && row.Origin.Source == config.SourceDefault) {
			line = "# " + line
		}
		page.WriteString(line + "\n")
	}
	_, err := io.WriteString(w, strings.TrimPrefix(page.String(), "\n"))
	return err
}

func yamlText(value string) string {
	if plainYAML.MatchString(value) && !strings.EqualFold(value, "null") {
		return value
	}
	// A JSON string is a YAML double-quoted one.
	quoted, err := json.Marshal(value)
	if err != nil {
		return strconv.Quote(value) // not reached: strings always marshal
	}
	return string(quoted)
}

func commentText(text string) string {
	if printable(text) {
		return text
	}
	return strconv.Quote(text)
}

// configJSON is what --output json prints.
type configJSON struct {
	Settings []settingJSON `json:"settings"`
	Problems []string      `json:"problems"`
	Warnings []string      `json:"warnings"`
}

type settingJSON struct {
	Name    string        `json:"name"`
	Flag    string        `json:"flag"`
	Env     string        `json:"env"`
	Value   string        `json:"value"`
	Masked  bool          `json:"masked"`
	Source  config.Source `json:"source"`
	From    string        `json:"from"`
	Refused bool          `json:"refused"`
}

func writeConfigJSON(w io.Writer, report config.Report, invalid error) error {
	out := configJSON{Settings: []settingJSON{}, Problems: []string{}, Warnings: append([]string{}, report.Warnings...)}
	for _, row := range report.Rows {
		out.Settings = append(out.Settings, settingJSON{
			Name: row.Name(), Flag: "--" + row.Flag, Env: row.Env, Value: row.Value, Masked: row.Masked,
			Source: row.Origin.Source, From: row.Origin.Name, Refused: row.Refused,
		})
	}
	if problems, ok := errors.AsType[*config.InvalidError](invalid); ok {
		out.Problems = problems.Problems
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(out)
}
