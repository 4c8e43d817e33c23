package main

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/alecthomas/kong"

	"sluice/config"
)

// importCmd is "sluice import".
type importCmd struct {
	config.Config `groups:"Kafka,Topics,Dedupe"`

	File          string  `arg:"" help:"File of record lines or bodies, one a line; plain, gzip or zstd. -: standard input."`
	ToTopic       string  `placeholder:"TOPIC" help:"Write everything to this topic. Otherwise each event goes to the topic of its type."`
	Dedupe        bool    `help:"Leave out what Redis says is kept, and mark what is imported."`
	DryRun        bool    `help:"Write nothing; only say what there is."`
	Rate          float64 `placeholder:"N" help:"Most records a second; 0: as fast as it goes."`
	SkipMalformed bool    `help:"Leave out lines that can't be read, and count them. Otherwise the first one ends the import."`
	Remember      int     `default:"20000000" placeholder:"N" help:"Most events that are remembered so that repeated ones are left out, at 40 bytes each. One more ends the import."`
	Checkpoint    string  `placeholder:"FILE" help:"Note in this file every few seconds, and when interrupted, how far it has come. It is removed at the end. Beside the imported file, unless given."`
	Resume        bool    `help:"Go on from the checkpoint."`
	Output        string  `short:"o" enum:"text,json" default:"text" placeholder:"text|json" help:"Format of the summary."`
}

// Help says what it is for and shows how it is used.
func (importCmd) Help() string {
	return `It writes to the topics what 'replay --to-file', 'tail -o json' or 'spool export' wrote, or plain bodies of Customer.io, one a line; the first line tells which. A record keeps its key, headers and value. A body gets what it would have got had Customer.io sent it, and becomes a dead letter if it is no event. Whatever the input has twice is imported once. Interrupted by Ctrl-C, or by a crash, it goes on with --resume where it was and writes nothing twice; standard input can't be gone on with.

Examples:

    # What is in there?
    sluice import january.ndjson.zst --dry-run

    # Bring back what isn't in the topics any more, and nothing that still is:
    sluice import january.ndjson.zst --dedupe --rate 2000`
}

// Validate refuses what can't be meant. Kong calls it.
func (c *importCmd) Validate() error {
	switch {
	case c.Rate < 0 || math.IsNaN(c.Rate) || math.IsInf(c.Rate, 0):
		return fmt.Errorf("--rate: want 0 or more, got %v", c.Rate)
	case c.Remember < 1:
		return fmt.Errorf("--remember: want 1 or more, got %d", c.Remember)
	case c.DryRun && (c.Resume || c.Checkpoint != ""):
		return errors.New("--dry-run leaves no checkpoint: leave out --resume and --checkpoint")
	case c.File == "-" && (c.Resume || c.Checkpoint != ""):
		return errors.New("standard input can't be gone on with: give a file, or leave out --resume and --checkpoint")
	}
	return nil
}

// path is that of the checkpoint, "" for none.
func (c *importCmd) path() string {
	switch {
	case c.DryRun || c.File == "-":
		return ""
	case c.Checkpoint != "":
		return c.Checkpoint
	}
	return c.File + ".import.checkpoint"
}

// Run imports, and says what came of it.
func (c *importCmd) Run(ctx context.Context, parsed *kong.Context, p *process) error {
	if _, err := config.Load(&c.Config, config.SourcesOf(parsed, p.environ)); err != nil {
		return err
	}
	r := &importing{c: c, p: p, path: c.path(), goOn: commandLine(parsed.Args)}
	if !c.Resume {
		r.goOn += " --resume"
	}
	return r.run(ctx)
}
