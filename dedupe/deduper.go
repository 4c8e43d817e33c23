package dedupe

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"sluice/internal/deadline"
)

// maxLanes bounds the lanes of a cluster whose masters change addresses over the months. Further masters share one.
const maxLanes = 1024

// Deduper claims deliveries in Redis. It is safe for concurrent use.
type Deduper struct {
	opt     Options
	log     *zap.Logger
	client  redis.UniversalClient
	cluster *redis.ClusterClient // the same client, nil unless it is a cluster's
	metrics *metrics
	tokens  *tokens
	recent  *recent
	leases  leases
	epoch   time.Time // what the claims' ages are counted from

	leaseMillis, ttlMillis any // boxed once for all commands

	patience *deadline.Shared // Options.ClaimTimeout

	mainLane *lane // the only one without a cluster; in a cluster, for keys whose master isn't known
	lanesMu  sync.RWMutex
	lanes    map[string]*lane // by master address

	topology    atomic.Bool // the cluster's slots have been read once, so MasterForKey never waits
	policyAsked atomic.Bool
	downLanes   atomic.Int64
	confirms    atomic.Int64 // told and not yet written
	tellings    atomic.Int64 // these and the releases
	dropped     atomic.Int64 // confirms, over the whole life
	foreignSeen atomic.Int64

	stopGuard  context.CancelFunc // nil without a guard
	guardWake  chan struct{}      // holds one: a master is back
	dialled    atomic.Int64       // connections that there have been
	unrepaired atomic.Bool        // Redis has lost data, and the repair isn't done

	closing atomic.Bool
	drained chan struct{}   // holds one: closing, and nothing is left to tell
	stop    chan struct{}   // closed: goroutines return
	life    context.Context //nolint:containedctx // of the deduper, not of a call
	kill    context.CancelFunc
	done    sync.WaitGroup
}

// New makes a Deduper and starts its goroutines; Close ends them. Nothing is dialled yet: call [Deduper.Check].
func New(options Options) (*Deduper, error) {
	o, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	t, err := newTokens(o.Instance)
	if err != nil {
		return nil, err
	}
	d := &Deduper{
		opt: o, log: o.Log.Named("dedupe"), tokens: t,
		recent:      newRecent(o.Recent, o.MaxPending, o.TTL),
		epoch:       time.Now(),
		patience:    deadline.New(o.ClaimTimeout),
		leaseMillis: o.Lease.Milliseconds(), ttlMillis: o.TTL.Milliseconds(),
		lanes:   make(map[string]*lane),
		drained: make(chan struct{}, 1),
		stop:    make(chan struct{}),

		guardWake: make(chan struct{}, 1),
	}
	if d.client, err = newClient(o, func() { d.dialled.Add(1) }); err != nil {
		return nil, err
	}
	d.cluster, _ = d.client.(*redis.ClusterClient)
	if d.metrics, err = newMetrics(o.Registerer, d); err != nil {
		return nil, errors.Join(fmt.Errorf("dedupe: registering metrics: %w", err), d.client.Close())
	}
	d.life, d.kill = context.WithCancel(context.Background())
	d.mainLane = d.startLane("")
	d.done.Add(1)
	go d.renewer()
	return d, nil
}

// gone is how many connections there aren't any more. Behind what is in the place of one may be a Redis that knows less; a
// further one, for two callers at once, says nothing.
func (d *Deduper) gone() int64 { return d.dialled.Load() - int64(d.client.PoolStats().TotalConns) }

func (d *Deduper) startLane(name string) *lane {
	l := &lane{d: d, name: name, wake: make(chan struct{}, 1)}
	d.done.Add(1)
	go l.run()
	return l
}

// laneOf returns the lane of the master that has the key. It never waits for the network.
func (d *Deduper) laneOf(key string) *lane {
	if d.cluster == nil || !d.topology.Load() {
		return d.mainLane
	}
	node, err := d.cluster.MasterForKey(d.life, key)
	if err != nil {
		return d.mainLane
	}
	return d.laneNamed(node.Options().Addr)
}

func (d *Deduper) laneNamed(name string) *lane {
	d.lanesMu.RLock()
	l := d.lanes[name]
	d.lanesMu.RUnlock()
	if l != nil {
		return l
	}
	d.lanesMu.Lock()
	defer d.lanesMu.Unlock()
	if l = d.lanes[name]; l != nil {
		return l
	}
	if len(d.lanes) >= maxLanes || d.life.Err() != nil {
		return d.mainLane
	}
	l = d.startLane(name)
	d.lanes[name] = l
	return l
}

// allLanes returns a lane for each master there is.
func (d *Deduper) allLanes(ctx context.Context) []*lane {
	all := []*lane{d.mainLane}
	if d.cluster == nil {
		return all
	}
	ctx, cancel := context.WithTimeout(ctx, d.opt.Timeout)
	defer cancel()
	var mu sync.Mutex
	// An error means that the slots can't be read; then the main lane's probe says why.
	_ = d.cluster.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
		l := d.laneNamed(node.Options().Addr)
		mu.Lock()
		all = append(all, l)
		mu.Unlock()
		return nil
	})
	return all
}

// reload has the cluster's slots read again in the background: after a failover nothing else would for a minute.
func (d *Deduper) reload() {
	if d.cluster != nil && d.topology.Load() {
		d.cluster.ReloadState(d.life)
	}
}

// tell queues a confirm or release.
func (d *Deduper) tell(c *command) {
	d.tellings.Add(1)
	if c.kind != tellLetGo {
		d.confirms.Add(1)
	}
	d.laneOf(c.claim.key).tell(c)
}

// told ends what tell began.
func (d *Deduper) told(c *command) {
	if c.kind != tellLetGo {
		d.confirms.Add(-1)
	}
	if d.tellings.Add(-1) == 0 && d.closing.Load() {
		select {
		case d.drained <- struct{}{}:
		default:
		}
	}
}

// drop ends what tell began, unwritten. A release that isn't written only costs the sender a wait for the lease's
// end; of the confirms, the first and then every thousandth is logged.
func (d *Deduper) drop(c *command, reason string) {
	d.told(c)
	if c.kind == tellLetGo {
		return
	}
	d.metrics.dropped[reason].Inc()
	if n := d.dropped.Add(1); n%1000 == 1 {
		d.log.Error("kept deliveries could not be marked in redis: retries of them may be published again",
			zap.String("reason", reason), zap.Int64("so_far", n))
	}
}

// State is what a readiness page tells of this package.
type State struct {
	// Up: Redis, and every master of a cluster, answers and takes writes.
	Up bool
	// Since is when the oldest present outage began, and Reason its kind (dial, timeout, readonly, …); zero if Up.
	Since  time.Time
	Reason string
	// PendingConfirms are kept deliveries whose mark isn't written yet; Unsettled are claims handed out.
	PendingConfirms, Unsettled int
	// Dropped are kept deliveries that Redis will never be told of, over the whole life.
	Dropped int
	// Unrepaired: Redis has lost data, and the topics haven't been read again to their end; see [Deduper.Guard].
	Unrepaired bool
}

// State returns the present state without asking Redis.
func (d *Deduper) State() State {
	s := State{
		Up: true, PendingConfirms: int(d.confirms.Load()), Unsettled: d.recent.unsettled(), Dropped: int(d.dropped.Load()),
		Unrepaired: d.unrepaired.Load(),
	}
	d.lanesMu.RLock()
	defer d.lanesMu.RUnlock()
	look := func(l *lane) {
		if o := l.away(); o != nil && (s.Up || o.since.Before(s.Since)) {
			s.Up, s.Since, s.Reason = false, o.since, string(o.why)
		}
	}
	look(d.mainLane)
	for _, l := range d.lanes {
		look(l)
	}
	return s
}

// Close refuses new claims, writes what is still to be written as long as ctx lasts, and ends all goroutines. Settle
// the claims before: what is settled later is dropped, and unsettled leases run out by themselves. The error says how
// many kept deliveries Redis hasn't been told of.
func (d *Deduper) Close(ctx context.Context) error {
	if !d.closing.CompareAndSwap(false, true) {
		return ErrClosed
	}
	if d.stopGuard != nil {
		d.stopGuard()
	}
	before := d.dropped.Load()
	if d.tellings.Load() > 0 {
		select {
		case <-d.drained:
		case <-ctx.Done():
		}
	}
	d.lanesMu.Lock() // no lane starts from here on
	d.kill()
	d.lanesMu.Unlock()
	close(d.stop)
	d.done.Wait() // at most one timeout: a flight can't be called back
	err := d.client.Close()
	if err != nil {
		err = fmt.Errorf("closing the redis client: %w", err)
	}
	if n := d.dropped.Load() - before; n > 0 {
		err = errors.Join(fmt.Errorf("dedupe: closed before %d kept deliveries were marked in redis", n), err)
	}
	return err
}
