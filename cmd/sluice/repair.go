package main

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"sluice/config"
	"sluice/dedupe"
)

// repairTold is how often the log and the metrics are told how far a repair has come.
const repairTold = 10 * time.Second

// repairer marks again in Redis what the topics hold, beside live traffic: "dedupe rebuild" by itself.
type repairer struct {
	config        *config.Config
	mode          dedupe.Mode
	log           *zap.Logger
	records, done prometheus.Counter

	// How far a repair has come that isn't done: a younger place, and one that was reached at least dedupe.RepairDoubt
	// before it. All belong to who calls repair.
	loss           dedupe.Loss
	older, younger *rebuildState
	at             time.Time // when the younger was reached
}

// guard has the deduper's Redis repaired when it loses data.
func (s *service) guard(mode dedupe.Mode) error {
	if !s.config.DedupeRepair {
		return nil
	}
	r := &repairer{
		config: s.config, mode: mode, log: s.log.Named("repair"),
		records: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_dedupe_repair_records_total", Help: "Records read from the topics to repair what Redis has lost.",
		}),
		done: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_dedupe_repair_marks_total", Help: "Marks that were missing in Redis and that a repair has written.",
		}),
	}
	if err := errors.Join(s.metrics.Register(r.records), s.metrics.Register(r.done)); err != nil {
		return err
	}
	s.deduper.Guard(dedupe.Guard{Repair: r.repair, Settled: func() bool { return s.book.Balance().Spooled == 0 }})
	return nil
}

// repair reads the topics since the loss up to their ends as of now. Called again for the same loss, it goes on from a
// place whose marks are certain.
func (r *repairer) repair(ctx context.Context, loss dedupe.Loss) (err error) {
	if loss != r.loss {
		r.loss, r.older, r.younger = loss, nil, nil
	}
	state := newRebuildState(rebuildSettings{}, loss.Since)
	switch certain := time.Now().Add(-dedupe.RepairDoubt); {
	case r.younger != nil && r.at.Before(certain):
		state = r.younger.clone()
	case r.older != nil:
		state = r.older.clone()
	}
	marker, err := dedupe.NewMarker(redisOptions(r.config, r.log))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, marker.Close()) }()
	reader, err := rebuildReader(r.config, loss.Since, r.log)
	if err != nil {
		return err
	}
	b := newRebuild(rebuildOptions{
		Topics: topicOptions(r.config), Mode: r.mode, TTL: r.config.DedupeTTL, Lease: r.config.DedupeLease,
		Rate: float64(r.config.DedupeRepairRate), Marker: marker, Say: func(text string) { r.log.Info(text) }, Passed: r.passed,
	}, state)
	told := rebuildShown{marked: state.Counts.Marked}
	tell := func() {
		now := b.progress()
		r.records.Add(float64(now.read - told.read))
		r.done.Add(float64(now.marked - told.marked))
		told = now
	}
	stop := every(repairTold, func() {
		tell()
		r.log.Info(b.progress().text(time.Now()))
	})
	err = b.run(ctx, reader)
	stop()
	tell()
	if errors.Is(err, errOccupied) {
		r.log.Warn("keys in redis hold what sluice doesn't write, and are left alone", zap.Int64("keys", state.Counts.Occupied))
		err = nil
	}
	if err != nil {
		return explainUnreachable(err)
	}
	r.report(b.summary(true))
	return nil
}

// passed keeps the place that a repair has reached.
func (r *repairer) passed(state *rebuildState) {
	if now := time.Now(); r.younger == nil || now.Sub(r.at) > dedupe.RepairDoubt {
		r.older, r.younger, r.at = r.younger, state.clone(), now
	}
}

// report says what came of it.
func (r *repairer) report(s *rebuildSummary) {
	r.log.Info("all that the topics hold is marked", zap.Time("since", s.Since), zap.Int64("records", s.Records),
		zap.Int64("marked", s.Marked), zap.Int64("already_there", s.There), zap.Int64("too_old", s.TooOld+s.Expired))
	if s.Untold > 0 {
		r.log.Warn("records don't tell the ids of their deliveries: their X-CIO-Delivery-ID was left out", zap.Int64("records", s.Untold))
	}
	for _, t := range s.Topics {
		switch {
		case !t.NotBefore.IsZero():
			r.log.Warn("older records have been deleted from a topic: retries of their events will be published again",
				zap.String("topic", t.Topic), zap.Time("before", t.NotBefore))
		case t.Emptied:
			r.log.Warn("all records have been deleted from a partition of a topic: retries of their events will be published again",
				zap.String("topic", t.Topic))
		}
	}
}
