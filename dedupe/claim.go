package dedupe

import (
	"sync/atomic"
	"time"
)

// Verdict is the outcome of a claim.
type Verdict int

const (
	// Won: the delivery is this claim's to publish, under a lease.
	Won Verdict = iota
	// Skipped: Redis could not be asked and [Options.WhenDown] is [Open]; publish without a lease.
	Skipped
	// Duplicate: the delivery is kept already.
	Duplicate
	// DuplicateDeadLetter: the delivery is kept already, on the dead-letter topic.
	DuplicateDeadLetter
)

// String names the verdict as in the metrics.
func (v Verdict) String() string {
	switch v {
	case Won:
		return resultWon
	case Skipped:
		return resultSkipped
	case Duplicate:
		return resultDuplicate
	default:
		return resultDuplicateDead
	}
}

// Claim is one delivery's place in the queue of those that would publish it. A claim that is [Won] or [Skipped] must
// be settled exactly once, by Confirm, ConfirmDeadLetter, Release or Leave, from any goroutine and however late:
// until then its lease is renewed. Settling never blocks; it is written with a later flight, on a context of its own.
// Only the first settling counts.
type Claim struct {
	d       *Deduper
	id      digest
	key     string
	token   string // the whole value, "pending:" included
	verdict Verdict

	reached bool        // a SET with the token may have been executed; not written after the claim is handed out
	settled atomic.Bool // also true from the start for duplicates
	lost    atomic.Bool // the lease is gone for good

	// Start of the flight that last got or renewed the lease, on the process' clock and on the wall's.
	grantedMono, grantedWall atomic.Int64

	prev, next *Claim // neighbours in leases, guarded by its mutex
	listed     bool   // likewise

	ask, renew, settle command
}

// Verdict says what to do with the delivery.
func (c *Claim) Verdict() Verdict { return c.verdict }

// Live reports whether the lease certainly still holds, without asking Redis: its last grant is younger than the
// lease less the margin. Ask right before a record is encoded; if false, leave the record out and Release. Always
// true for [Skipped], which has no lease; false for duplicates.
func (c *Claim) Live() bool {
	switch c.verdict {
	case Skipped:
		return true
	case Won:
		return !c.lost.Load() && c.age(time.Now()) < c.d.opt.Lease-c.d.opt.LeaseMargin
	default:
		return false
	}
}

// age is the longest time that may have passed since the lease was granted: the process' clock stands still while a
// virtual machine is suspended, Redis' and the wall's don't.
func (c *Claim) age(now time.Time) time.Duration {
	mono := now.Sub(c.d.epoch).Nanoseconds() - c.grantedMono.Load()
	wall := now.UnixNano() - c.grantedWall.Load()
	return time.Duration(max(mono, wall))
}

func (c *Claim) grant(sent time.Time) {
	c.grantedMono.Store(sent.Sub(c.d.epoch).Nanoseconds())
	c.grantedWall.Store(sent.UnixNano())
}

// Confirm: the delivery is kept. Retries of it are duplicates for [Options.TTL]. It is written whoever holds the
// lease by now: kept is a fact.
func (c *Claim) Confirm() { c.finish(tellKept) }

// ConfirmDeadLetter: the delivery is kept on the dead-letter topic.
func (c *Claim) ConfirmDeadLetter() { c.finish(tellDead) }

// Release: certainly nothing was written. The lease is given back if it is still this claim's.
func (c *Claim) Release() { c.finish(tellLetGo) }

// Leave: nobody knows whether it was written. The lease runs out by itself; retries get [ErrBusy] until then. Where
// there is no lease because Redis is away, this process keeps them off for as long.
func (c *Claim) Leave() { c.finish(leaveIt) }

func (c *Claim) finish(k kind) {
	if !c.settled.CompareAndSwap(false, true) {
		return
	}
	now := time.Now()
	c.d.leases.remove(c)
	c.settle.kind = k
	switch k {
	case leaveIt:
		c.d.recent.remember(c, k, now)
		return
	case tellKept, tellDead:
		c.d.recent.remember(c, k, now)
		c.settle.until = now.Add(c.d.opt.TTL)
	default:
		c.d.recent.forget(c)
		if !c.reached || c.lost.Load() {
			return // there is nothing of ours to give back
		}
		c.settle.until = now.Add(c.d.opt.Lease)
	}
	c.d.tell(&c.settle)
}
