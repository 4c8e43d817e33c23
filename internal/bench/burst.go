package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
)

const (
	burstRate = 10_000
	// burstConns is so many that an event hardly ever waits for a connection.
	burstConns = 1000
	// patience is how long the sender waits for an answer.
	patience = 4 * time.Second
)

// burst has events become due at a rate near the machine's limit, at a service that had nothing to do before. None may be
// refused, and none may wait longer than its sender does.
func burst(b *bed, o limitsOptions, out io.Writer) {
	s := b.stage
	target, kept := b.startSluice(b.options.binary, "burst")
	r := new(requests)
	kept.fill(r, int(burstRate*o.duration.Seconds()))
	arrivals := b.arrivals(target, burstConns, r, burstRate)
	kept.add(r)
	codes := kept.codes()
	complaints(s, target, kept)
	found := b.finish(target, kept)

	latencies, sent := make([]time.Duration, len(arrivals)), time.Duration(0)
	for i, a := range arrivals {
		latencies[i] = a.latency
		sent = max(sent, a.latency-a.delay)
	}
	slices.Sort(latencies)
	refused := 0
	for o, n := range codes {
		if !o.kept() {
			refused += n
		}
	}
	t := table.NewWriter()
	t.AppendHeader(table.Row{"events", "refused", "p50 ms", "p99", "p99.9", "max", "max from the sending", "lost", "doubled"})
	row := table.Row{len(arrivals), refused}
	for _, p := range []int{500, 990, 999, 1000} {
		row = append(row, fmt.Sprintf("%.1f", milliseconds(percentile(latencies, p))))
	}
	t.AppendRow(append(row, fmt.Sprintf("%.1f", milliseconds(sent)), found.lost, found.doubled))
	fmt.Fprintf(out, "%d events/s for %s, latency from the time at which an event was due; answers: %s\n\n%s\n", burstRate, o.duration, answers(codes), t.RenderMarkdown())
	if refused > 0 || sent > patience {
		s.Errorf("burst: %d refused, the longest answer took %s", refused, sent)
	}
}
