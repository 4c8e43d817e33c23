//go:build !nodemo

package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	dto "github.com/prometheus/client_model/go"

	"sluice/event"
)

// demoRow is a line of the table.
type demoRow struct {
	eventType, topic    string
	records, duplicates int
}

// table shows what Sluice has counted, by event type, and a line that sums it up.
func (t *trial) table() string {
	rows, total := t.rows()
	return render(rows) + "\n" + summarize(total)
}

func summarize(total demoRow) string {
	return fmt.Sprintf("%d records on the topics, %d duplicates kept out", total.records, total.duplicates)
}

// render draws the table as wide as it needs. The topic comes last: it is what a narrow terminal cuts off.
func render(rows []demoRow) string {
	w := table.NewWriter()
	w.SetStyle(table.StyleLight)
	w.Style().Options = table.OptionsNoBordersAndSeparators
	w.Style().Format.Header = text.FormatLower
	w.AppendHeader(table.Row{"event type", "records", "duplicates", "topic"})
	for _, r := range rows {
		w.AppendRow(table.Row{r.eventType, r.records, r.duplicates, r.topic})
	}
	lines := strings.Split(w.Render(), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	return strings.Join(lines, "\n")
}

// rows are the described types, others that have come, and what belongs to no single type.
func (t *trial) rows() (rows []demoRow, total demoRow) {
	published := t.counts("sluice_published_total", "event_type")
	duplicates := t.counts("sluice_duplicates_total", "event_type")
	topics := topicOptions(t.service.config)
	for _, typ := range event.Known() {
		r := demoRow{typ.Name, topics.Name(typ.Name), published[typ.Name], duplicates[typ.Name]}
		if typ.Described || r.records+r.duplicates > 0 {
			rows = append(rows, r)
		}
	}
	dead := 0
	for _, n := range t.counts("sluice_dead_lettered_total", "reason") {
		dead += n
	}
	rows = append(rows,
		demoRow{"(types unknown to Sluice)", strings.Replace(topics.Template, "{event_type}", "…", 1), published["other"], duplicates["other"]},
		demoRow{"(no event)", topics.DeadLetter, dead, 0},
	)
	for _, r := range rows {
		total.records += r.records
		total.duplicates += r.duplicates
	}
	return rows, total
}

// counts reads a counter of the running service, by one of its labels.
func (t *trial) counts(name, label string) map[string]int {
	counts := make(map[string]int)
	families, err := t.service.metrics.Gather()
	if err != nil {
		return counts // the process's own figures couldn't be read; the next look will do
	}
	i := slices.IndexFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == name })
	if i < 0 {
		return counts
	}
	for _, m := range families[i].GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == label {
				counts[l.GetValue()] += int(m.GetCounter().GetValue())
			}
		}
	}
	return counts
}
