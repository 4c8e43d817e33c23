package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/jedib0t/go-pretty/v6/table"
)

// soakOptions are the flags of soak.
type soakOptions struct {
	bedOptions
	rate, conns int
	length      time.Duration
}

func (o *soakOptions) flags(set *flag.FlagSet) {
	o.bedOptions.flags(set)
	set.IntVar(&o.rate, "rate", 5000, "events per second")
	set.IntVar(&o.conns, "conns", 64, "connections")
	set.DurationVar(&o.length, "for", 30*time.Minute, "how long")
}

const (
	// soakLines is how many lines the table has, each of an equal part of the run.
	soakLines = 10
	// soakDisk is more bytes of disk than an event takes in Kafka.
	soakDisk = 1500
)

// soak is a steady load for long.
type soak struct {
	*bed
	options soakOptions
	target  *server
	kept    *ledger
	first   int // event of the load, in kept

	mu        sync.Mutex
	latencies *hdrhistogram.Histogram // of the line under way, in microseconds; guarded by mu
}

// runSoak has sluice work for long and looks at what it holds meanwhile: memory, goroutines, descriptors. Their growth is an
// error, as are refusals and what reading back finds.
func runSoak(s *stage, o soakOptions, out io.Writer) {
	events := int(float64(o.rate) * o.length.Seconds())
	if o.rate < 1 || o.conns < 1 || events < o.rate {
		s.Fatal("-rate and -conns must be at least 1, and -for a second")
	}
	free, err := freeDisk(os.TempDir())
	s.must(err)
	if need := int64(events) * soakDisk; need > free {
		s.Fatalf("%d events may take %.1f GB in %s, and %.1f GB are free: choose a shorter -for, or another disk with TMPDIR", events, float64(need)/1e9, os.TempDir(), float64(free)/1e9)
	}
	k := &soak{bed: newBed(s, o.bedOptions), options: o, latencies: newLatencies()}
	fmt.Fprintf(out, "%s\n\nOpen loop, %d events/s for %s over %d connections:\n\n", environment(s.ctx, k.bed.options.binary), o.rate, o.length, o.conns)
	k.target, k.kept = k.startSluice(k.bed.options.binary, "soak")
	k.first = len(k.kept.outcomes)
	k.kept.outcomes = append(k.kept.outcomes, make([]outcome, events)...)

	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	loaded := make(chan error, 1)
	go func() { loaded <- k.load(ctx, events) }()
	lines, held := k.observe(loaded)
	fmt.Fprintf(out, "%s\n\n", lines.RenderMarkdown())

	codes := (&ledger{outcomes: k.kept.outcomes[k.first:]}).codes()
	complaints(s, k.target, k.kept)
	found := k.finish(k.target, k.kept)
	fmt.Fprintf(out, "answers: %s\nread back with kcat: %s\n\n%s\n", answers(codes), &found, k.verdict(held).RenderMarkdown())
	if n := codes[published] + codes[spooled]; n < events {
		s.Errorf("%d of %d events weren't kept: %s", events-n, events, answers(codes))
	}
}

// newLatencies counts microseconds.
func newLatencies() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, time.Minute.Microseconds(), 3)
}

// load sends the events, each at its time, and waits for all answers. Each request is made right before it is sent; an
// event takes two bytes of this process, for its answer.
func (k *soak) load(ctx context.Context, events int) error {
	const (
		lag    = 30 * time.Second // more than a server that answers at all takes
		behind = 20_000           // events that may wait for a connection; beyond, they become due late
	)
	all, err := clients(ctx, k.target.addr, k.options.conns, time.Now().Add(k.options.length+lag))
	if err != nil {
		return err
	}
	defer hangUp(all)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	began := time.Now().Add(10 * time.Millisecond)
	at := func(i int) time.Time {
		return began.Add(time.Duration(i) * time.Second / time.Duration(k.options.rate))
	}
	due := make(chan int, behind)
	var group sync.WaitGroup
	for _, c := range all {
		group.Go(func() {
			var request []byte
			for i := range due {
				request = appendRequest(request[:0], k.kept.events, k.kept.first+uint64(k.first+i), time.Now())
				o, err := c.exchange(request)
				if k.kept.outcomes[k.first+i] = o; err != nil {
					cancel(err)
					return
				}
				k.answered(time.Since(at(i)))
			}
		})
	}
	group.Go(func() {
		defer close(due)
		runtime.LockOSThread() // sleepUntil keeps the thread
		defer runtime.UnlockOSThread()
		for i := range events {
			sleepUntil(at(i))
			select {
			case due <- i:
			case <-ctx.Done():
				return
			}
		}
	})
	group.Wait()
	return context.Cause(ctx)
}

func (k *soak) answered(latency time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	_ = k.latencies.RecordValue(min(max(latency.Microseconds(), 1), k.latencies.HighestTrackableValue())) // within its bounds
}

// observe looks every second until the load ends, and makes a line of each part of the run.
func (k *soak) observe(loaded <-chan error) (table.Writer, []holding) {
	s := k.stage
	lines := table.NewWriter()
	lines.AppendHeader(table.Row{"until", "answers/s", "p50 ms", "p99", "max", "CPU µs/event: sluice", "Kafka", "Redis", "resident MB", "heap MB", "goroutines", "descriptors"})
	var all []holding
	began := time.Now()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for over := false; !over; {
		var part []holding
		lineBegan := time.Now()
		x := k.measured(k.target, func() load {
			for time.Since(lineBegan) < k.options.length/soakLines && !over {
				select {
				case <-tick.C:
					h, err := hold(s.ctx, k.target)
					s.must(err)
					part = append(part, h)
				case err := <-loaded:
					s.must(err)
					over = true
				}
			}
			return load{elapsed: time.Since(lineBegan)}
		})
		k.mu.Lock()
		latencies := k.latencies
		k.latencies = newLatencies()
		k.mu.Unlock()
		if len(part) == 0 {
			continue // the last answers
		}
		all = append(all, part...)
		x.published = int(latencies.TotalCount())
		ms := func(p float64) string { return fmt.Sprintf("%.1f", float64(latencies.ValueAtPercentile(p))/1000) }
		middle := func(of func(holding) float64) float64 { return spread(column(part, of)).median }
		row := table.Row{
			time.Since(began).Round(time.Second), fmt.Sprintf("%.0f", x.rate()), ms(50), ms(99), ms(100),
			fmt.Sprintf("%.0f", x.perEvent("server")), fmt.Sprintf("%.0f", x.perEvent("kafka")), fmt.Sprintf("%.0f", x.perEvent("redis")),
			fmt.Sprintf("%.1f", middle(holding.ofResident)/1e6), fmt.Sprintf("%.1f", middle(holding.ofHeap)/1e6), middle(holding.ofGoroutines), middle(holding.ofFiles),
		}
		lines.AppendRow(row)
		s.Log(row...)
	}
	return lines, all
}

func (h holding) ofResident() float64   { return h.resident }
func (h holding) ofHeap() float64       { return h.heap }
func (h holding) ofGoroutines() float64 { return h.goroutines }
func (h holding) ofFiles() float64      { return h.files }

func column(all []holding, of func(holding) float64) (values []float64) {
	for _, h := range all {
		values = append(values, of(h))
	}
	return values
}

// verdict says of each thing held whether it has grown; if so the run has failed.
func (k *soak) verdict(all []holding) table.Writer {
	const megabyte = 1e6
	lines := table.NewWriter()
	lines.AppendHeader(table.Row{"", "second third", "last third", "growth", fmt.Sprintf("flat (at most %.0f %%)", 100*(growthMost-1))})
	for _, x := range []struct {
		name        string
		of          func(holding) float64
		slack, unit float64
	}{
		{"resident MB", holding.ofResident, 4 * megabyte, megabyte},
		{"heap MB", holding.ofHeap, 4 * megabyte, megabyte},
		{"goroutines", holding.ofGoroutines, 16, 1},
		{"descriptors", holding.ofFiles, 8, 1},
	} {
		d := driftOf(column(all, x.of))
		flat := d.flat(x.slack)
		lines.AppendRow(table.Row{x.name, fmt.Sprintf("%.1f", d.second/x.unit), fmt.Sprintf("%.1f", d.last/x.unit), fmt.Sprintf("%+.1f %%", 100*(d.last/d.second-1)), flat})
		if !flat {
			k.stage.Errorf("%s: %.1f in the second third of the run, %.1f in the last", x.name, d.second/x.unit, d.last/x.unit)
		}
	}
	return lines
}
