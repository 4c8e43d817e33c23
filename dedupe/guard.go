package dedupe

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

const (
	// repairLease is how long others keep from repairing after an instance that died.
	repairLease = 30 * time.Second
	// Pauses after a repair that failed.
	repairPauseMin = 2 * time.Second
	repairPauseMax = 30 * time.Second
	// clusterGuards is how many generations there are in a cluster. They are spread over the slots, so that each master
	// has some, and stay what they are when slots or masters move.
	clusterGuards = 128
)

// Guard is what a [Deduper] needs to have repaired what Redis has lost.
type Guard struct {
	// Repair marks again, with a [Marker], every delivery whose record was written since the loss. It is called by one
	// goroutine at a time, mostly in one instance at a time, and again after an error or an interruption (ctx ends). Then
	// the marks that it wrote in the last [RepairDoubt] may be lost too.
	Repair func(ctx context.Context, loss Loss) error
	// Settled reports whether all that was confirmed is in a topic, where a repair finds it. nil: it always is.
	Settled func() bool
}

// RepairDoubt is for how long before an interruption marks may be lost that a repair has written.
const RepairDoubt = guardMargin

// Loss is a stretch of time whose marks may be missing in Redis.
type Loss struct {
	// ID is another one for every loss, and the same when a repair is tried again.
	ID    string
	Since time.Time
}

// Guard begins to watch whether Redis loses data, and ends with [Deduper.Close]. Call it once.
//
// Redis itself holds what is to be repaired, so that no crash forgets it, and a lease, so that one instance does it.
// Looking takes a round trip every two seconds, apart from those of claims.
func (d *Deduper) Guard(with Guard) {
	ctx, cancel := context.WithCancel(d.life)
	d.stopGuard = cancel
	g := &guard{
		d: d, with: with, lease: d.tokens.next(), leaseKey: Key(d.opt.Prefix, markRepair),
		seen: make(map[string]generation), open: make(map[string]generation), ended: make(chan error, 1),
	}
	if d.cluster == nil {
		g.keys = []string{Key(d.opt.Prefix, markGeneration)}
	}
	for n := 0; d.cluster != nil && n < clusterGuards; n++ {
		g.keys = append(g.keys, Key(d.opt.Prefix, markGeneration+"{"+strconv.Itoa(n)+"}"))
	}
	d.done.Add(1)
	go g.run(ctx)
}

// guard is owned by its goroutine.
type guard struct {
	d        *Deduper
	with     Guard
	keys     []string
	leaseKey string
	lease    string // this instance's token

	seen map[string]generation // as of the last look
	open map[string]generation // those of seen that are to be repaired
	owed int64                 // when a loss was found while something confirmed wasn't in a topic yet, in milliseconds; else 0
	gone int64                 // connections, as of the last look
	met  bool                  // there was a look
	// doubtful: a connection had gone, and not all generations could be judged since.
	doubtful, warned bool

	cancel    context.CancelFunc // of the repair under way; nil if there is none
	ended     chan error         // its result
	repairing map[string]generation
	began     time.Time
	pause     time.Duration // after the last failure
	notBefore time.Time
}

func (g *guard) run(ctx context.Context) {
	defer g.d.done.Done()
	tick := time.NewTicker(guardEvery)
	defer tick.Stop()
	for {
		g.look(ctx)
		g.mend(ctx)
		select {
		case <-ctx.Done():
			if g.cancel != nil {
				g.d.log.Debug("repair of redis: left to others", zap.Error(<-g.ended))
				g.cancel()
				g.letGo(ctx)
			}
			return
		case <-tick.C:
		case <-g.d.guardWake: // Redis is back
		case err := <-g.ended:
			g.conclude(ctx, err)
		}
	}
}

// do sends commands in one pipeline and gives them time that no request would have.
func (g *guard) do(ctx context.Context, cmds []redis.Cmder) {
	ctx, cancel := context.WithTimeout(ctx, 4*g.d.opt.Timeout)
	defer cancel()
	run(ctx, g.d.client, cmds)
}

// look reads the generations, notes in Redis what is to be repaired, and gives them new stamps.
func (g *guard) look(ctx context.Context) {
	gets, asked := make([]*redis.StringCmd, len(g.keys)), make([]redis.Cmder, len(g.keys))
	for i, key := range g.keys {
		gets[i] = redis.NewStringCmd(ctx, "get", key)
		asked[i] = gets[i]
	}
	g.do(ctx, asked)
	gone := g.d.gone() // also by this: what was read is younger than what is in their place
	shaken := gone > g.gone || !g.met
	g.gone, g.met = gone, true
	now := time.Now()
	doubt, settled := int64(0), g.with.Settled == nil || g.with.Settled()
	doubtful := shaken || g.doubtful
	if doubtful {
		doubt = now.UnixMilli()
	}
	if shaken && g.cancel != nil {
		g.cancel() // to begin again a little earlier
	}
	if g.owed != 0 && settled && len(g.open) == 0 {
		doubt = g.owed
	}
	var sets []redis.Cmder
	var steps []step
	failed := false
	for i, key := range g.keys {
		value, err := gets[i].Result()
		var is *generation
		read, known := parseGeneration(value)
		switch {
		case err == nil && known:
			is = &read
		case err == nil || classify(err) == faultWrongType:
			g.warnForeign(key)
			continue
		case !isNil(err):
			failed = true // the breaker tells why
			continue
		}
		was := g.seen[key]
		next, found := judge(was, is, now, doubt, g.d.opt.TTL)
		s := step{key: key, next: next, found: found, other: is != nil && was.id != "" && was.id != is.id}
		if is == nil {
			sets = append(sets, redis.NewStatusCmd(ctx, "set", key, next.String(), "px", g.d.ttlMillis, "nx"))
		} else {
			sets = append(sets, redis.NewIntCmd(ctx, "eval", scriptGeneration, 1, key, is.head(), next.head(), next.digits(), g.d.ttlMillis))
		}
		steps = append(steps, s)
	}
	if len(sets) > 0 {
		g.do(ctx, sets)
		failed = g.take(steps, sets, settled, now) || failed
	}
	g.doubtful = doubtful && failed
	if !failed && g.owed == doubt {
		g.owed = 0
	}
	g.d.unrepaired.Store(len(g.open) > 0)
}

// step is what is to become of one generation.
type step struct {
	key   string
	next  generation
	found finding
	other bool // another instance has found a loss
}

// take takes over what has been written. It reports whether anything wasn't, to be tried again with the next look.
func (g *guard) take(steps []step, sets []redis.Cmder, settled bool, now time.Time) (failed bool) {
	found, since := findNothing, int64(0)
	for i, s := range steps {
		if err := sets[i].Err(); err != nil {
			failed = failed || !isNil(err)
			continue // another instance has been faster: it is seen with the next look
		}
		if n, is := sets[i].(*redis.IntCmd); is && n.Val() == 0 {
			failed = true
			continue
		}
		g.seen[s.key] = s.next
		delete(g.open, s.key)
		if s.next.since != 0 {
			g.open[s.key] = s.next
		}
		if (s.found != findNothing || s.other) && !settled && g.owed == 0 {
			g.owed = now.UnixMilli()
		}
		if s.found != findNothing && (since == 0 || s.next.since < since) {
			found, since = s.found, s.next.since
		}
	}
	if (found == findLost || found == findOlder) && g.cancel != nil {
		g.cancel() // what it has marked may be lost too
	}
	g.report(found, since)
	return failed
}

// report tells what was found.
func (g *guard) report(found finding, since int64) {
	if found == findNothing {
		return
	}
	g.d.metrics.losses[found].Inc()
	say, text := g.d.log.Info, ""
	switch found {
	case findEmpty:
		text = "redis is new, or has lost its data: marking again what the topics hold"
	case findLost, findOlder:
		say, text = g.d.log.Warn, "redis has lost data: marking again what the topics hold"
	case findGap:
		text = "nobody has looked after redis for a while: marking again what the topics hold since then"
	case findDoubt:
		text = "redis is met anew and may have lost its last moments: marking again what the topics hold of them"
	}
	say(text, zap.String("found", string(found)), zap.Time("since", time.UnixMilli(since).UTC()))
}

func (g *guard) warnForeign(key string) {
	if !g.warned {
		g.warned = true
		g.d.log.Warn("a key of sluice holds what this version doesn't know: a loss of data in redis isn't noticed by it", zap.String("key", key))
	}
}

// mend starts a repair if there is one to do and nobody else does it, or keeps the lease of the one under way.
func (g *guard) mend(ctx context.Context) {
	if g.cancel != nil {
		if !g.holds(ctx) {
			g.cancel() // another instance has taken it over
		}
		return
	}
	if len(g.open) == 0 || time.Now().Before(g.notBefore) || ctx.Err() != nil || !g.holds(ctx) {
		return
	}
	if g.look(ctx); len(g.open) == 0 { // who had the lease has done it meanwhile
		g.letGo(ctx)
		return
	}
	g.repairing = make(map[string]generation, len(g.open))
	var ids []string
	since := int64(0)
	for key, open := range g.open {
		g.repairing[key] = open
		ids = append(ids, open.id)
		if since == 0 || open.since < since {
			since = open.since
		}
	}
	slices.Sort(ids)
	loss := Loss{ID: strings.Join(ids, " "), Since: time.UnixMilli(since).UTC()}
	g.began = time.Now()
	working, cancel := context.WithCancel(ctx)
	g.cancel = cancel
	g.d.done.Go(func() {
		err := g.with.Repair(working, loss)
		if working.Err() != nil {
			err = working.Err()
		}
		g.ended <- err
	})
}

// holds gets or renews the lease, and is false only if another instance has it, or nobody yet.
//
// It isn't cut short by the guard's end: Redis would take a lease for this instance after letGo has given it back.
func (g *guard) holds(ctx context.Context) bool {
	ctx = context.WithoutCancel(ctx)
	millis := repairLease.Milliseconds()
	renew := redis.NewIntCmd(ctx, "eval", scriptRenew, 1, g.leaseKey, g.lease, millis)
	get := redis.NewStatusCmd(ctx, "set", g.leaseKey, g.lease, "px", millis, "nx")
	g.do(ctx, []redis.Cmder{renew, get})
	if renew.Err() == nil && renew.Val() == 1 || get.Err() == nil {
		return true
	}
	return g.cancel != nil && (renew.Err() != nil || !isNil(get.Err())) // Redis doesn't answer: it may still be ours
}

// letGo gives the lease back, also at the end.
func (g *guard) letGo(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	g.do(ctx, []redis.Cmder{redis.NewIntCmd(ctx, "eval", scriptLetGo, 1, g.leaseKey, g.lease)})
}

// conclude notes in Redis that a repair is done. A loss that was found meanwhile stays: it is another one. After a failure
// the lease is kept for as long as it lasts: this instance needn't begin at the beginning.
func (g *guard) conclude(ctx context.Context, err error) {
	g.cancel()
	g.cancel = nil
	switch {
	case errors.Is(err, context.Canceled):
		g.d.metrics.repairs[repairInterrupted].Inc()
		if ctx.Err() != nil { // a successor needn't wait for the lease's end
			g.letGo(ctx)
		}
		return
	case err != nil:
		g.pause = min(max(2*g.pause, repairPauseMin), repairPauseMax)
		g.notBefore = time.Now().Add(g.pause)
		g.d.metrics.repairs[repairFailed].Inc()
		g.d.log.Error("repair of redis failed, trying again", zap.Duration("in", g.pause), zap.Error(err))
		return
	}
	g.pause = 0
	var sets []redis.Cmder
	for key, was := range g.repairing {
		done := generation{id: was.id, stamp: time.Now().UnixMilli()}
		sets = append(sets, redis.NewIntCmd(ctx, "eval", scriptGeneration, 1, key, was.head(), done.head(), done.digits(), g.d.ttlMillis))
	}
	g.do(ctx, sets) // what isn't noted is repaired once more
	g.letGo(ctx)
	g.d.metrics.repairs[repairDone].Inc()
	g.d.log.Debug("repair of redis done", zap.Duration("took", time.Since(g.began)))
}

// isNil tells a key that isn't there from a Sentinel that knows no master.
func isNil(err error) bool {
	_, unsent := errors.AsType[notSent](err)
	return !unsent && errors.Is(err, redis.Nil)
}
