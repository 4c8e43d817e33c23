// Package deadline bounds the time of many requests by one timer. A context of its own for each request, with its timer,
// its channel and its end, costs more than all the hashing that a request needs.
//
// It is a leaf. Contexts from here carry no values and no cancellation: they end at their time, and not before.
package deadline

import (
	"context"
	"sync/atomic"
	"time"
)

// share is the part of the time within which those who ask get the same context.
const share = 16

// Shared hands out contexts that end a fixed time after they are asked for, or up to a sixteenth of it earlier: those who
// ask at about the same time share one. It is safe for concurrent use.
type Shared struct {
	after   time.Duration
	current atomic.Pointer[slot]
}

// slot is what those share who ask until a certain time.
type slot struct {
	ctx   context.Context //nolint:containedctx // it is what they share
	until time.Time
	// cancel is there to be kept: its context frees itself when its time is over.
	cancel context.CancelFunc
}

// shared tells contexts of this package from others.
type shared struct{ context.Context } //nolint:containedctx // it is one

// New returns contexts that end after the time given.
func New(after time.Duration) *Shared { return &Shared{after: after} }

// Context returns a context that ends after the time given to New, counted from now.
func (s *Shared) Context(now time.Time) context.Context {
	old := s.current.Load()
	if old != nil && now.Before(old.until) {
		return old.ctx
	}
	ctx, cancel := context.WithDeadline(context.Background(), now.Add(s.after))
	fresh := &slot{ctx: shared{ctx}, until: now.Add(s.after / share), cancel: cancel}
	if !s.current.CompareAndSwap(old, fresh) {
		cancel() // somebody was quicker
		return s.Context(now)
	}
	return fresh.ctx
}

// Within returns a context that ends when ctx does, at the latest after the time given to New. The function frees what it
// holds, as that of context.WithTimeout.
func (s *Shared) Within(ctx context.Context, now time.Time) (context.Context, context.CancelFunc) {
	if _, is := ctx.(shared); !is {
		return context.WithTimeout(ctx, s.after)
	}
	mine := s.Context(now)
	theirs, _ := ctx.Deadline()
	if d, _ := mine.Deadline(); d.Before(theirs) {
		ctx = mine
	}
	return ctx, func() {}
}
