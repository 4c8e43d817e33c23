package dedupe

import (
	"sync"
	"time"
)

// leases are the unsettled won claims, oldest grant first: every lease is equally long, so whatever is granted or
// renewed goes to the end, and who is due stands in front. A claim whose renewal is under way is not listed.
type leases struct {
	mu          sync.Mutex
	first, last *Claim
}

// add lists c unless it has been settled meanwhile.
func (l *leases) add(c *Claim) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.listed || c.settled.Load() {
		return
	}
	c.listed = true
	c.prev, c.next = l.last, nil
	if l.last == nil {
		l.first = c
	} else {
		l.last.next = c
	}
	l.last = c
}

func (l *leases) remove(c *Claim) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unlink(c)
}

func (l *leases) unlink(c *Claim) {
	if !c.listed {
		return
	}
	if c.prev == nil {
		l.first = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		l.last = c.prev
	} else {
		c.next.prev = c.prev
	}
	c.prev, c.next, c.listed = nil, nil, false
}

// due unlists and returns a claim older than age, nil if there is none.
func (l *leases) due(now time.Time, age time.Duration) *Claim {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.first
	if c == nil || c.age(now) < age {
		return nil
	}
	l.unlink(c)
	return c
}

// renewer asks for new leases for all claims past half of theirs.
func (d *Deduper) renewer() {
	defer d.done.Done()
	tick := time.NewTicker(max(d.opt.Lease/8, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-d.stop:
			return
		case now := <-tick.C:
			for c := d.leases.due(now, d.opt.Lease/2); c != nil; c = d.leases.due(now, d.opt.Lease/2) {
				c.renew.kind = renewLease
				d.laneOf(c.key).renew(&c.renew)
			}
		}
	}
}

// renewed judges a renewal's reply.
func (d *Deduper) renewed(c *command) {
	if c.num == 1 {
		d.metrics.renewals.Inc()
		c.claim.grant(c.sent)
		d.leases.add(c.claim)
		return
	}
	if !c.claim.settled.Load() {
		c.claim.lost.Store(true)
		d.metrics.leaseLost.Inc()
	}
}
