// Command sluice receives webhooks and keeps each as one Kafka record.
//
// This package is where the others are put together; they know nothing of each other. There is one file per command,
// and a command is a field of [cli]. It decides nothing about events, Redis or Kafka itself.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"sluice/config"
)

// Exit codes. A supervisor need not start Sluice again after exitUsage: someone has to change something first.
const (
	exitOK      = 0
	exitFailure = 1 // it couldn't do, or go on doing, what it was told
	exitUsage   = 2 // the command line or the configuration is wrong
)

// cli is the command line. The order is that of the help.
type cli struct {
	Serve serveCmd `cmd:"" help:"Receive webhooks and write them to Kafka."`
	demoCommand
	Send       sendCmd       `cmd:"" help:"Send signed events as Customer.io does."`
	Tail       tailCmd       `cmd:"" help:"Print events from the topics as they arrive."`
	Subscribe  subscribeCmd  `cmd:"" help:"Deliver events to a webhook handler or standard output, as a consumer group."`
	Replay     replayCmd     `cmd:"" help:"Write a stretch of the topics to a file, a topic or a webhook."`
	Import     importCmd     `cmd:"" help:"Write what was exported, or plain bodies, to the topics."`
	Groups     groupsCmd     `cmd:"" help:"Show the consumer groups of the topics, and how far behind they are."`
	Rewind     rewindCmd     `cmd:"" help:"Set a consumer group back, or forward, to a time."`
	Verify     verifyCmd     `cmd:"" help:"Verify the signatures of stored records again."`
	Explain    explainCmd    `cmd:"" help:"Say what becomes of a request, and why its signature fails."`
	Audit      auditCmd      `cmd:"" help:"Compare a sender's ledger with what the topics hold."`
	Dedupe     dedupeCmd     `cmd:"" help:"Look after what Redis remembers."`
	Spool      spoolCmd      `cmd:"" help:"Look into the spool, and empty it."`
	Doctor     doctorCmd     `cmd:"" help:"Ask a running instance how it is."`
	Completion completionCmd `cmd:"" help:"Set up tab completion for bash, zsh or fish."`
	Config     configCmd     `cmd:"" help:"Show the configuration in force and where each value comes from."`
	Version    versionCmd    `cmd:"" help:"Show version, commit and Go version."`
}

// process is what a command may use of the process that it runs in.
type process struct {
	environ        []string
	stdin          io.Reader
	stdout, stderr io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := run(ctx, os.Args[1:], &process{environ: os.Environ(), stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr})
	stop()
	os.Exit(code)
}

// run parses the command line, runs its command until it is done or ctx ends, and returns the exit code.
func run(ctx context.Context, args []string, p *process) int {
	var commands cli
	helped := false
	parser, err := kong.New(
		&commands,
		kong.Name("sluice"),
		kong.Description("Sluice keeps every Customer.io reporting webhook as one record on the Kafka topic of its event type."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 120}),
		kong.ValueFormatter(config.FlagHelp),
		kong.Writers(p.stdout, p.stderr),
		kong.Exit(func(int) { helped = true }), // called after --help only; the parse then goes on
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(p),
		config.Grammar(),
	)
	if err != nil {
		fmt.Fprintf(p.stderr, "sluice: building the command line: %v\n", err)
		return exitFailure
	}
	if completed(parser) {
		return exitOK
	}
	parsed, err := parser.Parse(args)
	if helped {
		return exitOK
	}
	if err != nil {
		fmt.Fprintf(p.stderr, "sluice: %v\nRun \"%s --help\" for what is possible.\n", err, failedCommand(err))
		return exitUsage
	}
	err = parsed.Run()
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(p.stderr, "sluice: %v\n", err)
	if _, ok := errors.AsType[*config.InvalidError](err); ok {
		return exitUsage
	}
	return exitFailure
}

// failedCommand names the command whose help suits a parse error.
func failedCommand(err error) string {
	var failed *kong.ParseError
	if errors.As(err, &failed) && failed.Context != nil {
		if command := failed.Context.Selected(); command != nil {
			return command.FullPath()
		}
	}
	return "sluice"
}
