package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"sluice/dedupe"
	"sluice/internal/stream"
)

const (
	// takeBatch is how many records are reserved in one pipeline.
	takeBatch = 500
	// givenMost is how many may wait to be marked, and takenMost for how long, where no checkpoint has them settled before: a
	// lease must not end meanwhile.
	givenMost = 50_000
	takenMost = 4 * time.Second
)

// takingSink reserves each record's delivery in Redis before it is written, and marks it as kept when it is: see
// [dedupe.Marker.Take]. It belongs to one goroutine.
type takingSink struct {
	stream.Resumable
	marker *dedupe.Marker
	// of says what a record reserves. ok is false for one that is written without.
	of func(*stream.Record) (t dedupe.Taking, ok bool)
	// as is what is written of a record; nil: the record itself.
	as  func(*stream.Record) stream.Record
	ttl time.Duration
	// patience is how long a delivery is waited for that an instance is handling.
	patience time.Duration
	look     bool // only look, as for a dry run; then nothing is written either

	waiting []takenRecord
	given   []dedupe.Taking
	settled time.Time // last
	counts  takingCounts
}

type takenRecord struct {
	record stream.Record
	ticket stream.Ticket
	taking dedupe.Taking // ID "": none
}

// takingCounts are those that weren't written.
type takingCounts struct {
	Kept  int64 // Redis says that they are
	Other int64 // another run is at it
}

// errTaking ends a run for what Redis says of a delivery.
var errTaking = errors.New("a delivery can't be reserved in Redis")

// Write is part of [stream.Sink].
func (s *takingSink) Write(ctx context.Context, r *stream.Record, t stream.Ticket) error {
	x := takenRecord{record: *r, ticket: t}
	if taking, ok := s.of(r); ok {
		x.taking = taking
	}
	if s.as != nil {
		x.record = s.as(r)
	}
	s.waiting = append(s.waiting, x)
	if s.settled.IsZero() {
		s.settled = time.Now()
	}
	if time.Since(s.settled) > takenMost || len(s.given) >= givenMost {
		return s.Settle(ctx)
	}
	if len(s.waiting) < takeBatch {
		return nil
	}
	return s.flush(ctx)
}

// flush reserves and writes what waits. What is left after an error is tried again by the next.
func (s *takingSink) flush(ctx context.Context) error {
	takings := make([]dedupe.Taking, 0, len(s.waiting))
	for i := range s.waiting {
		if t := s.waiting[i].taking; t.ID != "" {
			takings = append(takings, t)
		}
	}
	outcomes, err := s.take(ctx, takings)
	if err != nil {
		return err
	}
	done := 0
	defer func() { s.waiting = slices.Delete(s.waiting, 0, done) }()
	for i := range s.waiting {
		x := &s.waiting[i]
		outcome := dedupe.Taken
		if x.taking.ID != "" {
			outcome, outcomes = outcomes[0], outcomes[1:]
		}
		switch outcome {
		case dedupe.Taken:
			if err := s.Resumable.Write(ctx, &x.record, x.ticket); err != nil {
				return err
			}
			if x.taking.ID != "" {
				s.given = append(s.given, x.taking)
			}
		case dedupe.TakenByOther:
			s.counts.Other++
			x.ticket.Kept()
		default:
			s.counts.Kept++
			x.ticket.Kept()
		}
		done++
	}
	return nil
}

// take reserves, and waits for those that an instance is handling: it keeps them, or lets them go.
func (s *takingSink) take(ctx context.Context, takings []dedupe.Taking) ([]dedupe.TakeOutcome, error) {
	if s.look {
		return s.marker.LookTaken(ctx, takings)
	}
	outcomes, err := s.marker.Take(ctx, takings)
	if err != nil {
		return nil, err
	}
	until := time.Now().Add(s.patience)
	for i := range outcomes {
		for outcomes[i] == dedupe.TakenPending && time.Now().Before(until) {
			timer := time.NewTimer(pendingEvery)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return nil, ctx.Err()
			}
			again, err := s.marker.Take(ctx, takings[i:i+1])
			if err != nil {
				return nil, err
			}
			outcomes[i] = again[0]
		}
		switch outcomes[i] {
		case dedupe.TakenPending:
			return nil, fmt.Errorf("%w: %s is still being handled by an instance or another import; go on later", errTaking, takings[i].ID)
		case dedupe.TakenForeign:
			return nil, fmt.Errorf("%w: %s: %w", errTaking, takings[i].ID, errOccupied)
		}
	}
	return outcomes, nil
}

// Settle is part of [stream.Sink]. Kept is a fact only once Kafka has said so.
func (s *takingSink) Settle(ctx context.Context) error {
	if err := s.flush(ctx); err != nil {
		return err
	}
	if err := s.Resumable.Settle(ctx); err != nil {
		return err
	}
	for len(s.given) > 0 && !s.look {
		n := min(len(s.given), takeBatch)
		if err := s.marker.Give(ctx, s.given[:n], time.Now().Add(s.ttl)); err != nil {
			return err
		}
		s.given = s.given[n:]
	}
	s.given, s.settled = nil, time.Now()
	return nil
}

// Close is part of [stream.Sink].
func (s *takingSink) Close() error { return errors.Join(s.Resumable.Close(), s.marker.Close()) }

// nowhere is a sink that keeps nothing.
type nowhere struct{}

// Write is part of [stream.Sink].
func (nowhere) Write(_ context.Context, _ *stream.Record, t stream.Ticket) error {
	t.Kept()
	return nil
}

// Settle is part of [stream.Sink].
func (nowhere) Settle(context.Context) error { return nil }

// State is part of [stream.Resumable].
func (nowhere) State() (json.RawMessage, bool, error) { return nil, true, nil }

// Close is part of [stream.Sink].
func (nowhere) Close() error { return nil }
