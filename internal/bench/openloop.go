package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"
)

// openLoopOptions are the flags of openloop.
type openLoopOptions struct {
	bedOptions
	rate     int
	conns    int
	duration time.Duration
	warmup   time.Duration
}

func (o *openLoopOptions) flags(set *flag.FlagSet) {
	o.bedOptions.flags(set)
	set.IntVar(&o.rate, "rate", 1000, "events per second")
	set.IntVar(&o.conns, "conns", 64, "connections")
	set.DurationVar(&o.duration, "duration", 30*time.Second, "length of the measurement")
	set.DurationVar(&o.warmup, "warmup", 10*time.Second, "length of the same load before, which doesn't count")
}

// openLoop measures sluice's latencies at a steady rate.
func openLoop(s *stage, o openLoopOptions, out io.Writer) {
	if o.rate < 1 || o.conns < 1 {
		s.Fatal("-rate and -conns must be at least 1")
	}
	b := newBed(s, o.bedOptions)
	fmt.Fprintln(out, environment(s.ctx, b.options.binary))
	fmt.Fprintf(out, "open loop, %d events/s for %s over %d connections, %s of warming up\n\n", o.rate, o.duration, o.conns, o.warmup)

	sluice, kept := b.startSluice(b.options.binary, "bench")
	r := new(requests)
	var arrivals []arrival
	var measured ledger
	for _, duration := range []time.Duration{o.warmup, o.duration} {
		kept.fill(r, int(float64(o.rate)*duration.Seconds()))
		const lag = 30 * time.Second // more than a server that answers at all takes
		all, err := clients(s.ctx, sluice.addr, o.conns, time.Now().Add(duration+lag))
		s.must(err)
		arrivals, err = arrive(s.ctx, all, r, o.rate)
		hangUp(all)
		s.must(err)
		kept.add(r)
		measured = ledger{outcomes: r.outcomes}
	}
	complaints(s, sluice, kept)
	found := b.finish(sluice, kept)

	fmt.Fprintf(out, "answers: %s\n", answers(measured.codes()))
	latencies, delays := make([]time.Duration, len(arrivals)), make([]time.Duration, len(arrivals))
	for i, a := range arrivals {
		latencies[i], delays[i] = a.latency, a.delay
	}
	fmt.Fprintf(out, "latency from the scheduled time: %s\n", percentiles(latencies))
	fmt.Fprintf(out, "of which before the sending:     %s\n", percentiles(delays))
	fmt.Fprintf(out, "\nread back with kcat: %s\n", &found)
}

// arrival is how one event fared, counted from the time at which it was due, whoever was late.
type arrival struct {
	latency time.Duration // until the answer
	delay   time.Duration // until the sending: the generator's lateness, and the wait for a free connection
}

// arrive sends the requests, each at its time whether or not earlier ones are answered, and waits for all answers.
func arrive(ctx context.Context, all []*client, r *requests, rate int) ([]arrival, error) {
	arrivals := make([]arrival, r.len())
	due := make(chan int, r.len())
	errs := make([]error, len(all))
	began := time.Now().Add(10 * time.Millisecond)
	at := func(i int) time.Time { return began.Add(time.Duration(i) * time.Second / time.Duration(rate)) }
	var group sync.WaitGroup
	for worker, c := range all {
		group.Go(func() {
			for i := range due {
				sent := time.Now()
				o, err := c.exchange(r.at(i))
				r.outcomes[i] = o
				arrivals[i] = arrival{latency: time.Since(at(i)), delay: sent.Sub(at(i))}
				if err != nil {
					errs[worker] = fmt.Errorf("connection %d: %w", worker, err)
					return
				}
			}
		})
	}
	group.Go(func() {
		defer close(due)
		runtime.LockOSThread() // sleepUntil keeps the thread
		defer runtime.UnlockOSThread()
		for i := range r.len() {
			sleepUntil(at(i))
			if ctx.Err() != nil {
				return
			}
			due <- i
		}
	})
	group.Wait()
	return arrivals, errors.Join(context.Cause(ctx), oneOf(errs))
}
