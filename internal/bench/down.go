package main

import (
	"fmt"
	"io"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
)

// downGoal is how many events a second are to be acknowledged, each synced to disk, while Kafka is away.
const downGoal = 5000

// kafkaDown measures what is published directly, kills Kafka, measures what is acknowledged on disk, starts Kafka again, and
// measures how fast the backlog goes there. Nothing may be lost or doubled.
func kafkaDown(b *bed, o limitsOptions, out io.Writer) {
	s := b.stage
	conns := []int{64, 256}
	t := table.NewWriter()
	t.AppendHeader(table.Row{"", "events/s", "CPU µs/event: sluice", "goal"})
	row := func(name string, x sample, goal string) {
		t.AppendRow(table.Row{name, fmt.Sprintf("%.0f", x.rate()), fmt.Sprintf("%.1f", x.perEvent("server")), goal})
	}
	target, kept := b.startSluice(b.options.binary, "down")
	direct := 0.0
	for _, n := range conns {
		x := b.closed(target, kept, n, o.duration/2)
		row(fmt.Sprintf("published, %d connections", n), x, "")
		direct = max(direct, x.rate())
	}
	b.kafka.Broker(0).Kill(s)
	const notice = 2 * time.Second // in it each topic waits for half a second, once
	b.closed(target, kept, conns[0], notice)
	for _, n := range conns {
		x := b.closed(target, kept, n, o.duration)
		row(fmt.Sprintf("Kafka away: on disk, %d connections", n), x, fmt.Sprintf("at least %d: %s", downGoal, goal(x.rate() >= downGoal)))
	}
	b.kafka.Broker(0).Restart(s)
	x := b.drained(target)
	row(fmt.Sprintf("Kafka back: %d events from disk", x.published), x, fmt.Sprintf("at least %.0f: %s", direct, goal(x.rate() >= direct)))
	codes := kept.codes()
	if len(codes) != 2 || codes[published] == 0 || codes[spooled] == 0 {
		s.Errorf("down: not every event was published or kept on disk: %s", answers(codes))
		complaints(s, target, kept)
	}
	found := b.finish(target, kept)
	fmt.Fprintf(out, "answers: %s\nread back with kcat: %s\n\n%s\n", answers(codes), &found, t.RenderMarkdown())
}

// drained waits until nothing is left on disk. The time counts from when it begins to get less.
func (b *bed) drained(target *server) sample {
	s := b.stage
	left := func() int {
		values, err := scrape(s.ctx, target.admin)
		s.must(err)
		return int(values["sluice_spool_events"])
	}
	const look = 20 * time.Millisecond
	all := left()
	rest := all
	for deadline := time.Now().Add(startWait); rest == all; rest = left() {
		if time.Now().After(deadline) {
			s.Fatalf("%d events are on disk, and none has gone to Kafka for %s", all, startWait)
		}
		sleepUntil(time.Now().Add(look))
	}
	return b.measured(target, func() load {
		began := time.Now()
		for left() > 0 {
			sleepUntil(time.Now().Add(look))
			if s.ctx.Err() != nil {
				s.Fatal(s.ctx.Err())
			}
		}
		return load{published: rest, elapsed: time.Since(began)}
	})
}
