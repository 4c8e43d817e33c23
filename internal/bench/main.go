// Command bench measures `sluice serve` with all its guarantees on, against a real Kafka broker and a real Redis that
// it starts on this machine: how much of a bare Echo handler's speed is left (ratio), and how long senders wait at a
// steady rate (openloop). See README.md for what the columns mean.
//
// After every run it reads the topics back with a reader that is not Sluice's, and fails unless they hold exactly the
// events that were acknowledged, once and byte for byte.
//
// It is a module of its own so that what it needs stays out of Sluice's. It measures whole processes only: benchmarks
// of single functions are beside the code they measure.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

const usage = `usage: go run . compare|ratio|openloop|profile|limits|soak [flags]

  compare    sluice and its peers, in turns: throughput, processor time, memory, latencies
  ratio      requests/s of sluice over those of a bare Echo handler, closed loop
  openloop   latencies of sluice at a steady rate
  profile    where sluice's processor time goes, closed loop
  limits     bursts, large bodies, Kafka away, quick starts, and what they cost
  soak       half an hour of steady load: does anything grow?

Kafka's jars are in the folder SLUICE_TEST_KAFKA_LIBS; Java, redis-server and kcat are on the path.
`

// run runs one mode.
func run(ctx context.Context, args []string, out io.Writer) error {
	mode := ""
	if len(args) > 0 {
		mode, args = args[0], args[1:]
	}
	switch mode {
	case "compare":
		o := compareOptions{}
		if err := parse(mode, args, o.flags); err != nil {
			return err
		}
		return onStage(ctx, func(s *stage) { compare(s, o, out) })
	case "ratio":
		o := ratioOptions{}
		if err := parse(mode, args, o.flags); err != nil {
			return err
		}
		return onStage(ctx, func(s *stage) { ratio(s, o, out) })
	case "openloop":
		o := openLoopOptions{}
		if err := parse(mode, args, o.flags); err != nil {
			return err
		}
		return onStage(ctx, func(s *stage) { openLoop(s, o, out) })
	case "profile":
		o := profileOptions{}
		if err := parse(mode, args, o.flags); err != nil {
			return err
		}
		return onStage(ctx, func(s *stage) { profile(s, o, out) })
	case "limits":
		o := limitsOptions{}
		if err := parse(mode, args, o.flags); err != nil {
			return err
		}
		return onStage(ctx, func(s *stage) { limits(s, o, out) })
	case "soak":
		o := soakOptions{}
		if err := parse(mode, args, o.flags); err != nil {
			return err
		}
		return onStage(ctx, func(s *stage) { runSoak(s, o, out) })
	case noopMode: // these are processes that the others start
		return serveNoop(ctx, out)
	case naiveMode:
		o := naiveOptions{}
		if err := parse(mode, args, o.flags); err != nil {
			return err
		}
		return serveNaive(ctx, o, out)
	case writerMode:
		o := writerOptions{}
		if err := parse(mode, args, o.flags); err != nil {
			return err
		}
		return runWriter(ctx, o, out)
	default:
		fmt.Fprint(os.Stderr, usage)
		return flag.ErrHelp
	}
}

// parse reads a mode's flags.
func parse(mode string, args []string, define func(*flag.FlagSet)) error {
	set := flag.NewFlagSet(mode, flag.ContinueOnError)
	define(set)
	if err := set.Parse(args); err != nil {
		return err
	}
	if set.NArg() > 0 {
		return fmt.Errorf("%s takes no argument %q", mode, set.Arg(0))
	}
	return nil
}
