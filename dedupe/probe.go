package dedupe

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

const (
	probePauseMin = 50 * time.Millisecond
	probePauseMax = time.Second
	// probeTTL is how long a probe's key lives if the probe couldn't delete it.
	probeTTL = 5 * time.Second
)

// probePause is how long to wait before the next probe, give or take a quarter: instances that lost Redis together
// shouldn't come back together.
func probePause(last time.Duration) time.Duration {
	p := min(max(2*last, probePauseMin), probePauseMax)
	return p - p/4 + rand.N(p/2)
}

// watch probes an absent master once and closes the breaker if it does all that is needed of it.
func (l *lane) watch() {
	err := l.probe(l.d.life)
	if err == nil {
		l.regain()
		l.d.checkPolicyOnce(l.d.life)
		return
	}
	why := classify(err)
	l.d.metrics.errors[why].Inc()
	before := l.away()
	l.lose(why, err)
	if why.permanent() && before != nil && before.why != why {
		l.d.log.Error("redis refuses, and waiting won't cure it", zap.String("kind", string(why)), zap.Error(err))
	}
}

// probe sends each command that claims need, on a key that no ID has. A Redis that answers PING may still be loading,
// a replica, out of memory or unable to persist; only a write tells.
func (l *lane) probe(ctx context.Context) error {
	l.probing.Lock()
	defer l.probing.Unlock()
	ctx, cancel := context.WithTimeout(ctx, l.d.opt.Timeout)
	defer cancel()
	if l.probeKey == "" {
		key, err := l.d.findProbeKey(ctx, l.name)
		if err != nil {
			return fmt.Errorf("reading the cluster's slots: %w", err)
		}
		l.probeKey = key
	}
	token := l.d.tokens.next()
	set := redis.NewStatusCmd(ctx, "set", l.probeKey, token, "px", probeTTL.Milliseconds(), "nx")
	get := redis.NewStringCmd(ctx, "get", l.probeKey)
	renew := redis.NewIntCmd(ctx, "eval", scriptRenew, 1, l.probeKey, token, probeTTL.Milliseconds())
	letGo := redis.NewIntCmd(ctx, "eval", scriptLetGo, 1, l.probeKey, token)
	cmds := []redis.Cmder{set, get, renew, letGo}
	run(ctx, l.d.client, cmds)
	for _, cmd := range cmds {
		// nil is what another instance's probe in the same moment leaves for ours.
		if err := cmd.Err(); err != nil && !errors.Is(err, redis.Nil) {
			return fmt.Errorf("probing with %s: %w", strings.ToUpper(cmd.Name()), err)
		}
	}
	return nil
}

// findProbeKey returns a key that the named master serves. Any key will do where there is but one.
func (d *Deduper) findProbeKey(ctx context.Context, master string) (string, error) {
	key := d.opt.Prefix + markProbe
	if d.cluster == nil {
		return key, nil
	}
	for n := range 4096 {
		k := key + strconv.Itoa(n)
		node, err := d.cluster.MasterForKey(ctx, k)
		if err != nil {
			return "", err
		}
		d.topology.Store(true)
		if master == "" || node.Options().Addr == master {
			return k, nil
		}
	}
	return key, nil // it serves next to no slots, or has lost them: then any master's answer stands for it
}

// Check asks Redis once. It returns an error that wraps [ErrMisconfigured] if Redis answers and refuses in a way that
// waiting doesn't cure, so that a service can refuse to start. A Redis that can't be reached, or is busy loading or
// failing over, is no error: the deduper is in the away state then, and goes on probing. Costs at most
// [Options.Timeout] for each master.
func (d *Deduper) Check(ctx context.Context) error {
	for _, l := range d.allLanes(ctx) {
		err := l.probe(ctx)
		switch why := classify(err); {
		case why == faultNone:
			l.regain()
		case ctx.Err() != nil:
			return fmt.Errorf("checking redis: %w", ctx.Err())
		case why.permanent():
			return fmt.Errorf("%w: %w", ErrMisconfigured, err)
		default:
			d.metrics.errors[why].Inc()
			l.lose(why, err)
			l.signal()
		}
	}
	if d.downLanes.Load() == 0 {
		d.checkPolicyOnce(ctx)
	}
	return nil
}

// checkPolicyOnce warns if Redis may evict what was kept. Managed Redis often forbids CONFIG; INFO says it too.
func (d *Deduper) checkPolicyOnce(ctx context.Context) {
	if !d.policyAsked.CompareAndSwap(false, true) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, d.opt.Timeout)
	defer cancel()
	policy := ""
	if m, err := d.client.ConfigGet(ctx, "maxmemory-policy").Result(); err == nil {
		policy = m["maxmemory-policy"]
	} else if info, err := d.client.Info(ctx, "memory").Result(); err == nil {
		for line := range strings.Lines(info) {
			if v, ok := strings.CutPrefix(line, "maxmemory_policy:"); ok {
				policy = strings.TrimSpace(v)
			}
		}
	}
	switch policy {
	case "noeviction":
	case "":
		d.log.Debug("redis doesn't tell its maxmemory-policy")
	default:
		d.log.Warn("redis may evict keys, and then kept deliveries are published again: set maxmemory-policy noeviction",
			zap.String("maxmemory_policy", policy))
	}
}
