package admin

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// The metrics that the page shows, by their names in ingest.
const (
	receivedTotal     = "sluice_received_total"
	publishedTotal    = "sluice_published_total"
	deadLetteredTotal = "sluice_dead_lettered_total"
	refusedTotal      = "sluice_refused_total"
	verifiedTotal     = "sluice_verified_total"
	inFlightRequests  = "sluice_in_flight_requests"
	inFlightBytes     = "sluice_in_flight_bytes"
	processStart      = "process_start_time_seconds"
)

// counters are the metrics of one moment, by name.
type counters map[string]*dto.MetricFamily

// gather reads what can be read; an error says that something is missing.
func gather(g prometheus.Gatherer) (counters, error) {
	families, err := g.Gather()
	c := make(counters, len(families))
	for _, f := range families {
		c[f.GetName()] = f
	}
	return c, err
}

// sum adds all series of a counter or gauge.
func (c counters) sum(name string) float64 {
	total := 0.0
	for _, m := range c[name].GetMetric() {
		total += value(m)
	}
	return total
}

// has tells a metric that counts nothing yet from one that isn't there.
func (c counters) has(name string) bool { return c[name] != nil }

// share is one series of a counter: a line of a breakdown.
type share struct {
	Label string
	Count string
}

// breakdown lists the series of a counter that have counted anything, the
// largest first. Its length is bounded by the metric's labels.
func (c counters) breakdown(name string) []share {
	type series struct {
		label string
		count float64
	}
	var all []series
	for _, m := range c[name].GetMetric() {
		label := ""
		for _, l := range m.GetLabel() { // the page's metrics have one label
			label = l.GetValue()
		}
		if v := value(m); v > 0 {
			all = append(all, series{label, v})
		}
	}
	slices.SortFunc(all, func(a, b series) int {
		return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.label, b.label))
	})
	shares := make([]share, len(all))
	for i, s := range all {
		shares[i] = share{s.label, thousands(s.count)}
	}
	return shares
}

// started is when the process began, zero if nothing says so.
func (c counters) started() time.Time {
	if !c.has(processStart) {
		return time.Time{}
	}
	return time.Unix(int64(c.sum(processStart)), 0).UTC()
}

func value(m *dto.Metric) float64 { return m.GetCounter().GetValue() + m.GetGauge().GetValue() }

// thousands writes a whole number with commas: 1,234,567.
func thousands(v float64) string {
	digits := strconv.FormatFloat(math.Round(v), 'f', -1, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
