package ingest

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/event"
)

// otherType is the event_type label of every type that isn't documented, so
// that senders can't make label values.
const otherType = "other"

// publisherReason is the dead_lettered_total reason of events that could be
// parsed but that the publisher could not place on their own topic.
const publisherReason = "publisher"

// metrics holds every instrument with its label values already resolved:
// looking a label up costs more than counting.
type metrics struct {
	received     prometheus.Counter
	spooled      prometheus.Counter
	duplicates   byType
	published    byType
	deadLettered map[event.Reason]prometheus.Counter
	refused      map[string]prometheus.Counter // by reason
	verified     map[string]prometheus.Counter // by key name

	stageRead, stageVerify, stageParse, stageClaim, stagePublish, stageTotal prometheus.Observer
}

func newMetrics(reg prometheus.Registerer, keyNames []string, l *limits) (*metrics, error) {
	received := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "sluice_received_total",
		Help: "Webhook requests received, whatever became of them. Other paths and methods are not among them.",
	})
	spooled := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "sluice_spooled_total",
		Help: "Webhook requests answered 200 because the event is on disk, to be published once Kafka takes it.",
	})
	duplicates := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_duplicates_total",
		Help: "Webhook requests answered 200 because the event was kept before. Undocumented event types, and bodies that are no event, count as other.",
	}, []string{"event_type"})
	published := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_published_total",
		Help: "Events acknowledged on their own topic before the answer. Undocumented event types count as other.",
	}, []string{"event_type"})
	deadLettered := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_dead_lettered_total",
		Help: "Events acknowledged on the dead-letter topic before the answer, by what kept them from their own.",
	}, []string{"reason"})
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_refused_total",
		Help: "Requests answered with anything but 200, by reason.",
	}, []string{"reason"})
	verified := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_verified_total",
		Help: "Webhook requests with a valid signature, by the name of the signing key.",
	}, []string{"key"})
	stages := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "sluice_stage_duration_seconds",
		Help:    "Time a webhook request spends in each stage, and in total up to its answer.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2},
	}, []string{"stage"})
	inFlightRequests := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sluice_in_flight_requests",
		Help: "Webhook requests being worked on.",
	}, func() float64 { return float64(l.requests.Load()) })
	inFlightBytes := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sluice_in_flight_bytes",
		Help: "Memory held by the bodies of the webhook requests being worked on.",
	}, func() float64 { return float64(l.bytes.Load()) })

	for _, c := range []prometheus.Collector{
		received, spooled, duplicates, published, deadLettered, refused, verified, stages, inFlightRequests, inFlightBytes,
	} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}

	m := &metrics{
		received:     received,
		spooled:      spooled,
		duplicates:   newByType(duplicates),
		published:    newByType(published),
		deadLettered: make(map[event.Reason]prometheus.Counter),
		refused:      make(map[string]prometheus.Counter),
		verified:     make(map[string]prometheus.Counter),
		stageRead:    stages.WithLabelValues("read"),
		stageVerify:  stages.WithLabelValues("verify"),
		stageParse:   stages.WithLabelValues("parse"),
		stageClaim:   stages.WithLabelValues("claim"),
		stagePublish: stages.WithLabelValues("publish"),
		stageTotal:   stages.WithLabelValues("total"),
	}
	for _, r := range []event.Reason{event.ReasonNotJSON, event.ReasonNotObject, event.ReasonNoType, event.ReasonBadType, publisherReason} {
		m.deadLettered[r] = deadLettered.WithLabelValues(string(r))
	}
	for _, r := range refusals {
		m.refused[r.reason] = refused.WithLabelValues(r.reason)
	}
	for _, name := range keyNames {
		m.verified[name] = verified.WithLabelValues(name)
	}
	return m, nil
}

// byType holds the counters of the documented event types and of otherType, which stands for the rest.
type byType map[string]prometheus.Counter

func newByType(vec *prometheus.CounterVec) byType {
	c := make(byType)
	for _, t := range event.Known() {
		c[t.Name] = vec.WithLabelValues(t.Name)
	}
	c[otherType] = vec.WithLabelValues(otherType)
	return c
}

func (c byType) inc(eventType string) {
	counter, ok := c[eventType]
	if !ok {
		counter = c[otherType]
	}
	counter.Inc()
}

// countDeadLettered counts an event on the dead-letter topic. A reason that
// isn't known here counts as the publisher's.
func (m *metrics) countDeadLettered(reason event.Reason) {
	c, ok := m.deadLettered[reason]
	if !ok {
		c = m.deadLettered[publisherReason]
	}
	c.Inc()
}

// observe adds the time since began to a stage and returns the time now, where
// the next stage begins.
func observe(stage prometheus.Observer, began time.Time) time.Time {
	now := time.Now()
	stage.Observe(now.Sub(began).Seconds())
	return now
}
