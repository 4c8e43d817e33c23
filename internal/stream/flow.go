package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Positions are the next offsets to read, by partition.
type Positions map[Partition]int64

// Source gives out records.
type Source interface {
	// Run calls give for each record, one at a time, and returns when it is through or ctx ends (nil), or when give fails
	// (its error). The order within a partition is that of the offsets. It begins where an earlier run got to; partitions
	// that aren't in from begin where the source's own options say.
	Run(ctx context.Context, from Positions, give func(*Record) error) error
}

// Filter says whether a record is wanted. Its errors end the flow.
type Filter func(*Record) (bool, error)

// Sink keeps records. Its methods are for one goroutine; tickets may be given back by any.
type Sink interface {
	// Write takes a record over. It returns before the record is kept, or waits while as much is under way as the sink
	// may hold. The ticket is given back once the record is kept, or will be with the next Settle. An error ends the
	// flow; it may be about an earlier record.
	Write(ctx context.Context, r *Record, t Ticket) error
	// Settle returns when all that was written is kept, or can't be.
	Settle(ctx context.Context) error
	// Close ends what the sink holds open. What isn't settled may be lost.
	Close() error
}

// Resumable is a [Sink] that goes on after an earlier run. A flow settles it before it asks for its state, so that the
// state and the positions that are saved beside it belong to the same records.
type Resumable interface {
	Sink
	// State is what a later run needs to go on behind everything that was written. ok is false where it couldn't: the
	// flow asks again after one of the next records.
	State() (state json.RawMessage, ok bool, err error)
}

// Checkpoint remembers how far a flow has come.
type Checkpoint interface {
	// Save keeps it beyond the end of the process. state is nil if the sink isn't [Resumable].
	Save(ctx context.Context, next Positions, state json.RawMessage) error
}

// Flow carries records from a source through filters to a sink. Every record is given to the sink at least once, in the
// source's order, also over interruptions; a [Resumable] sink decides whether it is kept only once.
type Flow struct {
	Source  Source
	Filters []Filter      // all of them have to want a record; the cheapest first
	Limit   *rate.Limiter // of the records given to the sink; nil: none
	Sink    Sink

	Checkpoint Checkpoint // nil: none
	// Every is how often the checkpoint is saved (default 3 s).
	Every time.Duration
	// Before is where an earlier run got to.
	Before Positions

	counts  counts
	tickets tickets
	saved   time.Time
	pending bool // a state was asked for where there was none
}

type counts struct{ read, wanted, bytes atomic.Int64 }

// Counts are what has gone through a flow.
type Counts struct {
	Read   int64 `json:"read"`   // by this run
	Wanted int64 `json:"wanted"` // of them: given to the sink
	Bytes  int64 `json:"bytes"`  // keys, values and headers of the wanted ones
}

// Counts may be called while the flow runs.
func (f *Flow) Counts() Counts {
	return Counts{Read: f.counts.read.Load(), Wanted: f.counts.wanted.Load(), Bytes: f.counts.bytes.Load()}
}

// Run returns when everything is kept, with ctx's error when that ends before, or with the first error of a part. In
// each case the checkpoint then says how far it has come: what is under way when ctx ends is settled within grace. Run
// is called once. It doesn't close the sink.
func (f *Flow) Run(ctx context.Context, grace time.Duration) error {
	if f.Every == 0 {
		f.Every = 3 * time.Second
	}
	f.saved = time.Now()
	f.tickets.begin(f.Before)
	err := f.Source.Run(ctx, f.Before, func(r *Record) error { return f.take(ctx, r) })
	if err == nil {
		err = ctx.Err()
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	within := ctx
	if err != nil {
		within = ending
	}
	settled := f.Sink.Settle(within)
	if err == nil && settled != nil && ctx.Err() != nil { // interrupted while the last records were settled
		settled = f.Sink.Settle(ending)
		err = ctx.Err()
	}
	if err == nil {
		err = settled
	}
	return errors.Join(err, f.save(ending, settled == nil))
}

func (f *Flow) take(ctx context.Context, r *Record) error {
	for _, wants := range f.Filters {
		wanted, err := wants(r)
		if err != nil {
			return fmt.Errorf("filtering %s[%d]@%d: %w", r.Topic, r.Partition, r.Offset, err)
		}
		if !wanted {
			f.tickets.pass(r)
			f.counts.read.Add(1)
			return f.due(ctx)
		}
	}
	if f.Limit != nil {
		if err := f.Limit.Wait(ctx); err != nil {
			return err
		}
	}
	if err := f.Sink.Write(ctx, r, f.tickets.issue(r)); err != nil {
		return err
	}
	f.counts.read.Add(1)
	f.counts.wanted.Add(1)
	f.counts.bytes.Add(int64(r.Size()))
	return f.due(ctx)
}

// due saves the checkpoint if it is time.
func (f *Flow) due(ctx context.Context) error {
	if f.Checkpoint == nil || !f.pending && time.Since(f.saved) < f.Every {
		return nil
	}
	return f.save(ctx, false)
}

// save saves how far it has come.
func (f *Flow) save(ctx context.Context, settled bool) error {
	if f.Checkpoint == nil {
		return nil
	}
	var state json.RawMessage
	if sink, is := f.Sink.(Resumable); is {
		if !settled {
			if err := sink.Settle(ctx); err != nil {
				return err
			}
		}
		var err error
		if state, settled, err = sink.State(); err != nil {
			return err
		}
		if f.pending = !settled; f.pending {
			return nil
		}
	}
	f.saved = time.Now()
	return f.Checkpoint.Save(ctx, f.tickets.next(), state)
}
