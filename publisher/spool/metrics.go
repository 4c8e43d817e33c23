package spool

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// What may go wrong, as sluice_spool_faults_total names it.
const (
	faultTorn       = "torn"       // a file ended in the midst of a write, as after a kill
	faultCorrupt    = "corrupt"    // a file was damaged; what follows in it is lost
	faultUnreadable = "unreadable" // an entry was damaged while the process ran
	faultWrite      = "write"
	faultSync       = "sync"
	faultFull       = "full"
	faultAdopt      = "adopt" // another instance's folder couldn't be taken over
)

type metrics struct {
	faults *prometheus.CounterVec
	syncs  prometheus.Histogram
}

func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		faults: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "sluice", Subsystem: "spool", Name: "faults_total", Help: "What went wrong with the spool's disk, by kind.",
		}, []string{"kind"}),
		syncs: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "sluice", Subsystem: "spool", Name: "sync_seconds", Help: "How long the disk takes to sync.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 8),
		}),
	}
	for _, kind := range []string{faultTorn, faultCorrupt, faultUnreadable, faultWrite, faultSync, faultFull, faultAdopt} {
		m.faults.WithLabelValues(kind)
	}
	if registry == nil {
		return m, nil
	}
	return m, errors.Join(registry.Register(m.faults), registry.Register(m.syncs))
}

func (m *metrics) fault(kind string)    { m.faults.WithLabelValues(kind).Inc() }
func (m *metrics) sync(d time.Duration) { m.syncs.Observe(d.Seconds()) }
