package stream

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go/protocol/metadata"
	"go.uber.org/zap"
)

const (
	// refreshEvery is how often a follower looks for new topics.
	refreshEvery = time.Second
	// refreshGap is the least time between two looks, while something is wrong.
	refreshGap = 200 * time.Millisecond
	// retryGap is the pause before a broker that has failed is asked again.
	retryGap = 250 * time.Millisecond
	// mostAhead is the number of partitions up to which the merge has more than it needs fetched: of more, even the least
	// is much together.
	mostAhead = 128
)

// run is one [Reader.Run]. All fields belong to the goroutine that calls read; jobs ask brokers in goroutines of their
// own, at most one a broker and one for topics, and send back what they got.
type run struct {
	opts    Options
	cluster *cluster
	give    func(*Record) error
	gaveErr error
	log     *zap.Logger
	now     func() time.Time

	jobs    sync.WaitGroup
	answers chan answer

	partitions map[partitionID]*partition
	order      []*partition // the same, in a fixed order
	leaders    map[int32]*leader
	fetches    uint64

	assigned    map[Partition]int64 // those of Options.Assigned that haven't been seen yet
	behind      *atomic.Int64       // nil: not wanted
	live        []Record            // fetched beyond the backlog, and not yet given out
	merging     bool
	last        *last     // nil without Options.Last
	further     *further  // nil but in [Reader.RunFrom]
	ready       bool      // Options.Ready has been called
	dirty       bool      // records were given out since Options.Idle
	troubled    bool      // the log has been told
	asking      bool      // a job asks for topics
	asked       time.Time // when that job began
	stale       bool      // topics are to be asked for again soon
	topicsBad   time.Time // since when that fails; zero: it doesn't
	topicsWhy   error
	expiredSaid map[partitionID]bool
}

// leader is a broker that leads partitions.
type leader struct {
	busy  bool
	retry time.Time // not to be asked before
}

// answer is what a job sends: it is applied by the run's goroutine.
type answer func(now time.Time) error

func newRun(o Options, c *cluster, give func(Record) error) *run {
	r := &run{
		opts: o, cluster: c, give: func(x *Record) error { return give(*x) }, log: o.Log, now: time.Now,
		answers: make(chan answer), partitions: make(map[partitionID]*partition), leaders: make(map[int32]*leader),
		merging: o.Assigned == nil, assigned: maps.Clone(o.Assigned), expiredSaid: make(map[partitionID]bool),
	}
	if o.Last > 0 {
		r.last = &last{limit: o.Last, back: int64(o.Last)}
	}
	return r
}

// read is the whole of a run.
func (r *run) read(ctx context.Context) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	for {
		now := r.now()
		// Before the merge, which leaves out whoever has failed for too long.
		if err := r.judge(now); err != nil {
			return err
		}
		r.tellReady(now)
		r.start(ctx, now) // what can be fetched while what is at hand is merged
		more := false
		if r.merging {
			var err error
			if more, err = r.merge(ctx, now); err != nil {
				return err
			}
			if !more && !r.merging && !r.opts.Follow {
				return nil
			}
			r.start(ctx, now)
		}
		if err := r.giveLive(); err != nil {
			return err
		}
		if err := r.await(ctx, now, more); err != nil {
			return err
		}
	}
}

// giveLive gives out what was fetched beyond the backlog. The next fetch is under way meanwhile.
func (r *run) giveLive() error {
	for i := range r.live {
		if err := r.deliver(&r.live[i]); err != nil {
			return err
		}
	}
	r.live = nil
	r.tellBehind()
	return nil
}

// begin asks which topics there are.
func (r *run) begin(ctx context.Context) error {
	var found []metadata.ResponseTopic
	err := r.cluster.insist(ctx, r.opts.Patience, func(ctx context.Context) (err error) {
		found, err = r.cluster.topicsOf(ctx, r.names())
		for _, t := range found {
			if err == nil && t.ErrorCode != 0 && r.chosen(&t) {
				err = fmt.Errorf("topic %s: %w", t.Name, errNoLeader)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	at := place{kind: placeNow}
	switch {
	case r.last != nil:
		at = place{kind: placeBack, back: r.last.back}
	case r.opts.FromStart:
		at.kind = placeFirst
	case !r.opts.Since.IsZero():
		at.kind = placeSince
	}
	r.asked = r.now()
	r.apply(found, at, r.merging, r.asked)
	return nil
}

// names is what to ask for: nil is all topics.
func (r *run) names() []string {
	if r.opts.Match != nil {
		return nil
	}
	return r.opts.Topics
}

func (r *run) chosen(t *metadata.ResponseTopic) bool {
	return !t.IsInternal && (slices.Contains(r.opts.Topics, t.Name) || r.opts.Match != nil && r.opts.Match(t.Name))
}

// start starts the jobs that are due.
func (r *run) start(ctx context.Context, now time.Time) {
	if due := r.nextLook(); !r.asking && !due.IsZero() && !now.Before(due) {
		r.look(ctx, now)
	}
	for id, l := range r.leaders {
		if l.busy || now.Before(l.retry) {
			continue
		}
		if unplaced := r.ledBy(id, func(p *partition) bool { return !p.resolved && !p.gone }); len(unplaced) > 0 {
			r.locate(ctx, id, unplaced)
		} else if hungry := r.ledBy(id, func(p *partition) bool { return p.wants(r.merging, len(r.order) <= mostAhead) }); len(hungry) > 0 {
			r.fetch(ctx, id, hungry)
		}
	}
}

func (r *run) ledBy(id int32, want func(*partition) bool) (found []*partition) {
	for _, p := range r.order {
		if p.leader == id && !p.busy && want(p) {
			found = append(found, p)
		}
	}
	return found
}

// nextLook is when to ask for topics again, zero for never.
func (r *run) nextLook() time.Time {
	switch {
	case r.stale || !r.topicsBad.IsZero():
		return r.asked.Add(refreshGap)
	case r.opts.Follow:
		return r.asked.Add(refreshEvery)
	}
	return time.Time{}
}

// await waits for the next thing to do: an answer, the time of a retry, or nothing at all if there is more to merge.
func (r *run) await(ctx context.Context, now time.Time, more bool) error {
	select {
	case a := <-r.answers:
		return a(r.now())
	default:
	}
	if more {
		return nil
	}
	if r.dirty && r.opts.Idle != nil {
		r.dirty = false
		if err := r.opts.Idle(); err != nil {
			r.gaveErr = err
			return err
		}
	}
	timer := time.NewTimer(r.pause(now))
	defer timer.Stop()
	select {
	case a := <-r.answers:
		return a(r.now())
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pause is the time until something is due, at most a second.
func (r *run) pause(now time.Time) time.Duration {
	until := time.Second
	if due := r.nextLook(); !r.asking && !due.IsZero() {
		until = min(until, due.Sub(now))
	}
	for _, l := range r.leaders {
		if !l.busy && now.Before(l.retry) {
			until = min(until, l.retry.Sub(now))
		}
	}
	return max(until, 0)
}

// do runs a job in a goroutine of its own; what it returns is applied here.
func (r *run) do(ctx context.Context, job func(context.Context) answer) {
	r.jobs.Go(func() {
		a := job(ctx)
		select {
		case r.answers <- a:
		case <-ctx.Done():
		}
	})
}

// fetch has a broker asked for records.
func (r *run) fetch(ctx context.Context, id int32, hungry []*partition) {
	slices.SortStableFunc(hungry, func(a, b *partition) int { return cmp.Compare(a.served, b.served) })
	want := make([]wanted, len(hungry))
	for i, p := range hungry {
		want[i] = wanted{p.id, p.pos}
	}
	size := int32(min(2<<20, max(64<<10, r.opts.Ahead/len(r.order))))
	r.occupy(id, hungry)
	r.do(ctx, func(ctx context.Context) answer {
		res, err := r.cluster.fetch(ctx, id, want, size)
		var got []taken
		if err == nil {
			got = decode(res, want)
		}
		return func(now time.Time) error {
			r.release(id, hungry)
			if err != nil {
				return r.fail(id, hungry, err, now)
			}
			return r.take(id, got, now)
		}
	})
}

func (r *run) occupy(id int32, ps []*partition) {
	r.leaders[id].busy = true
	for _, p := range ps {
		p.busy = true
	}
}

func (r *run) release(id int32, ps []*partition) {
	r.leaders[id].busy = false
	for _, p := range ps {
		p.busy = false
	}
}

// fail notes that a broker couldn't be asked.
func (r *run) fail(id int32, ps []*partition, err error, now time.Time) error {
	if refused(err) {
		return err
	}
	r.leaders[id].retry, r.stale = now.Add(retryGap), true
	for _, p := range ps {
		p.bad(now, err)
	}
	return nil
}

// taken is what a fetch brought for one partition.
type taken struct {
	id      partitionID
	records []Record
	next    int64
	high    int64 // where the partition ends
	err     error
}

func decode(res *fetchResponse, want []wanted) []taken {
	from := make(map[partitionID]int64, len(want))
	for _, w := range want {
		from[w.id] = w.from
	}
	got := make([]taken, 0, len(res.partitions))
	for _, f := range res.partitions {
		start, ours := from[f.id]
		if !ours {
			continue
		}
		t := taken{id: f.id, err: f.err, next: start, high: f.high}
		if t.err == nil {
			b := batches{topic: f.id.topic, partition: int(f.id.partition), from: start, aborted: f.aborted}
			t.records, t.next, t.err = b.read(f.raw)
		}
		got = append(got, t)
	}
	return got
}

// take applies what a fetch brought: the backlog's is kept for the merge, the rest is given out.
func (r *run) take(id int32, got []taken, now time.Time) error {
	r.fetches++
	var live []Record
	progress := false
	for _, t := range got {
		p := r.partitions[t.id]
		if p == nil {
			continue // the topic was deleted meanwhile
		}
		if t.err != nil {
			if err := r.partitionFailed(p, id, t.err, now); err != nil {
				return err
			}
		}
		if t.next > p.pos {
			progress, p.served = true, r.fetches
		}
		if t.err == nil && (t.next > p.pos || !r.merging) {
			p.servedBy, p.high, p.answered = id, t.high, true
			p.good()
		}
		if !p.resolved {
			continue
		}
		p.pos = max(p.pos, t.next)
		if !r.merging {
			live = append(live, t.records...)
			continue
		}
		within, _ := slices.BinarySearchFunc(t.records, p.end, func(x Record, end int64) int { return cmp.Compare(x.Offset, end) })
		p.add(t.records[:within])
		p.pos = min(p.pos, p.end)
	}
	if r.merging && !progress {
		r.starving(id, got, now)
	}
	slices.SortFunc(live, func(a, b Record) int { return compare(&a, &b) })
	r.live = append(r.live, live...)
	return nil
}

// tellBehind says how much there is to give out yet.
func (r *run) tellBehind() {
	if r.behind == nil || r.merging {
		return
	}
	var n int64
	for _, p := range r.order {
		if !p.answered && !p.gone {
			return
		}
		n += max(p.high-p.pos, 0)
	}
	r.behind.Store(n)
}

// starving notes that a broker has given nothing although there is something. It may be about to: as it starts, or
// while a record waits for its replicas.
func (r *run) starving(id int32, got []taken, now time.Time) {
	r.leaders[id].retry = now.Add(retryGap)
	for _, t := range got {
		if p := r.partitions[t.id]; p != nil && t.err == nil {
			p.bad(now, fmt.Errorf("%s: %w", p.id, errNoBytes))
		}
	}
}

// deliver gives out a record that is wanted.
func (r *run) deliver(x *Record) error {
	if r.opts.Keep != nil && !r.opts.Keep(x) {
		return nil
	}
	r.dirty = true
	if err := r.give(x); err != nil {
		r.gaveErr = err
		return err
	}
	return nil
}
