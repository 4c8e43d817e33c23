package dedupe

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// Values of the label result of dedupe_claims_total.
const (
	resultWon           = "won"
	resultSkipped       = "skipped"
	resultDuplicate     = "duplicate"
	resultDuplicateDead = "duplicate_dead_letter"
	resultBusy          = "busy"
	resultUnavailable   = "unavailable"
	resultOverloaded    = "overloaded"
	resultCancelled     = "cancelled"
)

// Values of the label reason of dedupe_confirms_dropped_total.
const (
	dropFull    = "full"    // MaxPending waited already
	dropExpired = "expired" // waited longer than the TTL
	dropRefused = "refused" // Redis kept refusing this one
	dropClosed  = "closed"  // not written before the end
)

// Values of the label result of dedupe_repairs_total.
const (
	repairDone        = "done"
	repairFailed      = "failed"
	repairInterrupted = "interrupted" // another loss, or another instance has taken over
)

// metrics are this package's, all with bounded labels.
type metrics struct {
	commands  prometheus.Histogram
	errors    map[fault]prometheus.Counter
	claims    map[string]prometheus.Counter
	skipped   prometheus.Counter
	dropped   map[string]prometheus.Counter
	leaseLost prometheus.Counter
	foreign   prometheus.Counter
	renewals  prometheus.Counter
	losses    map[finding]prometheus.Counter
	repairs   map[string]prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, d *Deduper) (*metrics, error) {
	errorsTotal := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_redis_errors_total", Help: "Failed Redis commands by kind.",
	}, []string{"kind"})
	claims := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_dedupe_claims_total", Help: "Claims by result.",
	}, []string{"result"})
	dropped := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_dedupe_confirms_dropped_total",
		Help: "Kept deliveries that Redis was never told of: a later retry of one may be published again.",
	}, []string{"reason"})
	losses := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_dedupe_losses_total", Help: "Times that Redis was found to have lost data, or perhaps to have, by what told it.",
	}, []string{"found"})
	repairs := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_dedupe_repairs_total", Help: "Repairs of what Redis had lost, by result.",
	}, []string{"result"})
	m := &metrics{
		losses:  map[finding]prometheus.Counter{},
		repairs: map[string]prometheus.Counter{},
		commands: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sluice_redis_pipeline_commands", Help: "Commands per round trip to Redis.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 11),
		}),
		errors:  map[fault]prometheus.Counter{},
		claims:  map[string]prometheus.Counter{},
		dropped: map[string]prometheus.Counter{},
		skipped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_dedupe_skipped_total", Help: "Deliveries let through without asking Redis.",
		}),
		leaseLost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_dedupe_leases_lost_total", Help: "Unsettled claims whose lease was found gone or taken.",
		}),
		foreign: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_dedupe_foreign_values_total", Help: "Keys under the prefix that hold what no sluice wrote.",
		}),
		renewals: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_dedupe_renewals_total", Help: "Leases renewed because their claim was still unsettled.",
		}),
	}
	for _, f := range faults {
		m.errors[f] = errorsTotal.WithLabelValues(string(f))
	}
	for _, r := range []string{
		resultWon, resultSkipped, resultDuplicate, resultDuplicateDead,
		resultBusy, resultUnavailable, resultOverloaded, resultCancelled,
	} {
		m.claims[r] = claims.WithLabelValues(r)
	}
	for _, r := range []string{dropFull, dropExpired, dropRefused, dropClosed} {
		m.dropped[r] = dropped.WithLabelValues(r)
	}
	for _, f := range findings {
		m.losses[f] = losses.WithLabelValues(string(f))
	}
	for _, r := range []string{repairDone, repairFailed, repairInterrupted} {
		m.repairs[r] = repairs.WithLabelValues(r)
	}
	if reg == nil {
		return m, nil
	}
	unrepaired := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sluice_dedupe_unrepaired", Help: "1 while Redis has lost data and the topics haven't been read again to their end.",
	}, func() float64 {
		if d.unrepaired.Load() {
			return 1
		}
		return 0
	})
	up := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sluice_redis_up", Help: "1 while Redis (every master of a cluster) answers and takes writes.",
	}, func() float64 {
		if d.downLanes.Load() == 0 {
			return 1
		}
		return 0
	})
	pending := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sluice_dedupe_confirm_pending", Help: "Kept deliveries whose mark isn't written yet.",
	}, func() float64 { return float64(d.confirms.Load()) })
	unsettled := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sluice_dedupe_unsettled_claims", Help: "Claims handed out whose outcome isn't known yet.",
	}, func() float64 { return float64(d.recent.unsettled()) })
	var errs []error
	for _, c := range []prometheus.Collector{
		up, pending, unsettled, m.commands, errorsTotal, claims, dropped, m.skipped, m.leaseLost, m.foreign, m.renewals,
		losses, repairs, unrepaired,
	} {
		errs = append(errs, reg.Register(c))
	}
	return m, errors.Join(errs...)
}
