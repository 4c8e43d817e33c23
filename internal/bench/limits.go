package main

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// limitsOptions are the flags of limits.
type limitsOptions struct {
	bedOptions
	only     []string
	duration time.Duration
	warmup   time.Duration
}

func (o *limitsOptions) flags(set *flag.FlagSet) {
	o.bedOptions.flags(set)
	var names []string
	for _, x := range scenarios() {
		names = append(names, x.name)
	}
	all := strings.Join(names, ",")
	set.Func("only", "`names` of scenarios, separated by commas (default "+all+")", func(text string) error {
		o.only = strings.Split(text, ",")
		for _, name := range o.only {
			if !slices.Contains(names, name) {
				return fmt.Errorf("no scenario %q; there are %s", name, all)
			}
		}
		return nil
	})
	set.DurationVar(&o.duration, "duration", 10*time.Second, "length of each stretch of load")
	set.DurationVar(&o.warmup, "warmup", 20*time.Second, "how long the broker is warmed up in the beginning: Java compiles it meanwhile")
}

// scenario is one kind of load.
type scenario struct {
	name, title string
	run         func(*bed, limitsOptions, io.Writer)
}

func scenarios() []scenario {
	return []scenario{
		{"start", "From exec to the first answer", quickStart},
		{"burst", "A burst upon a quiet service", burst},
		{"broker", "What Kafka and Redis work", brokerCost},
		{"big", "Large bodies", bigBodies},
		{"repair", "Redis replaced by an empty one", repair},
		{"down", "Kafka away, and its backlog", kafkaDown}, // the last: its Kafka isn't warm any more
	}
}

// limits runs the scenarios, one after the other. A promise that is broken is an error, and the others run all the same; a
// goal that is missed is only shown.
func limits(s *stage, o limitsOptions, out io.Writer) {
	b := newBed(s, o.bedOptions)
	fmt.Fprintln(out, environment(s.ctx, b.options.binary))
	b.warmUp(ratioOptions{conns: connCounts{64}, warmup: o.warmup, maxRate: maxRate})
	for _, x := range scenarios() {
		if o.only == nil || slices.Contains(o.only, x.name) {
			fmt.Fprintf(out, "\n### %s: %s\n\n", x.name, x.title)
			x.run(b, o, out)
		}
	}
}

// maxRate is more events a second than sluice can take here.
const maxRate = 40_000

// all sends every request, each as soon as one of the connections is free, and tells how they fared.
func (b *bed) all(target *server, conns int, r *requests) []arrival {
	const atOnce = 1_000_000
	return b.arrivals(target, conns, r, atOnce)
}

// arrivals has requests become due at a rate and waits for all answers.
func (b *bed) arrivals(target *server, conns int, r *requests, rate int) []arrival {
	s := b.stage
	const lag = 60 * time.Second // more than a server that answers at all takes
	all, err := clients(s.ctx, target.addr, conns, time.Now().Add(time.Duration(r.len())*time.Second/time.Duration(rate)+lag))
	s.must(err)
	defer hangUp(all)
	arrivals, err := arrive(s.ctx, all, r, rate)
	s.must(err)
	return arrivals
}

// closed is a round of a closed loop whose answers the ledger takes over.
func (b *bed) closed(target *server, kept *ledger, conns int, duration time.Duration) sample {
	r := new(requests)
	kept.fill(r, int(maxRate*duration.Seconds()))
	x := b.round(target, conns, r, duration)
	kept.add(r)
	return x
}

// goal says whether a figure is as it should be.
func goal(met bool) string {
	if met {
		return "met"
	}
	return "missed"
}
