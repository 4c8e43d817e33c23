package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"sluice/dedupe"
	"sluice/internal/stream"
	"sluice/publisher"
)

const (
	// rebuildBatch is how many marks are written in one pipeline.
	rebuildBatch = 500
	// checkpointEvery is how often the checkpoint is written.
	checkpointEvery = 3 * time.Second
	// pendingEvery is the pause between two looks at events that instances are handling.
	pendingEvery = 500 * time.Millisecond
)

// rebuildOptions is what a rebuild goes by.
type rebuildOptions struct {
	Topics     publisher.TopicOptions
	Mode       dedupe.Mode
	TTL        time.Duration
	Lease      time.Duration // how long an instance's lease lives that nobody renews
	Rate       float64       // marks a second; 0: no limit
	Marker     *dedupe.Marker
	DryRun     bool
	Checkpoint string              // "": none
	Passed     func(*rebuildState) // told every few seconds how far it has come; nil: not wanted
	Say        func(string)
}

// rebuild is one run. All of it belongs to the goroutine that calls run, but for shown.
type rebuild struct {
	o       rebuildOptions
	state   *rebuildState // as of the last batch that was written
	limiter *rate.Limiter
	size    int

	batch []dedupe.Mark
	// counts and next are of what has been read; the state takes them over once the batch is written.
	counts rebuildCounts
	topics map[string]*rebuildTopic
	next   map[stream.Partition]int64
	saved  time.Time
	eaten  map[stream.Partition]bool // the records before its oldest were deleted, perhaps some that were asked for

	mu    sync.Mutex // guards shown
	shown rebuildShown
}

func newRebuild(o rebuildOptions, state *rebuildState) *rebuild {
	r := &rebuild{
		o: o, state: state, size: rebuildBatch, limiter: rate.NewLimiter(rate.Inf, rebuildBatch), saved: time.Now(),
		counts: state.Counts, topics: state.topics(), next: state.next(), eaten: make(map[stream.Partition]bool),
		shown: rebuildShown{marked: state.Counts.Marked},
	}
	if o.Rate > 0 {
		r.size = int(min(rebuildBatch, max(1, o.Rate/20))) // a slow rate is not one batch and a long pause
		// What is missed while Kafka or Redis is waited for may be caught up with for a fifth of a second.
		r.limiter = rate.NewLimiter(rate.Limit(o.Rate), max(r.size, int(min(o.Rate/5, math.MaxInt32))))
	}
	return r
}

// run reads to the end. Interrupted, or with an error, the checkpoint says how far it has come.
func (r *rebuild) run(ctx context.Context, reader *stream.Reader) error {
	if r.o.Checkpoint != "" { // hours of work shouldn't be lost for a folder that isn't there
		if err := r.state.write(r.o.Checkpoint); err != nil {
			return err
		}
	}
	err := reader.RunFrom(ctx, stream.From{Next: r.next, Placed: r.placed}, func(x stream.Record) error { return r.take(ctx, &x) })
	if err == nil && ctx.Err() == nil {
		if err = r.flush(ctx); err == nil {
			err = r.settlePending(ctx)
		}
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("%w: interrupted", errIncomplete)
	}
	if err == nil {
		err = r.missing()
	}
	return r.end(err)
}

// end leaves a checkpoint behind unless everything is done.
func (r *rebuild) end(err error) error {
	if r.o.Checkpoint == "" {
		return err
	}
	if err == nil {
		return removeCheckpoint(r.o.Checkpoint)
	}
	if failed := r.state.write(r.o.Checkpoint); failed != nil {
		return errors.Join(err, failed)
	}
	return fmt.Errorf("%w; --resume goes on from %s", err, r.o.Checkpoint)
}

// placed takes over what there is to read.
func (r *rebuild) placed(spans []stream.Span) {
	var total int64
	for _, s := range spans {
		total += s.End - s.Begin
		r.topic(s.Topic)
		// What is left begins after the time that was asked for, and there has been more.
		_, begun := r.next[s.Partition]
		r.eaten[s.Partition] = !begun && s.Oldest > 0 && s.Chosen == s.Oldest
		if r.eaten[s.Partition] && s.Begin == s.End {
			r.topic(s.Topic).Emptied = true
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shown.total, r.shown.began, r.shown.marked = total, time.Now(), r.counts.Marked
}

func (r *rebuild) topic(name string) *rebuildTopic {
	t := r.topics[name]
	if t == nil {
		t = &rebuildTopic{Topic: name}
		r.topics[name] = t
	}
	return t
}

// take counts a record and puts its mark into the batch.
func (r *rebuild) take(ctx context.Context, x *stream.Record) error {
	now := time.Now()
	t, part := r.topic(x.Topic), stream.Partition{Topic: x.Topic, ID: x.Partition}
	if r.eaten[part] {
		r.eaten[part] = false
		if x.Time.After(t.NotBefore) {
			t.NotBefore = x.Time
		}
	}
	t.Records++
	r.counts.Records++
	r.next[part] = x.Offset + 1
	r.mu.Lock()
	r.shown.read++
	r.mu.Unlock()
	r.collect(x, now)
	if len(r.batch) < r.size && now.Sub(r.saved) < checkpointEvery {
		return nil
	}
	if err := r.flush(ctx); err != nil {
		return err
	}
	if now.Sub(r.saved) < checkpointEvery {
		return nil
	}
	r.saved = now
	if r.o.Passed != nil {
		r.o.Passed(r.state)
	}
	if r.o.Checkpoint == "" {
		return nil
	}
	return r.state.write(r.o.Checkpoint)
}

// collect adds the record's mark to the batch, if it has one.
func (r *rebuild) collect(x *stream.Record, now time.Time) {
	if !written(x) {
		r.counts.Foreign++
		return
	}
	if x.Time.Add(r.o.TTL).Before(now) {
		r.counts.TooOld++
		return
	}
	known := identifyRecord(r.o.Mode, x)
	if known.id == "" {
		r.counts.Untold++
		return
	}
	if known.assumed {
		r.counts.Assumed++
	}
	r.counts.IDs++
	r.batch = append(r.batch, recordMark(known.id, x, r.o.Topics, r.o.TTL, now))
}

// flush writes the batch; what has been read up to here is then done with.
func (r *rebuild) flush(ctx context.Context) error {
	outcomes, err := r.mark(ctx, r.batch)
	if err != nil {
		return err
	}
	pending := slices.Clone(r.state.Pending)
	for i, outcome := range outcomes {
		if outcome == dedupe.MarkPending {
			pending = append(pending, rebuildPending(r.batch[i]))
			continue
		}
		r.counts.add(outcome)
	}
	r.batch = r.batch[:0]
	r.counts.Pending = int64(len(pending))
	r.state.Pending, r.state.Counts = pending, r.counts
	r.state.reached(r.next, r.topics)
	r.tellMarked()
	return nil
}

// mark writes marks, or looks for them, as fast as it may.
func (r *rebuild) mark(ctx context.Context, marks []dedupe.Mark) ([]dedupe.MarkOutcome, error) {
	var outcomes []dedupe.MarkOutcome
	for piece := range slices.Chunk(marks, r.size) {
		if err := r.limiter.WaitN(ctx, len(piece)); err != nil {
			return nil, err
		}
		act := r.o.Marker.Mark
		if r.o.DryRun {
			act = r.o.Marker.Look
		}
		got, err := act(ctx, piece)
		if err != nil {
			return nil, err
		}
		outcomes = append(outcomes, got...)
	}
	return outcomes, nil
}

// settlePending comes again for events that an instance was handling. It will have marked them, or let them go; a lease
// that nobody renews ends by itself. One that lasts longer is renewed because Kafka doesn't answer its holder.
func (r *rebuild) settlePending(ctx context.Context) error {
	if r.o.DryRun || len(r.state.Pending) == 0 {
		return nil
	}
	r.o.Say(fmt.Sprintf("%s events are being handled by instances; waiting for them, at most %s", count(int64(len(r.state.Pending))), r.o.Lease))
	limited, cancel := context.WithTimeout(ctx, r.o.Lease+pendingEvery)
	defer cancel()
	tick := time.NewTicker(pendingEvery)
	defer tick.Stop()
	for {
		if err := r.askPending(ctx); err != nil || len(r.state.Pending) == 0 {
			return err
		}
		select {
		case <-tick.C:
		case <-limited.Done():
			return ctx.Err()
		}
	}
}

// askPending tries the marks once more that couldn't be written.
func (r *rebuild) askPending(ctx context.Context) error {
	marks := make([]dedupe.Mark, len(r.state.Pending))
	for i, p := range r.state.Pending {
		marks[i] = dedupe.Mark(p)
	}
	outcomes, err := r.mark(ctx, marks)
	if err != nil {
		return err
	}
	var still []rebuildPending
	for i, outcome := range outcomes {
		if outcome == dedupe.MarkPending {
			still = append(still, r.state.Pending[i])
			continue
		}
		r.counts.add(outcome)
	}
	r.counts.Pending = int64(len(still))
	r.state.Pending, r.state.Counts = still, r.counts
	r.tellMarked()
	return nil
}

// missing is an error if events that can be marked aren't.
func (r *rebuild) missing() error {
	c := &r.state.Counts
	switch {
	case r.o.DryRun:
		return nil
	case c.Pending > 0:
		return fmt.Errorf("%w: %s events are still being handled by an instance, which may let them go; run it again", errIncomplete, count(c.Pending))
	case c.Occupied > 0:
		return fmt.Errorf("%w: %s %w", errIncomplete, count(c.Occupied), errOccupied)
	}
	return nil
}

func (r *rebuild) tellMarked() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shown.marked = r.counts.Marked
}

// progress is how far it has come. It is safe for concurrent use.
func (r *rebuild) progress() rebuildShown {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.shown
}

// summary is what came of it, as of the last batch that was written.
func (r *rebuild) summary(complete bool) *rebuildSummary {
	slices.SortFunc(r.state.Topics, func(a, b rebuildTopic) int { return strings.Compare(a.Topic, b.Topic) })
	return &rebuildSummary{
		DryRun: r.o.DryRun, Complete: complete, Since: r.state.Since, rebuildCounts: r.state.Counts,
		Topics: append([]rebuildTopic{}, r.state.Topics...),
	}
}
