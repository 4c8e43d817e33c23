package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"sluice/config"
	"sluice/dedupe"
	"sluice/internal/audit"
	"sluice/internal/audit/extent"
	"sluice/internal/sender"
	"sluice/internal/stream"
)

// auditCmd is "sluice audit".
type auditCmd struct {
	config.Config `groups:"Kafka,Topics,Dedupe"`

	Files    []string `arg:"" optional:"" name:"file" help:"Ledgers, as with --ledger."`
	Ledger   []string `sep:"none" placeholder:"FILE" help:"A ledger that 'sluice send --ledger' has written; - is standard input. May be given several times: several senders' events are one set."`
	Since    *string  `placeholder:"TIME" help:"Read the topics from this time on, as 2026-01-31T15:04:05Z, 2026-01-31 (midnight UTC), or 10m, 2h, 7d ago. A minute before the ledgers' first event, unless given."`
	Strict   bool     `help:"Records that no ledger explains are wrong too."`
	Findings int      `default:"10" placeholder:"N" help:"How many findings of a kind are listed; 0: all. JSON always has all."`
	Output   string   `short:"o" enum:"text,json" default:"text" placeholder:"text|json" help:"Format of the report."`
}

// Help says what it compares and shows how it is used.
func (auditCmd) Help() string {
	return `Every event that was acknowledged has to be in Kafka once, on its topic, byte for byte, with its headers; one that wasn't may be there once. It reads the topics on which the ledgers' events may be, up to what is their end at the start, changes nothing, and belongs to no consumer group. Only if nothing is wrong it exits with 0. Use the settings of the instance that received the events.

Examples:

    # Send for a minute, then see whether everything is there:
    sluice send --duration 1m --odd --duplicates 10% --ledger sent.ndjson && sluice audit --ledger sent.ndjson

    # Two senders' events, for a program:
    sluice audit a.ndjson b.ndjson -o json | jq '.findings[] | select(.kind == "lost") | .event'`
}

// ledgers are the files in the order of the command line, flags first.
func (c *auditCmd) ledgers() []string { return slices.Concat(c.Ledger, c.Files) }

// Validate refuses what can't be meant. Kong calls it.
func (c *auditCmd) Validate() error {
	files := c.ledgers()
	stdin := 0
	for _, name := range files {
		if name == "-" {
			stdin++
		}
	}
	switch {
	case len(files) == 0:
		return errors.New("no ledger: name a file that 'sluice send --ledger FILE' has written")
	case slices.Contains(files, ""):
		return errors.New("a ledger's name is empty")
	case stdin > 1:
		return errors.New("standard input (-) can be read once only")
	case c.Findings < 0:
		return fmt.Errorf("--findings: want 0 or more, got %d", c.Findings)
	}
	_, err := c.since(time.Now())
	return err
}

// since is the time of the flag, zero if it wasn't given.
func (c *auditCmd) since(now time.Time) (time.Time, error) {
	if c.Since == nil {
		return time.Time{}, nil
	}
	since, err := stream.ParseTime(*c.Since, now)
	if err != nil {
		return since, fmt.Errorf("--since: %w", err)
	}
	return since, nil
}

// Run compares and reports. Its error says what is wrong.
func (c *auditCmd) Run(ctx context.Context, parsed *kong.Context, p *process) error {
	if _, err := config.Load(&c.Config, config.SourcesOf(parsed, p.environ)); err != nil {
		return err
	}
	mode, err := dedupe.ParseMode(c.DedupeID)
	if err != nil {
		return err
	}
	progress := &auditProgress{}
	done := progress.start(p.stderr)
	result, err := c.compare(ctx, p, mode, progress)
	done()
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted, hence incomplete: %s records read, and nothing can be said of what is missing", sender.Count(progress.read.Load()))
	}
	if err != nil {
		return explainUnreachable(err)
	}
	write := result.writeText
	if c.Output == "json" {
		write = result.writeJSON
	}
	if err := write(p.stdout, c.Findings); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return result.verdict()
}

// compare reads the ledgers and then the topics.
func (c *auditCmd) compare(ctx context.Context, p *process, mode dedupe.Mode, progress *auditProgress) (*auditResult, error) {
	topics := newAuditTopics(topicOptions(&c.Config))
	comparison := audit.NewComparison(audit.Options{
		Topics: topics.right, DeadLetter: topics.where.DeadLetter, Headers: true, Foreign: c.Strict,
		Identity: func(eventID, deliveryID string, body audit.Sum) string {
			// The body's hash stands for the body, which no ledger has: what differs in one differs in the other.
			return dedupe.Identify(mode, eventID, deliveryID, body[:])
		},
	})
	ledgers := &auditLedgers{stdin: p.stdin, take: comparison.Send, progress: progress}
	if err := ledgers.read(ctx, c.ledgers()); err != nil {
		return nil, err
	}
	result := &auditResult{ledgers: len(c.ledgers()), strict: c.Strict}
	var err error
	if result.since, err = c.since(time.Now()); err != nil {
		return nil, err
	}
	if result.since.IsZero() {
		result.since = ledgers.first.Add(-time.Minute)
	}

	existing, err := stream.Topics(ctx, c.KafkaBrokers, connection(&c.Config))
	if err != nil {
		return nil, err
	}
	topics.exist(existing)
	names := topics.toRead(ledgers.types)
	extents, err := extent.Of(ctx, c.KafkaBrokers, connection(&c.Config), names, result.since)
	if err != nil {
		return nil, err
	}
	read := &auditReading{take: comparison.Find, progress: progress, reached: make(map[auditPartition]int64)}
	if len(names) > 0 {
		if err := c.readTopics(ctx, p, names, extents, result.since, read); err != nil {
			return nil, err
		}
	}
	result.report = comparison.Report()
	result.incomplete = read.incomplete(extents)
	result.notes = append(topics.missing(ledgers.types), cutNotes(extents, topics, result.report.Lost)...)
	return result, nil
}

func (c *auditCmd) readTopics(ctx context.Context, p *process, names []string, extents []extent.Extent, since time.Time, read *auditReading) error {
	for _, e := range extents {
		read.progress.total.Add(e.End - e.Since)
	}
	reader, err := stream.NewReader(stream.Options{
		Brokers: c.KafkaBrokers, Connect: connection(&c.Config), Topics: names, Since: since, Log: noticesTo(p.stderr),
	})
	if err != nil {
		return err
	}
	return reader.Run(ctx, read.record)
}

// verdict is the error of the command, nil if nothing is wrong.
func (r *auditResult) verdict() error {
	var wrong []string
	for _, kind := range findingKinds(r.report) {
		if len(kind.findings) > 0 {
			wrong = append(wrong, fmt.Sprintf("%s %s", sender.Count(int64(len(kind.findings))), kind.verdict))
		}
	}
	if r.strict && r.report.Foreign > 0 {
		wrong = append(wrong, sender.Count(int64(r.report.Foreign))+" foreign")
	}
	var errs []error
	if len(wrong) > 0 {
		errs = append(errs, errors.New("not balanced: "+strings.Join(wrong, ", ")))
	}
	if len(r.incomplete) > 0 {
		errs = append(errs, fmt.Errorf("incomplete: %d partitions couldn't be read to their end", len(r.incomplete)))
	}
	return errors.Join(errs...)
}
