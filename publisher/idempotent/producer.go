package idempotent

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	kafka "github.com/segmentio/kafka-go"
	"go.uber.org/zap"
)

// Options configure a [Producer].
type Options struct {
	Transport kafka.RoundTripper // required; owned by the caller
	Addr      net.Addr           // required: the brokers to start from, as from kafka.TCP
	// Opened counts the connections that Transport has opened, each before it is used: whoever answers over a new one may
	// be of another cluster. With nil, another cluster is noticed by the next metadata request only.
	Opened   func() int64
	Log      *zap.Logger // default: none
	Registry prometheus.Registerer

	// RequestTimeout is how long a broker may wait for the replicas of a
	// batch (default 1 s). An attempt ends half a second later.
	RequestTimeout time.Duration
	// MaxRequestBytes bounds the record batches of one request (default
	// 16 MiB; a single larger record still gets a request of its own). Brokers
	// hang up without a word on more than their socket.request.max.bytes.
	MaxRequestBytes int
	// MaxBatchBytes bounds one partition's batch until SetMaxBatchBytes tells
	// the topic's own limit (default 1,000,000).
	MaxBatchBytes int
	// MetadataInterval is the age at which leaders and partition counts are
	// asked for again (default 3 s; at once after an error that tells of a move).
	MetadataInterval time.Duration
	// TopicGoneAfter is how long brokers must deny that a topic exists before
	// its unresolved records are given up, as its log is gone (default 10 s).
	TopicGoneAfter time.Duration

	// Journal keeps what is sent and not settled beyond the process; nil: nothing does.
	Journal Journal
	// Sourced says that whoever hands records over goes by the journal when it gives them again to a later process. So
	// nothing is sent that the journal doesn't take (it is offered again, later and later), and a batch that is taken
	// apart leaves the journal whole.
	Sourced bool

	// firstSequence is where partitions start, for tests of the wrap.
	firstSequence int32
}

func (o Options) withDefaults() (Options, error) {
	if o.Transport == nil {
		return o, errors.New("idempotent: Options.Transport is missing")
	}
	if o.Addr == nil {
		return o, errors.New("idempotent: Options.Addr is missing")
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	o.RequestTimeout = orDefault(o.RequestTimeout, time.Second)
	o.MaxRequestBytes = orDefault(o.MaxRequestBytes, 16<<20)
	o.MaxBatchBytes = orDefault(o.MaxBatchBytes, 1_000_000)
	o.MetadataInterval = orDefault(o.MetadataInterval, 3*time.Second)
	o.TopicGoneAfter = orDefault(o.TopicGoneAfter, 10*time.Second)
	return o, nil
}

func orDefault[T int | time.Duration](v, d T) T {
	if v == 0 {
		return d
	}
	return v
}

// Producer produces records to the topics it has been told to watch. Its
// methods are safe for concurrent use.
type Producer struct {
	opts    Options
	log     *zap.Logger
	metrics *metrics
	stop    context.CancelFunc
	wg      sync.WaitGroup
	refresh chan struct{}                 // has room for one
	view    atomic.Pointer[view]          // what Topic and State read
	buffers sync.Pool                     // of *[]byte, for encoded batches
	waiting atomic.Int64                  // records not yet settled
	relied  atomic.Int64                  // those of them that are in the journal for whoever handed them over
	ctx     context.Context               //nolint:containedctx // ends the lanes; they are started on demand
	changed atomic.Pointer[chan struct{}] // closed at the next change of view

	mu         sync.Mutex
	closed     bool
	cluster    string // its id, "" until a broker has told it
	producerID int64  // -1 until a broker has given one
	watched    map[string]bool
	missing    map[string]time.Time // since when brokers have denied the topic
	batchBytes map[string]int
	partitions map[partitionKey]*partition
	restored   map[partitionKey][]*batch // for partitions that aren't known yet
	lanes      map[laneKey]*lane
}

type laneKey struct {
	broker int32
	solo   bool
}

// New returns a running producer. It connects in the background: Kafka need
// not be there yet.
func New(opts Options) (*Producer, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &Producer{
		opts: opts, log: opts.Log, stop: stop, ctx: ctx,
		refresh:    make(chan struct{}, 1),
		producerID: -1,
		watched:    map[string]bool{},
		missing:    map[string]time.Time{},
		batchBytes: map[string]int{},
		partitions: map[partitionKey]*partition{},
		restored:   map[partitionKey][]*batch{},
		lanes:      map[laneKey]*lane{},
	}
	p.metrics = newMetrics(opts.Registry, p.waiting.Load)
	p.view.Store(&view{err: errNotConnected, since: time.Now()})
	p.changed.Store(new(make(chan struct{})))
	p.wg.Go(func() { p.control(ctx) })
	return p, nil
}

// Produce hands one record to the partition and waits for its outcome: nil
// when every in-sync replica has it, otherwise one of this package's errors.
// When ctx ends first, the record is withdrawn (ErrNotSent) if it hasn't been
// stamped yet; else Produce returns ErrUnresolved and the producer goes on.
// Whatever the return value, it or r.Late tells the outcome, never both.
//
// A record that was settled with an error may be produced again.
func (p *Producer) Produce(ctx context.Context, topic string, partition int32, r *Record) error {
	r.phase.Store(waiting)
	pt, err := p.enqueue(topic, partition, r)
	if err != nil {
		return err
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return p.leave(pt, r)
	}
}

// ProduceLater hands a record over that is in the journal already, as r.Entry or r.Instead, and doesn't wait: r.Late is
// told the outcome, as after ErrWritten. Records are sent in the order of the calls.
func (p *Producer) ProduceLater(topic string, partition int32, r *Record) error {
	r.phase.Store(left)
	r.kept = true
	_, err := p.enqueue(topic, partition, r)
	if err == nil {
		p.relied.Add(1)
	}
	return err
}

// Hand hands a record over and doesn't wait: r.Late, which mustn't be nil, is told the outcome whatever it is, unless Hand
// returns an error. Records of a partition are sent in the order of the calls. How much is under way is the caller's to
// bound.
func (p *Producer) Hand(topic string, partition int32, r *Record) error {
	r.phase.Store(left)
	_, err := p.enqueue(topic, partition, r)
	return err
}

func (p *Producer) enqueue(topic string, id int32, r *Record) (*partition, error) {
	r.size = maxRecordSize(r)
	if r.phase.Load() == waiting {
		r.done = make(chan struct{})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	pt := p.partitions[partitionKey{topic, id}]
	if pt == nil {
		return nil, ErrNoPartition
	}
	if p.closed {
		return nil, ErrNotSent
	}
	p.waiting.Add(1)
	r.queued = true
	if r.Entry != 0 {
		r.entry = &entry{number: r.Entry, left: 1}
	}
	for former := r.Instead; former != nil; former = former.Instead {
		if former.entry != nil {
			r.entry, former.entry, r.kept = former.entry, nil, true
		}
	}
	pt.queue = append(pt.queue, r)
	p.schedule(pt)
	return pt, nil
}

// leave ends a caller's wait before the record is settled.
func (p *Producer) leave(pt *partition, r *Record) error {
	p.mu.Lock()
	if down := r.down; down != nil && !r.queued && r.Keep && !r.written {
		// In this moment it is written down; its caller is better off when it knows that. A write takes microseconds.
		p.mu.Unlock()
		select {
		case <-down:
		case <-r.done:
		case <-time.After(writeDownMost):
		}
		p.mu.Lock()
	}
	withdrawn := r.queued
	if withdrawn {
		r.queued, r.abandoned = false, true
		pt.abandon()
	} else {
		// Set before the phase: deliver reads it after.
		kept := r.kept || r.Keep && r.written
		r.kept = kept
		if r.phase.CompareAndSwap(waiting, left) {
			r.abandoned = !kept
			p.mu.Unlock()
			if kept {
				p.relied.Add(1)
				return ErrWritten
			}
			return ErrUnresolved
		}
		r.kept = false
	}
	p.mu.Unlock()
	if withdrawn {
		p.waiting.Add(-1)
		return ErrNotSent
	}
	<-r.done
	return r.err
}

// SetMaxBatchBytes tells the topic's max.message.bytes, which Kafka holds
// against whole batches.
func (p *Producer) SetMaxBatchBytes(topic string, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.batchBytes[topic] = n
	for k, pt := range p.partitions {
		if k.topic == topic {
			pt.maxBytes = min(n, p.opts.MaxBatchBytes)
		}
	}
}

// Close takes no more records, goes on until all are settled or ctx ends, and
// stops. It doesn't wait for those that are in the journal for whoever handed
// them over. What is left then is settled as ErrNotSent or ErrUnresolved; the
// number of the latter that aren't in the journal is returned.
func (p *Producer) Close(ctx context.Context) (unresolved int) {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for p.waiting.Load() > p.relied.Load() && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	p.stop()
	p.wg.Wait()

	var out settlements
	p.mu.Lock()
	for _, pt := range p.partitions {
		if pt.batch != nil {
			out = append(out, unresolve(pt.batch, &unresolved)...)
			pt.batch = nil
		}
		for _, b := range pt.restored {
			out = append(out, unresolve(b, &unresolved)...)
		}
		pt.restored = nil
		out = append(out, pt.clearQueue(ErrNotSent)...)
	}
	for _, batches := range p.restored {
		for _, b := range batches {
			out = append(out, unresolve(b, &unresolved)...)
		}
	}
	clear(p.restored)
	p.mu.Unlock()
	p.deliver(out)
	return unresolved
}

// unresolve settles a batch whose outcome won't be known in this life.
func unresolve(b *batch, count *int) (out settlements) {
	for _, r := range b.records {
		out = append(out, settlement{r, ErrUnresolved})
		if !r.kept {
			*count++
		}
	}
	return out
}

// deliver tells records their outcome. Producer.mu must not be held.
func (p *Producer) deliver(out settlements) {
	for _, s := range out {
		r := s.record
		r.err = s.err
		if r.phase.CompareAndSwap(waiting, settled) {
			close(r.done)
		} else {
			if r.kept {
				p.relied.Add(-1)
			}
			if r.Late != nil {
				r.Late(s.err)
			}
		}
		p.waiting.Add(-1)
	}
}

// identify gives the partition a producer id if it has none. It reports false
// while the producer has none to give. Producer.mu is held.
func (p *Producer) identify(pt *partition) bool {
	if pt.producerID >= 0 && pt.cluster == p.cluster {
		return true
	}
	if pt.cluster != p.cluster {
		pt.cluster, pt.exhausted = p.cluster, -1
	}
	if p.producerID == pt.exhausted {
		p.producerID = -1
	}
	if p.producerID < 0 {
		p.Refresh()
		return false
	}
	pt.producerID, pt.epoch, pt.sequence = p.producerID, 0, p.opts.firstSequence
	return true
}

// schedule puts a partition with work on its leader's list. Producer.mu is held.
func (p *Producer) schedule(pt *partition) {
	if pt.lane != nil || pt.leader < 0 || !pt.hasWork() {
		return
	}
	k := laneKey{pt.leader, pt.sick}
	l := p.lanes[k]
	if l == nil {
		if p.ctx.Err() != nil {
			return
		}
		l = &lane{p: p, broker: k.broker, solo: k.solo, wake: make(chan struct{}, 1)}
		p.lanes[k] = l
		p.wg.Go(func() { l.run(p.ctx) })
	}
	pt.lane = l
	l.work = append(l.work, pt)
	l.poke()
}

// reschedule follows an attempt. Producer.mu is held.
func (p *Producer) reschedule(pt *partition) {
	pt.busy, pt.lane = false, nil
	p.schedule(pt)
}

// setLeader moves a partition's work to its new leader. Producer.mu is held.
func (p *Producer) setLeader(pt *partition, leader int32) {
	if pt.leader == leader {
		return
	}
	pt.leader = leader
	pt.notBefore = time.Time{}
	if pt.busy {
		return // reschedule will see it
	}
	if l := pt.lane; l != nil {
		l.work = slices.DeleteFunc(l.work, func(x *partition) bool { return x == pt })
		pt.lane = nil
	}
	p.schedule(pt)
}
