package dedupe

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"

	"sluice/internal/deadline"
)

// How long a claim waits before it asks again for an ID that somebody else is handling.
const (
	pollMin = 10 * time.Millisecond
	pollMax = 50 * time.Millisecond
)

// Claim asks for the right to publish the delivery with this ID (see [Identify]). It returns within
// [Options.ClaimTimeout], at times [Options.BusyTimeout], and a scheduling delay, or when ctx ends. A claim that is [Won]
// or [Skipped] must be settled.
// Errors: [ErrBusy], [ErrUnavailable], [ErrOverloaded], [ErrClosed], or ctx's; in each case nothing is left behind.
func (d *Deduper) Claim(ctx context.Context, id string) (*Claim, error) {
	if d.closing.Load() {
		return nil, ErrClosed
	}
	c := &Claim{d: d, id: d.recent.digest(id), key: Key(d.opt.Prefix, id), token: d.tokens.next()}
	c.ask.claim, c.renew.claim, c.settle.claim = c, c, c
	now := time.Now()
	w := waiter{
		ctx: ctx, patience: d.patience, overdue: d.patience.Context(now).Done(),
		each: d.opt.ClaimTimeout, until: now.Add(d.opt.BusyTimeout), pause: pollMin,
	}

	verdict, err := d.enter(c, &w)
	if err == nil && verdict == Won {
		if verdict, err = d.contend(c, &w); err != nil || verdict == Duplicate || verdict == DuplicateDeadLetter {
			d.recent.forget(c)
		}
	}
	d.count(verdict, err)
	if err != nil {
		c.settled.Store(true)
		if c.reached {
			d.undo(c)
		}
		return nil, err
	}
	c.verdict = verdict
	switch verdict {
	case Won:
		d.leases.add(c)
	case Duplicate, DuplicateDeadLetter:
		c.settled.Store(true)
	}
	return c, nil
}

// enter makes c the one claim of this process that contends for its ID: Won means go on. While another one is
// unsettled it waits, without asking Redis.
func (d *Deduper) enter(c *Claim, w *waiter) (Verdict, error) {
	for {
		switch d.recent.begin(c, time.Now()) {
		case entered:
			return Won, nil
		case entryKept:
			return Duplicate, nil
		case entryKeptDead:
			return DuplicateDeadLetter, nil
		case entryFull:
			return 0, ErrOverloaded
		}
		if err := w.poll(); err != nil {
			return 0, err
		}
	}
}

// contend asks Redis until there is a verdict or the time is up.
func (d *Deduper) contend(c *Claim, w *waiter) (Verdict, error) {
	taken := false // somebody else was seen to hold the key: then publishing unasked would likely double
	for {
		switch d.ask(c, w, askClaim) {
		case replyYes:
			c.grant(c.ask.sent)
			return Won, nil
		case replyNo:
		case replyCancelled:
			return 0, w.cancelled()
		default:
			return d.unasked(c, taken)
		}
		// The key exists. It is our own if an earlier sending of this SET was executed without our hearing of it.
		// (A cluster client sends again by itself.)
		sent, maybeMine := c.ask.sent, c.ask.again || d.cluster != nil
		taken = taken || !maybeMine
		switch d.ask(c, w, askValue) {
		case replyYes:
		case replyNo:
			taken = false
			continue // expired or released in between
		case replyCancelled:
			return 0, w.cancelled()
		case replyForeign:
			return d.foreign()
		default:
			return d.unasked(c, taken)
		}
		switch readValue(c.ask.text, c.token) {
		case holdMine:
			c.grant(sent)
			return Won, nil
		case holdDone:
			return Duplicate, nil
		case holdDoneDead:
			return DuplicateDeadLetter, nil
		case holdForeign:
			return d.foreign()
		}
		taken = true
		d.letGoFormer(c.key, c.ask.text)
		if err := w.poll(); err != nil {
			return 0, err
		}
	}
}

// unasked is the verdict where Redis gave no answer.
func (d *Deduper) unasked(c *Claim, taken bool) (Verdict, error) {
	switch {
	case taken:
		return 0, ErrBusy
	case d.closing.Load():
		return 0, ErrClosed
	case d.opt.WhenDown == Closed:
		return 0, ErrUnavailable
	case d.recent.leftWithin(c, d.opt.Lease, time.Now()):
		return 0, ErrBusy
	}
	return Skipped, nil
}

// foreign is the verdict where the key holds something that isn't ours: refusing would block the sender for as long
// as it stands there, so the delivery is published, and its confirm puts the key right.
func (d *Deduper) foreign() (Verdict, error) {
	d.metrics.foreign.Inc()
	if n := d.foreignSeen.Add(1); n%1000 == 1 {
		d.log.Warn("a key under the prefix holds a foreign value: does something else use it?",
			zap.String("prefix", d.opt.Prefix), zap.Int64("so_far", n))
	}
	return Skipped, nil
}

type reply int

const (
	replyYes       reply = iota // SET: won; GET: there is a value
	replyNo                     // nil
	replyForeign                // the key is of another type
	replyAway                   // not sent, or failed
	replyLate                   // the claim timeout has passed
	replyCancelled              // ctx has ended
)

// ask sends one command of the claim and waits for its reply, but not longer than the caller may. After replyLate and
// replyCancelled the command is the lane's for good: the claim can't ask again.
func (d *Deduper) ask(c *Claim, w *waiter, k kind) reply {
	if w.late {
		return replyLate
	}
	c.ask.kind = k
	l := d.laneOf(c.key)
	b := l.submit(&c.ask)
	if b == nil {
		return replyAway
	}
	if k == askClaim {
		c.reached = true
	}
	r := replyLate
	for waits := true; waits; {
		select {
		case <-b.done:
			return c.ask.reply()
		case <-w.ctx.Done():
			r, waits = replyCancelled, false
		case <-w.overdue:
			// As long as Redis isn't known to be away, it is this process that is slow, as with what has gathered while it
			// stood still. A flight ends within a timeout; to wait for that is better than to publish unasked.
			waits = l.away() == nil && w.more()
			w.late = !waits
		}
	}
	if !c.ask.state.CompareAndSwap(asking, left) {
		return c.ask.reply() // it has come in this moment
	}
	return r
}

func (c *command) reply() reply {
	switch {
	case c.none:
		return replyNo
	case c.err == nil:
		return replyYes
	case classify(c.err) == faultWrongType:
		return replyForeign
	default:
		return replyAway
	}
}

// undo takes back the lease that a refused claim may have got, or may yet get: it flies with its SET or later. Where
// the network holds back the SET for longer, the lease ends that.
func (d *Deduper) undo(c *Claim) {
	release := &command{claim: c, kind: tellLetGo, until: time.Now().Add(d.opt.Lease)}
	d.tell(release)
}

// count puts the outcome into the metrics.
func (d *Deduper) count(v Verdict, err error) {
	result := v.String()
	switch {
	case err == nil:
	case errors.Is(err, ErrBusy):
		result = resultBusy
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrClosed):
		result = resultUnavailable
	case errors.Is(err, ErrOverloaded):
		result = resultOverloaded
	default:
		result = resultCancelled
	}
	d.metrics.claims[result].Inc()
	if result == resultSkipped {
		d.metrics.skipped.Inc()
	}
}

// waiter is one caller's patience.
type waiter struct {
	ctx      context.Context  //nolint:containedctx // lives as long as the call it belongs to
	patience *deadline.Shared // of the claim timeout
	overdue  <-chan struct{}  // closed when it has passed
	late     bool             // it has been seen to
	each     time.Duration    // the claim timeout
	until    time.Time        // the busy timeout's end
	pause    time.Duration
}

// poll waits before asking again, a little longer each time and never in step with others.
func (w *waiter) poll() error {
	if w.late {
		return ErrBusy
	}
	pause := time.NewTimer(w.pause/2 + rand.N(w.pause))
	defer pause.Stop()
	w.pause = min(w.pause*3/2, pollMax)
	select {
	case <-pause.C:
		w.more()
		return nil
	case <-w.overdue:
		w.late = true
		return ErrBusy
	case <-w.ctx.Done():
		return w.cancelled()
	}
}

// more gives the claim timeout once more, until the busy timeout is over. It reports whether there was any left.
func (w *waiter) more() bool {
	now := time.Now()
	left := w.until.Sub(now)
	switch {
	case left <= 0:
		return false
	case left < w.each:
		over := make(chan struct{})
		time.AfterFunc(left, func() { close(over) })
		w.overdue = over
	default:
		w.overdue = w.patience.Context(now).Done()
	}
	return true
}

func (w *waiter) cancelled() error { return fmt.Errorf("claiming: %w", w.ctx.Err()) }
