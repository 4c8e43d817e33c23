package dedupe

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

const (
	// flightCommands bounds the live commands of one flight: some milliseconds of a Redis' time.
	flightCommands = 1000
	// flightTold bounds the settlings and renewals that ride along, so that working off an outage delays nobody. Where
	// more than half of it are live commands, twice their number may: else settlings would pile up at full load.
	flightTold = 500
	// tellTries is after how many error replies that may well be for ever a settling command is given up.
	tellTries = 5
)

// lane carries the commands of one Redis master: one flight at a time, arrivals gather meanwhile. One goroutine, run,
// owns the flights and, while the master is away, the probing; so a stuck Redis holds one goroutine, and for no
// longer than a timeout.
type lane struct {
	d    *Deduper
	name string        // the master's address in a cluster, else empty
	wake chan struct{} // holds one: there is something to carry

	mu       sync.Mutex // guards these
	live     []*batch
	told     queue[*command] // confirms and releases
	renewals queue[*command]
	outage   *outage // nil while Redis answers
	stopped  bool

	probeKey string // owned by who probes, under probing
	probing  sync.Mutex

	// Owned by run, reused from flight to flight.
	flying []*command
	cmders []redis.Cmder
}

// batch is the live commands that will fly together, or have. One channel wakes all their callers.
type batch struct {
	commands []*command
	done     chan struct{}
}

// outage is a stretch in which the breaker is open.
type outage struct {
	since time.Time
	why   fault
}

// submit takes a live caller's command into the next flight; the batch's done tells when it is over. nil: the breaker
// is open, or the lane is closed.
func (l *lane) submit(c *command) *batch {
	l.mu.Lock()
	if l.outage != nil || l.stopped {
		l.mu.Unlock()
		return nil
	}
	var b *batch
	if n := len(l.live); n > 0 && len(l.live[n-1].commands) < flightCommands {
		b = l.live[n-1]
	} else {
		b = &batch{commands: make([]*command, 0, 16), done: make(chan struct{})}
		l.live = append(l.live, b)
	}
	c.state.Store(asking)
	b.commands = append(b.commands, c)
	l.mu.Unlock()
	l.signal()
	return b
}

// tell queues a confirm or release. If MaxPending wait already, the oldest is given up: what is newest is what the
// sender may still retry.
func (l *lane) tell(c *command) {
	l.mu.Lock()
	if l.stopped {
		l.mu.Unlock()
		l.d.drop(c, dropClosed)
		return
	}
	var oldest *command
	if l.told.len() >= l.d.opt.MaxPending {
		oldest = l.told.pop()
	}
	l.told.push(c)
	l.mu.Unlock()
	if oldest != nil {
		l.d.drop(oldest, dropFull)
	}
	l.signal()
}

// renew queues a renewal; there is at most one of each unsettled claim.
func (l *lane) renew(c *command) {
	l.mu.Lock()
	if !l.stopped {
		l.renewals.push(c)
	}
	l.mu.Unlock()
	l.signal()
}

func (l *lane) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run is the lane's goroutine.
func (l *lane) run() {
	defer l.d.done.Done()
	defer l.shut()
	var pause time.Duration
	var probe <-chan time.Time // set while the next probe is awaited
	for {
		if l.away() == nil {
			pause, probe = 0, nil
			select {
			case <-l.d.stop:
				return
			case <-l.wake:
			}
			for l.away() == nil && l.fly() {
			}
			continue
		}
		if probe == nil {
			pause = probePause(pause)
			probe = time.After(pause)
		}
		select {
		case <-l.d.stop:
			return
		case <-l.wake: // Check may have closed the breaker
		case <-probe:
			probe = nil
			l.watch()
		}
	}
}

// fly carries what has gathered. It returns false when there is nothing, or Redis has gone away.
func (l *lane) fly() bool {
	runtime.Gosched() // the callers of the last flight run first: what they ask next flies together
	b := l.load()
	if len(l.flying) == 0 {
		return false
	}
	l.d.metrics.commands.Observe(float64(len(l.flying)))
	l.exchange()
	why, cause := l.conclude()
	if why != faultNone {
		l.lose(why, cause)
	}
	if b != nil {
		close(b.done)
	}
	clear(l.flying)
	return why == faultNone
}

// load picks the next flight into l.flying: a batch of live callers first, then renewals, then settlings.
func (l *lane) load() *batch {
	now := time.Now()
	var expired []*command
	l.mu.Lock()
	var b *batch
	l.flying = l.flying[:0]
	if len(l.live) > 0 {
		b = l.live[0]
		l.live[0] = nil
		l.live = l.live[1:]
		if len(l.live) == 0 {
			l.live = nil
		}
		l.flying = append(l.flying, b.commands...)
	}
	room := len(l.flying) + max(flightTold, 2*len(l.flying))
	for l.renewals.len() > 0 && len(l.flying) < room {
		if c := l.renewals.pop(); !c.claim.settled.Load() {
			l.flying = append(l.flying, c)
		}
	}
	for l.told.len() > 0 && len(l.flying) < room {
		c := l.told.pop()
		if now.After(c.until) {
			expired = append(expired, c)
			continue
		}
		l.flying = append(l.flying, c)
	}
	l.mu.Unlock()
	for _, c := range expired {
		l.d.drop(c, dropExpired)
	}
	return b
}

// exchange makes one round trip, and a second one for those commands under which the connection broke.
func (l *lane) exchange() {
	ctx, cancel := context.WithTimeout(l.d.life, l.d.opt.Timeout)
	defer cancel()
	sent := time.Now()
	l.cmders = l.cmders[:0]
	for _, c := range l.flying {
		c.sent = sent
		l.cmders = append(l.cmders, c.build(ctx, l.d))
	}
	run(ctx, l.d.client, l.cmders)
	var broken []*command
	for _, c := range l.flying {
		if lostConnection(c.cmd.Err()) {
			broken = append(broken, c)
			continue
		}
		c.collect()
	}
	clear(l.cmders)
	if len(broken) == 0 {
		return
	}
	l.cmders = l.cmders[:0]
	for _, c := range broken {
		l.cmders = append(l.cmders, c.build(ctx, l.d))
		c.again = true
	}
	run(ctx, l.d.client, l.cmders)
	for _, c := range broken {
		c.collect()
	}
	clear(l.cmders)
}

// conclude gives every command of the flight to whom it belongs now, and returns the fault that says Redis is away.
func (l *lane) conclude() (why fault, cause error) {
	var retell, rerenew []*command
	for _, c := range l.flying {
		f := classify(c.err)
		if f != faultNone {
			l.d.metrics.errors[f].Inc()
			if why == faultNone && f != faultWrongType {
				why, cause = f, c.err
			}
		}
		switch c.kind {
		case askClaim, askValue:
			c.state.CompareAndSwap(asking, answered)
		case renewLease:
			if f == faultNone {
				l.d.renewed(c)
			} else {
				rerenew = append(rerenew, c)
			}
		default:
			switch {
			case f == faultNone:
				l.d.told(c)
			case f == faultRefused && c.tries+1 >= tellTries:
				l.d.drop(c, dropRefused)
			default:
				if f == faultRefused {
					c.tries++
				}
				retell = append(retell, c)
			}
		}
	}
	if len(retell)+len(rerenew) > 0 {
		l.mu.Lock()
		for _, r := range slices.Backward(retell) {
			l.told.unshift(r)
		}
		for _, r := range slices.Backward(rerenew) {
			l.renewals.unshift(r)
		}
		l.mu.Unlock()
	}
	return why, cause
}

// away returns the present outage, nil if there is none.
func (l *lane) away() *outage {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.outage
}

// lose opens the breaker: callers that wait for a flight are told at once.
func (l *lane) lose(why fault, cause error) {
	if l.d.life.Err() != nil {
		return // Close has cut it off
	}
	l.mu.Lock()
	waiting := l.live
	l.live = nil
	first := l.outage == nil
	if first {
		l.outage = &outage{since: time.Now(), why: why}
		l.d.downLanes.Add(1)
	} else {
		l.outage = &outage{since: l.outage.since, why: why}
	}
	l.mu.Unlock()
	l.refuse(waiting)
	l.d.reload()
	if first {
		l.d.log.Warn("redis is away", zap.String("kind", string(why)), zap.Stringer("when_down", l.d.opt.WhenDown), zap.Error(cause))
	}
}

// regain closes the breaker.
func (l *lane) regain() {
	l.mu.Lock()
	o := l.outage
	l.outage = nil
	waiting := l.told.len()
	l.mu.Unlock()
	if o == nil {
		return
	}
	l.d.downLanes.Add(-1)
	l.d.log.Info("redis is back", zap.Duration("after", time.Since(o.since)), zap.String("kind", string(o.why)), zap.Int("to_write", waiting))
	select {
	case l.d.guardWake <- struct{}{}:
	default:
	}
	l.signal()
}

// refuse answers commands that will not fly.
func (l *lane) refuse(waiting []*batch) {
	for _, b := range waiting {
		for _, c := range b.commands {
			c.err = errAway
			c.state.CompareAndSwap(asking, answered) // who has left has nothing to undo: it wasn't sent
		}
		close(b.done)
	}
}

// shut ends the lane: nothing is carried any more.
func (l *lane) shut() {
	l.mu.Lock()
	l.stopped = true
	waiting := l.live
	l.live = nil
	var undone []*command
	for l.told.len() > 0 {
		undone = append(undone, l.told.pop())
	}
	l.mu.Unlock()
	l.refuse(waiting)
	for _, c := range undone {
		l.d.drop(c, dropClosed)
	}
}
