package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/jedib0t/go-pretty/v6/table"
)

// compareOptions are the flags of compare.
type compareOptions struct {
	ratioOptions
	rate int
	open time.Duration
	dir  string
}

func (o *compareOptions) flags(set *flag.FlagSet) {
	o.ratioOptions.flags(set)
	set.IntVar(&o.rate, "rate", 1000, "events per second of the open loop")
	set.DurationVar(&o.open, "open", 15*time.Second, "length of an open loop's round")
	set.StringVar(&o.dir, "dir", "", "`folder` for compare.md and compare.svg; default: none are written")
}

// compare measures sluice and its peers, in turns: closed loops, then an open one.
func compare(s *stage, o compareOptions, out io.Writer) {
	b := newBed(s, o.bedOptions)
	var text strings.Builder
	to := io.MultiWriter(out, &text)
	fmt.Fprintf(to, "%s\n\n", environment(s.ctx, b.options.binary))
	b.warmUp(o.ratioOptions)
	var all []*contender
	for _, conns := range o.conns {
		all = b.everyone(fmt.Sprintf("c%d", conns))
		b.compete(all, conns, o.ratioOptions)
		fmt.Fprintf(to, "Closed loop, %d connections, %d rounds of %s in turns; medians:\n\n%s\n\n", conns, o.rounds, o.duration, closedTable(all))
		for _, tuned := range []bool{true, false} {
			fmt.Fprintf(to, "kafka-go's Writer alone, no HTTP, tuned %v, %d goroutines: %s\n\n", tuned, conns, b.writer(conns, o.duration, tuned))
		}
		b.part(all, to)
	}
	waited := b.everyone("open")
	b.wait(waited, o)
	fmt.Fprintf(to, "Open loop, %d events/s, %d rounds of %s in turns, latency in ms from the time at which an event was due:\n\n%s\n\n",
		o.rate, o.rounds, o.open, openTable(waited))
	b.part(waited, to)
	if o.dir == "" {
		return
	}
	s.must(os.WriteFile(filepath.Join(o.dir, "compare.md"), []byte(text.String()), 0o600))
	s.must(plotLatencies(filepath.Join(o.dir, "compare.svg"), waited, all))
}

// everyone starts all servers anew; the first is noop.
func (b *bed) everyone(prefix string) []*contender {
	all := []*contender{{server: startNoop(b.stage), kept: b.ledger("")}}
	sluice := new(contender)
	sluice.server, sluice.kept = b.startSluice(b.options.binary, prefix+"sluice")
	return append(append(all, sluice), b.peers(prefix)...)
}

// part ends the servers, after a look at their memory; sluice's topics are compared with what it acknowledged.
func (b *bed) part(all []*contender, out io.Writer) {
	s := b.stage
	for _, c := range all {
		memory, err := peakMemory(c.server.proc.Pid())
		s.must(err)
		fmt.Fprintf(out, "%s: at most %.0f MB resident; answers: %s\n", c.server.name, float64(memory)/1e6, answers(c.kept.codes()))
		if c.server.name != "sluice" {
			c.server.proc.Kill(s)
			continue
		}
		complaints(s, c.server, c.kept)
		found := b.finish(c.server, c.kept)
		fmt.Fprintf(out, "read back with kcat: %s\n", &found)
	}
	fmt.Fprintln(out)
}

// wait has events become due at the rate, at each server in turn.
func (b *bed) wait(all []*contender, o compareOptions) {
	s := b.stage
	r := new(requests)
	for _, c := range all {
		c.latencies = hdrhistogram.New(1, time.Minute.Microseconds(), 3)
	}
	for round := range o.rounds + 1 {
		for _, c := range all {
			c.kept.fill(r, int(float64(o.rate)*o.open.Seconds()))
			const lag = 30 * time.Second // more than a server that answers at all takes
			connections, err := clients(s.ctx, c.server.addr, 1000, time.Now().Add(o.open+lag))
			s.must(err)
			for _, x := range connections {
				x.plain = c.server.plain
			}
			arrivals, err := arrive(s.ctx, connections, r, o.rate)
			hangUp(connections)
			s.must(err)
			c.kept.add(r)
			if round == 0 {
				continue // the servers are new
			}
			for _, a := range arrivals {
				s.must(c.latencies.RecordValue(max(1, a.latency.Microseconds())))
			}
		}
	}
}

// openTable has a line for each server.
func openTable(all []*contender) string {
	t := table.NewWriter()
	t.AppendHeader(table.Row{"server", "p50", "p90", "p99", "p99.9", "max"})
	for _, c := range all {
		row := table.Row{c.server.name}
		for _, p := range []float64{50, 90, 99, 99.9, 100} {
			row = append(row, fmt.Sprintf("%.2f", float64(c.latencies.ValueAtPercentile(p))/1000))
		}
		t.AppendRow(row)
	}
	return t.RenderMarkdown()
}

// closedTable has a line for each server; ratios are to the noop round right before.
func closedTable(all []*contender) string {
	t := table.NewWriter()
	t.AppendHeader(table.Row{"server", "requests/s", "of noop", "min–max", "CPU µs/event", "× noop", "Kafka", "Redis", "generator", "other CPU"})
	noop := all[0]
	for _, c := range all {
		rates := c.column(func(_ int, x sample) float64 { return x.rate() })
		ratios := c.column(func(i int, x sample) float64 { return x.rate() / noop.rounds[i].rate() })
		costs := c.column(func(i int, x sample) float64 { return x.perEvent("server") / noop.rounds[i].perEvent("server") })
		cpu := func(process string) string {
			return fmt.Sprintf("%.1f", c.column(func(_ int, x sample) float64 { return x.perEvent(process) }).median)
		}
		t.AppendRow(table.Row{
			c.server.name, fmt.Sprintf("%.0f", rates.median), fmt.Sprintf("%.3f", ratios.median), fmt.Sprintf("%.3f–%.3f", ratios.low, ratios.high),
			cpu("server"), fmt.Sprintf("%.2f", costs.median), cpu("kafka"), cpu("redis"), cpu("generator"),
			fmt.Sprintf("%.0f %%", 100*c.column(func(_ int, x sample) float64 { return x.other }).median),
		})
	}
	return t.RenderMarkdown()
}
