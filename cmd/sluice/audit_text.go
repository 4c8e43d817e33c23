package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"sluice/internal/audit"
	"sluice/internal/sender"
)

// auditResult is what there is to report.
type auditResult struct {
	report     *audit.Report
	ledgers    int
	since      time.Time
	strict     bool
	notes      []string
	incomplete []string // partitions
}

// findingKind is one way to be wrong.
type findingKind struct {
	word     string
	meaning  string
	verdict  string // behind a number
	findings []audit.Finding
}

func findingKinds(r *audit.Report) []findingKind {
	return []findingKind{
		{"lost", "acknowledged and nowhere", "lost", r.Lost},
		{"doubled", "more records than events", "doubled", r.Doubled},
		{"changed", "other bytes than were sent", "changed", r.Changed},
		{"misplaced", "on a wrong topic", "on a wrong topic", r.Misplaced},
		{"headers", "ce_id or event-type of another event", "with wrong headers", r.Headers},
	}
}

// writeText writes the report for people.
func (r *auditResult) writeText(w io.Writer, most int) error {
	count := func(n int) string { return sender.Count(int64(n)) }
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	row := func(name string, n int, more string) { fmt.Fprintf(table, "%s\t%s\t%s\n", name, count(n), more) }
	row("events", r.report.Sent, fmt.Sprintf("in %s", plural(r.ledgers, "ledger")))
	row("acknowledged", r.report.Acknowledged, "of them, with a 2xx")
	row("records", r.report.Records, "of these events, on the topics since "+r.since.UTC().Format(time.RFC3339))
	for _, kind := range findingKinds(r.report) {
		row(kind.word, len(kind.findings), kind.meaning)
	}
	row("dead-lettered", r.report.DeadLettered, "by the publisher, because their topic refused them")
	row("foreign", r.report.Foreign, "that no ledger explains")
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(&text)
	for _, note := range r.notes {
		fmt.Fprintf(&text, "Note: %s.\n", note)
	}
	for _, partition := range r.incomplete {
		fmt.Fprintf(&text, "Incomplete: %s.\n", partition)
	}
	writeFindings(&text, r.report, most)
	if r.verdict() == nil {
		fmt.Fprintln(&text, "Balanced: every acknowledged event is there once, on its topic, byte for byte.")
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// writeFindings lists up to so many findings of a kind, 0 for all.
func writeFindings(out io.Writer, r *audit.Report, most int) {
	for _, kind := range findingKinds(r) {
		for i, f := range kind.findings {
			if most > 0 && i == most {
				fmt.Fprintf(out, "  %s: %d more\n", kind.word, len(kind.findings)-i)
				break
			}
			fmt.Fprintf(out, "  %s: %s %s\n", kind.word, eventName(f.Event), f.Detail)
		}
	}
	for i, place := range r.ForeignRecords {
		if most > 0 && i == most {
			fmt.Fprintf(out, "  foreign: %d more\n", len(r.ForeignRecords)-i)
			break
		}
		fmt.Fprintf(out, "  foreign: %s\n", place)
	}
}

// maxName is the longest event id that is shown, in bytes.
const maxName = 100

// eventName makes an event id fit for a terminal: it may hold anything.
func eventName(id string) string {
	if len(id) <= maxName && !strings.ContainsFunc(id, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return id
	}
	if len(id) > maxName {
		id = id[:maxName] + "…"
	}
	return strconv.Quote(id)
}

func plural(n int, word string) string {
	if n != 1 {
		word += "s"
	}
	return sender.Count(int64(n)) + " " + word
}
