package dedupe

import (
	"hash/maphash"
	"sync"
	"time"
)

// digest stands for an ID in this process' memory: 128 bits under seeds nobody outside knows.
type digest [2]uint64

// recent is what this process itself knows of IDs: which it is handling, and which it has kept lately. It is fed in
// good times too, so that it can answer the moment Redis is gone, and it is asked in good times too: what this
// process has seen acknowledged is a duplicate also when Redis has lost it.
type recent struct {
	seeds [2]maphash.Seed
	ttl   time.Duration
	limit int // of unsettled claims

	mu    sync.Mutex // guards all below
	open  map[digest]*Claim
	ended map[digest]ending
	ring  []digest // the keys of ended, oldest at next once it is full
	next  int
}

// ending is how a claim of an ID ended, unless nothing was written.
type ending struct {
	at  time.Time
	how kind // tellKept, tellDead, or leaveIt
}

func newRecent(size, limit int, ttl time.Duration) *recent {
	return &recent{
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		ttl:   ttl, limit: limit,
		open:  make(map[digest]*Claim),
		ended: make(map[digest]ending),
		ring:  make([]digest, 0, size),
	}
}

func (r *recent) digest(id string) digest {
	return digest{maphash.String(r.seeds[0], id), maphash.String(r.seeds[1], id)}
}

// entry is what begin found.
type entry int

const (
	entered   entry = iota // the ID is the claim's until settle
	entryHeld              // another claim of this process is unsettled
	entryKept
	entryKeptDead
	entryFull // too many unsettled claims
)

// begin makes c the one claim of this process that handles its ID, or says why not. Looking and entering is one
// step, so two claims never both enter.
func (r *recent) begin(c *Claim, now time.Time) entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.ended[c.id]; ok && now.Sub(e.at) < r.ttl {
		switch e.how {
		case tellKept:
			return entryKept
		case tellDead:
			return entryKeptDead
		}
	}
	if _, held := r.open[c.id]; held {
		return entryHeld
	}
	if len(r.open) >= r.limit {
		return entryFull
	}
	r.open[c.id] = c
	return entered
}

// forget ends what begin began, with nothing kept.
func (r *recent) forget(c *Claim) {
	r.mu.Lock()
	delete(r.open, c.id)
	r.mu.Unlock()
}

// remember ends what begin began: the ID is kept, or may be.
func (r *recent) remember(c *Claim, how kind, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, c.id)
	if _, known := r.ended[c.id]; !known {
		if len(r.ring) < cap(r.ring) {
			r.ring = append(r.ring, c.id)
		} else {
			delete(r.ended, r.ring[r.next])
			r.ring[r.next] = c.id
			r.next = (r.next + 1) % len(r.ring)
		}
	}
	r.ended[c.id] = ending{at: now, how: how}
}

// leftWithin reports whether a claim of c's ID was left, its outcome unknown, no longer than lease ago. Only a Redis
// that can be asked knows that without this.
func (r *recent) leftWithin(c *Claim, lease time.Duration, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.ended[c.id]
	return ok && e.how == leaveIt && now.Sub(e.at) < lease
}

func (r *recent) unsettled() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.open)
}
