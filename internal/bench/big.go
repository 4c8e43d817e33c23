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
	// bigBeside is what sluice may take beside the bodies that the cap lets in: serve's memory limit leaves it half of that,
	// and the rest is for what that doesn't count, as the program itself.
	bigBeside = 192 << 20
)

// bigBodies sends bodies of a megabyte over many connections at once, under caps of bytes in flight that have room for all
// of them, and for few. What memory sluice takes has to be bounded by the cap; what doesn't fit is answered 503.
func bigBodies(b *bed, _ limitsOptions, out io.Writer) {
	s := b.stage
	defer func(before events) { b.events = before }(b.events)
	b.events.size = bigSize
	t := table.NewWriter()
	t.AppendHeader(table.Row{"connections", "cap MB", "one by one: resident MB", "all at once: at most", "allowed", "p99 ms", "answers"})
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
		allowed := int64(x.capMiB)<<20 + bigBeside
		t.AppendRow(table.Row{
			x.conns, x.capMiB << 20 / 1_000_000, rest / 1e6, most / 1e6, allowed / 1e6,
			fmt.Sprintf("%.0f", milliseconds(percentile(latencies, 990))), answers(kept.codes()),
		})
		if most > allowed {
			s.Errorf("big: %d MB resident with %d connections and a cap of %d MiB, and %d are allowed", most/1e6, x.conns, x.capMiB, allowed/1e6)
		}
	}
	fmt.Fprintf(out, "Bodies of %d bytes, each connection with %d of them:\n\n%s\n", bigSize, 2*bigTurns, t.RenderMarkdown())
}
