package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"mvdan.cc/sh/v3/syntax"

	"sluice/config"
	"sluice/internal/stream"
)

// replayCmd is "sluice replay".
type replayCmd struct {
	config.Config `groups:"Kafka,Topics"`

	Types   []string `arg:"" optional:"" name:"type" predictor:"event-type" help:"Event types, or patterns such as 'email_*'. All that Customer.io documents, unless given. dead-letter: dead letters."`
	Unknown bool     `help:"Also types that Customer.io doesn't document, and the overflow topic."`

	Since     *string `placeholder:"TIME" help:"Begin with the first event of this time or later, as 2026-01-31T15:04:05Z, 2026-01-31 (midnight UTC), or 10m, 2h, 7d ago. With the oldest, unless given."`
	Until     *string `placeholder:"TIME" help:"End before the first event later than this. With what is the last one as it begins, unless given."`
	Partition *int    `placeholder:"N" help:"Only this partition of the topics."`
	Offset    *string `placeholder:"BEGIN:END" help:"Only these offsets of the partition, END left out; either may be missing. For one topic, and --partition."`

	ToFile  string `placeholder:"FILE" help:"Write record lines of JSON to a new file; compressed if its name ends with .gz or .zst; - is standard output."`
	ToTopic string `placeholder:"TOPIC" help:"Write the records to this topic, which may be a template with {event_type}."`
	ToHTTP  string `name:"to-http" placeholder:"URL" help:"Post the bodies, signed as Customer.io does."`
	Reroute bool   `help:"Derive the types of dead letters again, and write each that has one now to its topic."`
	DryRun  bool   `help:"Only say what there is: records, bytes, times, and how long it would take."`

	JQ         string `name:"jq" placeholder:"EXPR" help:"Only events for which this jq expression gives anything but false or null, such as 'select(.data.campaign_id==42)'."`
	Customer   string `placeholder:"ID" help:"Only events of the person with this id, cio_id, customer_id or e-mail address."`
	DeliveryID string `placeholder:"ID" help:"Only events of this delivery, in their data or in the X-CIO-Delivery-ID header."`
	EventID    string `placeholder:"ID" help:"Only the event with this event_id or ce_id."`

	Rate       float64 `placeholder:"N" help:"Most records a second; 0: as fast as it goes."`
	Checkpoint string  `placeholder:"FILE" help:"Note in this file every few seconds, and when interrupted, how far it has come. It is removed at the end. Beside the file, or in the current folder, unless given."`
	Resume     bool    `help:"Go on from the checkpoint."`
	// Every is for tests, which have no seconds to wait.
	Every    time.Duration `name:"checkpoint-every" hidden:"" default:"3s" help:"How often the checkpoint is written."`
	ReplayID string        `placeholder:"TEXT" help:"Name of this replay, in the headers of what it writes to topics or posts. Random, unless given."`
	Output   string        `short:"o" enum:"text,json" default:"text" placeholder:"text|json" help:"Format of the summary."`
}

// Help says what it is for and shows how it is used.
func (replayCmd) Help() string {
	return `It reads a stretch of the topics, which ends where they end as it begins, and writes each event that is wanted, in the order of their time, to exactly one target: a file, a topic, or a webhook. It changes nothing in the topics that it reads and belongs to no consumer group. What has been deleted of the stretch is said before anything is written. Interrupted by Ctrl-C, or by a crash, it goes on with --resume where it was, and leaves the same behind as if it had never been interrupted.

Examples:

    # What did campaign 42 do last week, and how much is it?
    sluice replay 'email_*' --since 7d --jq 'select(.data.campaign_id == 42)' --dry-run

    # Every event of January, as a compressed file; the same command with --resume goes on:
    sluice replay --since 2026-01-01 --until 2026-02-01 --to-file january.ndjson.zst`
}

// Validate refuses what can't be meant. Kong calls it.
func (c *replayCmd) Validate() error {
	if _, _, err := c.span(time.Now()); err != nil {
		return err
	}
	if _, err := newTypeChoice(c.types(), c.Unknown, false); err != nil {
		return err
	}
	if _, err := c.offsets(); err != nil {
		return err
	}
	if _, err := c.filters(context.Background(), &replayCounts{}); err != nil {
		return err
	}
	if err := c.checkTarget(); err != nil {
		return err
	}
	switch {
	case c.Rate < 0 || math.IsNaN(c.Rate) || math.IsInf(c.Rate, 0):
		return fmt.Errorf("--rate: want 0 or more, got %v", c.Rate)
	case c.DryRun && c.Resume:
		return errors.New("--dry-run and --resume exclude each other: a dry run leaves no checkpoint")
	case c.DryRun && c.Checkpoint != "":
		return errors.New("--dry-run and --checkpoint exclude each other: a dry run leaves no checkpoint")
	case c.ToFile == "-" && c.Resume:
		return errors.New("--resume can't go on with standard output; give --to-file a name")
	case c.ToFile == "-" && c.Checkpoint != "":
		return errors.New("--checkpoint is of no use for standard output, which can't be gone on with")
	}
	return nil
}

// span is the times of the flags, zero for those that weren't given.
func (c *replayCmd) span(now time.Time) (since, until time.Time, err error) {
	t := tailCmd{Since: c.Since, Until: c.Until}
	if since, until, err = t.span(now); err != nil {
		return since, until, err
	}
	if !since.IsZero() && !until.IsZero() && until.Before(since) {
		return since, until, fmt.Errorf("--until (%s) is before --since (%s)", until.Format(time.RFC3339), since.Format(time.RFC3339))
	}
	return since, until, nil
}

// types are the arguments; a reroute is of dead letters.
func (c *replayCmd) types() []string {
	if c.Reroute && len(c.Types) == 0 {
		return []string{deadLetterArgument}
	}
	return c.Types
}

// Run replays, and says what came of it.
func (c *replayCmd) Run(ctx context.Context, parsed *kong.Context, p *process) error {
	if _, err := config.Load(&c.Config, config.SourcesOf(parsed, p.environ)); err != nil {
		return err
	}
	types, err := newTypeChoice(c.types(), c.Unknown, false)
	if err != nil {
		return err
	}
	chosen := types.in(topicOptions(&c.Config))
	if c.Offset != nil {
		if names, match := chosen.topics(); len(names) != 1 || match != nil {
			return errors.New("--offset is for one topic: name one event type, or dead-letter")
		}
	}
	if !c.Resume {
		if err := c.checkTypes(ctx, chosen, p); err != nil {
			if ctx.Err() != nil {
				return errors.New("interrupted before anything was read")
			}
			return err
		}
	}

	// Writing to a standard output that nobody reads would end the process by a signal.
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	defer signal.Stop(broken)
	defer fewCollections()()
	r := newReplay(c, p, chosen, c.goOn(parsed.Args))
	if c.DryRun {
		return r.dryRun(ctx)
	}
	return r.run(ctx)
}

// checkTypes warns of types that have no topic, or fails if one was named.
func (c *replayCmd) checkTypes(ctx context.Context, chosen *topicChoice, p *process) error {
	if !chosen.doubtful() {
		return nil
	}
	topics, err := stream.Topics(ctx, c.KafkaBrokers, connection(&c.Config))
	if err != nil {
		return explainUnreachable(err)
	}
	for _, missing := range chosen.missing(topics) {
		if missing.exact {
			return errors.New(missing.text)
		}
		fmt.Fprintf(p.stderr, "sluice: warning: %s\n", missing.text)
	}
	return nil
}

// goOn is the command line that goes on with this replay. A secret among the arguments isn't repeated.
func (c *replayCmd) goOn(args []string) string {
	if c.Resume {
		return commandLine(args)
	}
	return commandLine(args) + " --resume"
}

// commandLine quotes arguments for a shell, but for the values of flags that name a secret.
func commandLine(args []string) string {
	line := []string{"sluice"}
	secret := false
	for _, arg := range args {
		name, _, joined := strings.Cut(arg, "=")
		switch names := strings.HasSuffix(name, "password") || strings.HasPrefix(name, "--signing-key"); {
		case secret:
			arg, secret = "...", false
		case names && joined:
			arg = name + "=..."
		case names:
			secret = true
		}
		if quoted, err := syntax.Quote(arg, syntax.LangBash); err == nil {
			arg = quoted
		}
		line = append(line, arg)
	}
	return strings.Join(line, " ")
}

// fewCollections lets the heap grow to three times what is in use: records are short-lived, and what is in use is little.
// It saves a tenth of the processor time. What it returns undoes it.
func fewCollections() (undo func()) {
	percent := debug.SetGCPercent(200)
	return func() { debug.SetGCPercent(percent) }
}
