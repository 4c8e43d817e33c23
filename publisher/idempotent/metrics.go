package idempotent

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	kafka "github.com/segmentio/kafka-go"
)

type metrics struct {
	up                                    prometheus.Gauge
	batchRecords, batchBytes, seconds     prometheus.Histogram
	retries, epochs, mayDouble, throttled prometheus.Counter
	unwritten                             prometheus.Counter
	errors                                *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer, waiting func() int64) *metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "sluice", Subsystem: "kafka", Name: name, Help: help})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "sluice", Subsystem: "kafka", Name: name, Help: help})
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "sluice", Subsystem: "kafka", Name: name, Help: help, Buckets: buckets,
		})
	}
	m := &metrics{
		up:           gauge("up", "1 while Kafka answers metadata requests."),
		batchRecords: histogram("batch_records", "Records in a produce request.", prometheus.ExponentialBuckets(1, 2, 13)),
		batchBytes:   histogram("batch_bytes", "Size of a produce request's record batches.", prometheus.ExponentialBuckets(512, 4, 9)),
		seconds:      histogram("produce_seconds", "Time from sending a produce request to its answer.", prometheus.ExponentialBuckets(0.0005, 2, 13)),
		retries:      counter("retries_total", "Records sent again because the answer to an earlier attempt was lost or ambiguous."),
		epochs:       counter("epoch_bumps_total", "Partitions whose sequence started over because a broker had lost data or producer state."),
		mayDouble:    counter("possible_duplicates_total", "Records sent under a new epoch although an earlier attempt may have been written."),
		throttled:    counter("throttled_seconds_total", "Time that brokers have told this producer to wait."),
		unwritten:    counter("unwritten_batches_total", "Batches that were sent although they couldn't be written down before."),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "sluice", Subsystem: "kafka", Name: "produce_errors_total",
			Help: "Batches not acknowledged, by Kafka's error code; transport = no answer.",
		}, []string{"code"}),
	}
	if r != nil {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "sluice", Subsystem: "kafka", Name: "queued_records", Help: "Records that wait for their broker or for its answer.",
		}, func() float64 { return float64(waiting()) }), m.up, m.batchRecords, m.batchBytes, m.seconds, m.retries, m.epochs, m.mayDouble, m.throttled, m.unwritten, m.errors)
	}
	return m
}

func (m *metrics) request(records, size int, took time.Duration, err error) {
	m.batchRecords.Observe(float64(records))
	m.batchBytes.Observe(float64(size))
	m.seconds.Observe(took.Seconds())
	if err != nil {
		m.errors.WithLabelValues("transport").Inc()
	}
}

func (m *metrics) setUp(up bool) {
	m.up.Set(0)
	if up {
		m.up.Set(1)
	}
}

// codeLabel is bounded: Kafka's codes run from -1 to little over a hundred.
func codeLabel(code kafka.Error) string {
	if code < -1 || code > 200 {
		return "other"
	}
	return strconv.Itoa(int(code))
}
