package main

import (
	"fmt"
	"io"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
)

// repairBeside is what a repair of Redis may take beside everything else.
const repairBeside = 32 << 20

// repair fills the topics, replaces Redis by an empty one, and goes on at a low rate until all marks are there again. What
// the repair takes of memory, whatever the topics hold, has to be little.
func repair(b *bed, o limitsOptions, out io.Writer) {
	const conns = 256
	s := b.stage
	target, kept := b.startSluice(b.options.binary, "repair", "SLUICE_DEDUPE_REPAIR_RATE=20000")
	x := b.closed(target, kept, conns, o.duration)
	before, err := peakMemory(target.proc.Pid())
	s.must(err)

	b.redis.Kill(s)
	b.redis.Restart(s)
	began := time.Now()
	value := func(name string) float64 {
		values, err := scrape(s.ctx, target.admin)
		s.must(err)
		return values[name]
	}
	for seen := false; !seen || value("sluice_dedupe_unrepaired") > 0; seen = seen || value("sluice_dedupe_repair_records_total") >= float64(x.published) {
		if time.Since(began) > 2*startWait {
			s.Fatalf("Redis isn't repaired after %s", 2*startWait)
		}
		b.trickle(target, kept)
	}
	took := time.Since(began)
	most, err := peakMemory(target.proc.Pid())
	s.must(err)
	complaints(s, target, kept)
	b.finish(target, kept)
	t := table.NewWriter()
	t.AppendHeader(table.Row{"events", "resident MB: before", "with the repair, at most", "allowed", "seconds", "answers"})
	t.AppendRow(table.Row{x.published, before / 1e6, most / 1e6, (before + repairBeside) / 1e6, fmt.Sprintf("%.0f", took.Seconds()), answers(kept.codes())})
	fmt.Fprintln(out, t.RenderMarkdown())
	if most > before+repairBeside {
		s.Errorf("repair: %d MB resident, and %d are allowed", most/1e6, (before+repairBeside)/1e6)
	}
}

// trickle sends 1,000 events/s for a second.
func (b *bed) trickle(target *server, kept *ledger) {
	const rate, conns = 1000, 64
	r := new(requests)
	kept.fill(r, rate)
	b.arrivals(target, conns, r, rate)
	kept.add(r)
}
