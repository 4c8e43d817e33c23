package balance

import "github.com/prometheus/client_golang/prometheus"

//nolint:gochecknoglobals // constants
var (
	acceptedTotal = prometheus.NewDesc("sluice_accepted_total",
		"Events accepted: signed and within the limits. With sluice_recovered_total it is, in every scrape, the sum of sluice_settled_total, sluice_spool_events and sluice_in_flight_events.", nil, nil)
	recoveredTotal = prometheus.NewDesc("sluice_recovered_total",
		"Events that were found on disk at the start.", nil, nil)
	settledTotal = prometheus.NewDesc("sluice_settled_total",
		"Events whose outcome is final, at once or by way of the disk: published, duplicate, dead_lettered, refused (503 and not kept), lost (damaged on disk).", []string{"as"}, nil)
	spoolEvents = prometheus.NewDesc("sluice_spool_events",
		"Events on disk that Kafka isn't known to have.", nil, nil)
	inFlightEvents = prometheus.NewDesc("sluice_in_flight_events",
		"Accepted events whose outcome isn't known, whether or not their requests have been answered.", nil, nil)
)

// Describe implements [prometheus.Collector].
func (b *Book) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{acceptedTotal, recoveredTotal, settledTotal, spoolEvents, inFlightEvents} {
		to <- d
	}
}

// Collect implements [prometheus.Collector]: all samples are of one instant.
func (b *Book) Collect(to chan<- prometheus.Metric) {
	n := b.Balance()
	send := func(d *prometheus.Desc, t prometheus.ValueType, count int64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, t, float64(count), labels...)
	}
	send(acceptedTotal, prometheus.CounterValue, n.Accepted)
	send(recoveredTotal, prometheus.CounterValue, n.Recovered)
	send(settledTotal, prometheus.CounterValue, n.Published, "published")
	send(settledTotal, prometheus.CounterValue, n.Duplicate, "duplicate")
	send(settledTotal, prometheus.CounterValue, n.DeadLettered, "dead_lettered")
	send(settledTotal, prometheus.CounterValue, n.Refused, "refused")
	send(settledTotal, prometheus.CounterValue, n.Lost, "lost")
	send(spoolEvents, prometheus.GaugeValue, n.Spooled)
	send(inFlightEvents, prometheus.GaugeValue, n.InFlight)
}
