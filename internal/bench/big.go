package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
)

const (
	bigSize  = 1_000_000
	bigTurns = 4 // in each, two bodies a connection
	// bigFactor is how many times the bytes in flight sluice may take, beyond what it takes with one body after the other.
	bigFactor = 4
)

// bigBodies sends bodies of a megabyte over many connections at once, under caps of bytes in flight that have room for all
// of them, and for few. What memory sluice takes has to be bounded by the cap; what doesn't fit is answered 503.
func bigBodies(b *bed, _ limitsOptions, out io.Writer) {
	s := b.stage
	defer func(before events) { b.events = before }(b.events)
	b.events.size = bigSize
	t := table.NewWriter()
	t.AppendHeader(table.Row{"connections", "cap MB", "one by one: resident MB", "all at once: at most", "for each MB in flight", "p99 ms", "answers"})
	for _, x := range []struct{ conns, capMiB int }{{64, 256}, {64, 32}, {64, 16}, {256, 256}} {
		target, kept := b.startSluice(b.options.binary, fmt.Sprintf("big%dx%d", x.conns, x.capMiB), fmt.Sprintf("SLUICE_MAX_IN_FLIGHT_BYTES=%dMiB", x.capMiB))
		rest, err := peakMemory(target.proc.Pid())
		s.must(err)
		r := new(requests)
		var latencies []time.Duration
		for range bigTurns {
			kept.fill(r, 2*x.conns)
			for _, a := range b.all(target, x.conns, r) {
				latencies = append(latencies, a.latency-a.delay)
			}
			kept.add(r)
		}
		most, err := peakMemory(target.proc.Pid())
		s.must(err)
		complaints(s, target, kept)
		b.finish(target, kept)
		slices.Sort(latencies)
		limit := int64(x.capMiB) << 20
		inFlight := min(int64(x.conns)*bigSize, limit)
		factor := float64(most-rest) / float64(inFlight)
		t.AppendRow(table.Row{
			x.conns, limit / 1e6, rest / 1e6, most / 1e6, fmt.Sprintf("%.1f", factor),
			fmt.Sprintf("%.0f", milliseconds(percentile(latencies, 990))), answers(kept.codes()),
		})
		if factor > bigFactor {
			s.Errorf("big: %d MB with %d MB in flight, and %d before", most/1e6, inFlight/1e6, rest/1e6)
		}
	}
	fmt.Fprintf(out, "Bodies of %d bytes; at most %d MB for each MB in flight are allowed.\n\n%s\n", bigSize, bigFactor, t.RenderMarkdown())
}
