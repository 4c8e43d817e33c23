package main

import (
	"fmt"
	"io"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
)

// fewTypes are sent, delivered, opened and clicked e-mails.
const fewTypes = 4

// brokerCost measures the processor time of Kafka and of Redis for an event: idle, at a steady rate, and with as much as
// sluice takes. Topics are as sluice creates them unless flags say otherwise.
func brokerCost(b *bed, o limitsOptions, out io.Writer) {
	s := b.stage
	t := table.NewWriter()
	t.AppendHeader(table.Row{"types", "load", "events/s", "records in a request", "CPU µs/event: Kafka", "Redis", "sluice", "other CPU"})
	var idle sample
	for _, types := range []int{allTypes, fewTypes} {
		b.events = newEvents(types)
		target, kept := b.startSluice(b.options.binary, fmt.Sprintf("broker%d", types))
		idle = b.measured(target, func() load {
			sleepUntil(time.Now().Add(o.duration / 2))
			return load{elapsed: o.duration / 2}
		})
		for _, x := range []struct {
			name string
			do   func() sample
		}{
			{"1,000/s", func() sample { return b.steady(target, kept, 1000, o.duration) }},
			{"closed loop, 64", func() sample { return b.closed(target, kept, 64, o.duration) }},
			{"closed loop, 256", func() sample { return b.closed(target, kept, 256, o.duration) }},
		} {
			before, err := scrape(s.ctx, target.admin)
			s.must(err)
			cost := x.do()
			after, err := scrape(s.ctx, target.admin)
			s.must(err)
			grown := func(name string) float64 { return after[name] - before[name] }
			t.AppendRow(table.Row{
				types, x.name, fmt.Sprintf("%.0f", cost.rate()),
				fmt.Sprintf("%.1f", grown("sluice_kafka_batch_records_sum")/max(grown("sluice_kafka_batch_records_count"), 1)),
				fmt.Sprintf("%.1f", cost.perEvent("kafka")), fmt.Sprintf("%.1f", cost.perEvent("redis")), fmt.Sprintf("%.1f", cost.perEvent("server")),
				fmt.Sprintf("%.0f %%", 100*cost.other),
			})
		}
		complaints(s, target, kept)
		b.finish(target, kept)
	}
	b.events = newEvents(b.options.types)
	share := func(process string) float64 { return 100 * idle.cpu[process].Seconds() / idle.elapsed.Seconds() }
	fmt.Fprintf(out, "%s\n\nWithout any event they use %.1f %% (Kafka), %.1f %% (Redis) and %.1f %% (sluice) of a processor.\n", t.RenderMarkdown(), share("kafka"), share("redis"), share("server"))
}

// steady has events become due at a rate.
func (b *bed) steady(target *server, kept *ledger, rate int, duration time.Duration) sample {
	r := new(requests)
	kept.fill(r, int(float64(rate)*duration.Seconds()))
	x := b.measured(target, func() load {
		began := time.Now()
		b.arrivals(target, 64, r, rate)
		l := load{elapsed: time.Since(began)}
		for _, o := range r.outcomes {
			if o.kept() {
				l.published++
			}
		}
		return l
	})
	kept.add(r)
	return x
}
