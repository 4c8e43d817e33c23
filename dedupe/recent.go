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
	epoch time.Time
	ttl   time.Duration
	limit int // of unsettled claims

	mu   sync.Mutex // guards all below
	open map[digest]*Claim
	// Endings are written to young. When that is full it becomes old, and the old one's are forgotten all at once: to forget
	// one with each that is added would take a third of the time of everything here, and tear holes into the map.
	young, old map[digest]ending
	generation int // endings in each
}

// ending is how a claim of an ID ended, unless nothing was written. It holds no pointer, so that the collector needn't
// look into the many that are kept.
type ending struct {
	at  time.Duration // since recent.epoch
	how kind          // tellKept, tellDead, or leaveIt
}

// newRecent remembers size endings at most, and the newest half of that for certain.
func newRecent(size, limit int, ttl time.Duration) *recent {
	generation := max(size/2, 1)
	return &recent{
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		epoch: time.Now(),
		ttl:   ttl, limit: limit,
		open:       make(map[digest]*Claim),
		young:      make(map[digest]ending, generation),
		old:        make(map[digest]ending, generation),
		generation: generation,
	}
}

// ending returns how the last claim of an ID ended, if that is remembered, and how long ago. r.mu is held.
func (r *recent) ending(id digest, now time.Time) (how kind, age time.Duration, ok bool) {
	e, ok := r.young[id]
	if !ok {
		e, ok = r.old[id]
	}
	return e.how, now.Sub(r.epoch) - e.at, ok
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
	if how, age, ok := r.ending(c.id, now); ok && age < r.ttl {
		switch how {
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
	r.young[c.id] = ending{at: now.Sub(r.epoch), how: how}
	if len(r.young) >= r.generation {
		r.young, r.old = r.old, r.young
		clear(r.young)
	}
}

// leftWithin reports whether a claim of c's ID was left, its outcome unknown, no longer than lease ago. Only a Redis
// that can be asked knows that without this.
func (r *recent) leftWithin(c *Claim, lease time.Duration, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	how, age, ok := r.ending(c.id, now)
	return ok && how == leaveIt && age < lease
}

func (r *recent) unsettled() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.open)
}
