//go:build !nodemo

package main

import (
	"context"
	"fmt"
	"strings"

	"sluice/internal/audit"
	"sluice/internal/demo"
	"sluice/internal/sender"
	"sluice/publisher"
)

// check reads the topics and compares them with what was sent. Its error says that something differs.
func (t *trial) check(ctx context.Context, summary sender.Summary) error {
	ctx, cancel := context.WithTimeout(ctx, demoReadFor)
	defer cancel()
	out := t.process.stdout
	rows, total := t.rows()
	fmt.Fprintf(out, "%s\n%s\n\n", render(rows), summarize(total))

	prefix, _, _ := strings.Cut(t.service.config.Topic, publisher.EventTypePlaceholder)
	records, err := demo.Read(ctx, t.servers.Brokers(), prefix)
	if err != nil {
		return fmt.Errorf("the check: %w", err)
	}
	report := audit.Compare(t.sent, records, t.topicsOf)
	fmt.Fprintf(out, `Checked with another client, which read every topic from its start:

  sent          %d events in %d posts
  acknowledged  %d
  found         %d records of them, %d others

`, report.Sent, summary.Posts, report.Acknowledged, report.Records, report.Foreign)
	if !report.Balanced() {
		writeFindings(out, report, maxFindings)
		return fmt.Errorf("not balanced: %d lost, %d doubled, %d changed, %d on a wrong topic",
			len(report.Lost), len(report.Doubled), len(report.Changed), len(report.Misplaced))
	}
	fmt.Fprintln(out, "Balanced: every acknowledged event is there once, on its topic, byte for byte.")
	return nil
}

// maxFindings is how many of a kind are listed.
const maxFindings = 10
