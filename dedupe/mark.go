package dedupe

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// A [Marker] puts marks back that Redis has lost, while instances go on claiming beside it. Its caller has seen a record
// in a topic, so that the delivery is kept: a fact that no claim can undo, and marking it is right at any time. What
// must not happen is that a mark is made worse, or that an instance's lease is taken from under it. Against each thing
// that an instance may do to the same key:
//
//   - The key is missing. SET NX writes the mark; whichever of it and a claim's SET NX comes first, the other sees it. A
//     claim that comes second finds the mark and is a duplicate, as it should be.
//   - It holds a mark. SET NX leaves value and expiry as they are.
//   - It is pending. SET NX leaves the lease alone, so that its renewals and its release still find their token. The
//     holder publishes the delivery a second time, if that isn't the very record that was seen; nothing can prevent
//     that any more. Its confirm then writes the mark. But its release, its crash or the end of its lease leave the key
//     missing although a record is there: so such a mark is reported as [MarkPending], and it is up to the caller to
//     come again until the outcome is another.
//   - A release or a renewal of a lease that has already ended finds the mark instead of its token and does nothing.
//   - A confirm overwrites whatever is there, with a mark of its own and the whole TTL.
//
// done:dl becomes done where the delivery is on its own topic too, as a dead letter is that was sent on later. That is a
// compare-and-set in one script: between a read and a write a confirm could put another value there. The expiry is
// never brought forward by it. done never becomes done:dl, so the order in which the two records are seen doesn't matter.
//
// Every command may be sent again after its reply was lost: then its own mark is found to be there already.

// Mark says that a delivery is kept.
type Mark struct {
	ID string // see [Identify]
	// DeadLetter: it is on the dead-letter topic, and on no other as far as is known.
	DeadLetter bool
	// Until is when it may be forgotten: [Options.TTL] after the record was written.
	Until time.Time
}

// MarkOutcome is what became of a [Mark].
type MarkOutcome int

// The outcomes. [Marker.Look] has the same ones, for what Mark would do.
const (
	MarkWritten MarkOutcome = iota + 1 // nothing was there; now the mark is
	MarkRaised                         // "on the dead-letter topic" was there; now it is "kept"
	MarkThere                          // the delivery was marked already
	MarkPending                        // an instance holds a lease on it: come again
	MarkForeign                        // the key holds what no version of Sluice writes; it is left alone
	MarkTooOld                         // Until has passed
)

// Marker writes marks in pipelines. It has no breaker and no memory, and its methods are for one goroutine: so there is
// one pipeline under way at a time at each master.
type Marker struct {
	opt     Options
	client  redis.UniversalClient
	cluster bool
	now     func() time.Time

	awaySince, saidAt time.Time // zero while Redis answers
}

// NewMarker dials nothing yet. Of the options it uses URL, Password, Prefix, Timeout and Log, which is told when Redis
// is away and when it is back.
func NewMarker(options Options) (*Marker, error) {
	o, err := Options{
		URL: options.URL, Password: options.Password, Prefix: options.Prefix, Timeout: options.Timeout, Log: options.Log,
		Instance: "marker",
	}.withDefaults()
	if err != nil {
		return nil, err
	}
	client, err := newClient(o, nil)
	if err != nil {
		return nil, err
	}
	_, cluster := client.(*redis.ClusterClient)
	return &Marker{opt: o, client: client, cluster: cluster, now: time.Now}, nil
}

// Close ends the connections.
func (m *Marker) Close() error { return m.client.Close() }

// Mark writes marks and returns what became of each, in their order. Some hundreds at a time are a good number. While
// Redis is away it tries on, without end: until then ctx is the only limit. Errors are ctx's, or wrap
// [ErrMisconfigured]; some of the marks may have been written then, and all can be given again.
func (m *Marker) Mark(ctx context.Context, marks []Mark) ([]MarkOutcome, error) {
	return m.carry(ctx, marks, markSet)
}

// Look is Mark without writing: it says what would become of each. It only reads.
func (m *Marker) Look(ctx context.Context, marks []Mark) ([]MarkOutcome, error) {
	return m.carry(ctx, marks, markLook)
}

func (m *Marker) carry(ctx context.Context, marks []Mark, first markStep) ([]MarkOutcome, error) {
	all := make([]marking, len(marks))
	open := make([]*marking, len(marks))
	for i, mark := range marks {
		all[i] = marking{mark: mark, key: Key(m.opt.Prefix, mark.ID), step: first}
		open[i] = &all[i]
	}
	err := m.insist(ctx, func(ctx context.Context) (more bool, why fault, err error) {
		open = slices.DeleteFunc(open, func(x *marking) bool { return x.over(m.now()) })
		if len(open) == 0 {
			return false, faultNone, nil
		}
		why, err = m.flight(ctx, open)
		return true, why, err
	})
	if err != nil {
		return nil, err
	}
	outcomes := make([]MarkOutcome, len(all))
	for i := range all {
		outcomes[i] = all[i].outcome
	}
	return outcomes, nil
}

// insist repeats a step as long as there is more to do, and waits while Redis is away.
func (m *Marker) insist(ctx context.Context, step func(context.Context) (more bool, why fault, err error)) error {
	var pause time.Duration
	for {
		flight, cancel := context.WithTimeout(ctx, 4*m.opt.Timeout)
		more, why, err := step(flight)
		cancel()
		switch {
		case why == faultNone:
			m.answers()
			pause = 0
			if !more {
				return nil
			}
			continue
		case ctx.Err() != nil:
			return ctx.Err()
		case m.permanent(why):
			return fmt.Errorf("writing marks: %w: %w", ErrMisconfigured, err)
		}
		m.silent(why, err)
		pause = probePause(pause)
		if err := rest(ctx, pause); err != nil {
			return err
		}
	}
}

// permanent reports whether waiting doesn't cure the fault. A cluster's redirects that weren't followed to their end
// belong to slots that are being moved.
func (m *Marker) permanent(why fault) bool {
	return why.permanent() && (!m.cluster || why != faultMoved)
}

// flight sends the next command of each mark in one pipeline, which go-redis splits by master. It returns the gravest
// of what failed; those marks stay as they are.
func (m *Marker) flight(ctx context.Context, open []*marking) (fault, error) {
	cmds := make([]redis.Cmder, len(open))
	for i, x := range open {
		cmds[i] = x.build(ctx, m.now())
	}
	run(ctx, m.client, cmds)
	worst, cause := faultNone, error(nil)
	for i, x := range open {
		err := x.take(cmds[i])
		if err == nil {
			continue
		}
		if why := classify(err); worst == faultNone || m.permanent(why) {
			worst, cause = why, err
		}
	}
	return worst, cause
}

// sayAgain is how often the log is told of a Redis that stays away.
const sayAgain = 10 * time.Second

// silent tells the log that Redis doesn't do what is asked of it.
func (m *Marker) silent(why fault, err error) {
	now := m.now()
	if m.awaySince.IsZero() {
		m.awaySince = now
	}
	if m.saidAt.IsZero() || now.Sub(m.saidAt) >= sayAgain {
		m.saidAt = now
		m.opt.Log.Warn("redis is away, trying on", zap.String("kind", string(why)), zap.Error(err))
	}
}

// answers tells the log that Redis is back, if it had been told otherwise.
func (m *Marker) answers() {
	if !m.awaySince.IsZero() {
		m.opt.Log.Info("redis is back", zap.Duration("away", m.now().Sub(m.awaySince).Round(time.Second)))
		m.awaySince, m.saidAt = time.Time{}, time.Time{}
	}
}

// rest waits for d, or returns ctx's error.
func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
