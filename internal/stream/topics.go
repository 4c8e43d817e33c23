package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	kafka "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"go.uber.org/zap"
)

var (
	errNoLeader = errors.New("no broker leads the partition")
	errNoBytes  = errors.New("the broker gives no records although there are some")
)

// look has brokers asked which topics there are.
func (r *run) look(ctx context.Context, now time.Time) {
	r.asking, r.asked, r.stale = true, now, false
	r.do(ctx, func(ctx context.Context) answer {
		found, err := r.cluster.topicsOf(ctx, r.names())
		return func(at time.Time) error {
			r.asking = false
			if err != nil {
				if refused(err) {
					return err
				}
				if r.topicsBad.IsZero() {
					r.topicsBad = at
				}
				r.topicsWhy = err
				return nil
			}
			r.topicsBad, r.topicsWhy = time.Time{}, nil
			r.apply(found, place{kind: placeFirst}, false, now)
			return nil
		}
	})
}

// apply takes over topics and leaders as they were asked for at the time asked. Partitions that are new begin at the
// place.
func (r *run) apply(found []metadata.ResponseTopic, at place, backlog bool, asked time.Time) {
	for i := range found {
		if !r.chosen(&found[i]) {
			continue
		}
		for _, tp := range found[i].Partitions {
			id := partitionID{found[i].Name, tp.PartitionIndex}
			if !r.ours(id) {
				continue
			}
			p := r.partitions[id]
			if p != nil && p.gone && !p.busy && asked.After(p.goneAt) {
				r.log.Info("topic was deleted and created again: reading it from its beginning", zap.String("topic", id.topic))
				r.forget(p)
				p = nil
			}
			if p == nil {
				p = &partition{id: id, leader: -1, servedBy: -1, place: at, backlog: backlog}
				r.assign(p)
				r.partitions[id] = p
				r.order = append(r.order, p)
			}
			r.lead(p, tp.LeaderID, r.now())
		}
	}
	r.miss(found, asked)
	slices.SortFunc(r.order, func(a, b *partition) int {
		return cmp.Or(cmp.Compare(a.id.topic, b.id.topic), cmp.Compare(a.id.partition, b.id.partition))
	})
}

func (r *run) ours(id partitionID) bool {
	_, is := r.opts.Assigned[Partition{id.topic, int(id.partition)}]
	return is || r.opts.Assigned == nil
}

// assign gives a partition the place of Options.Assigned, the first time that it is seen. Should it be created anew
// later, all of it is new.
func (r *run) assign(p *partition) {
	id := Partition{p.id.topic, int(p.id.partition)}
	next, first := r.assigned[id]
	switch {
	case !first:
		return
	case next == Oldest:
		p.place = place{kind: placeFirst}
	case next >= 0:
		p.place, p.pos = place{kind: placeAgain}, next
	case r.opts.FromStart:
		p.place = place{kind: placeFirst}
	case !r.opts.Since.IsZero():
		p.place = place{kind: placeSince}
	default:
		p.place = place{kind: placeNow}
	}
	delete(r.assigned, id)
}

// miss gives up partitions that have been failing for a while and that brokers no longer list.
func (r *run) miss(found []metadata.ResponseTopic, asked time.Time) {
	listed := make(map[string]bool, len(found))
	for i := range found {
		listed[found[i].Name] = true
	}
	for _, p := range r.order {
		if !listed[p.id.topic] && !p.gone && !p.badSince.IsZero() && asked.Sub(p.badSince) > requestTimeout {
			p.gone, p.goneAt = true, asked
		}
	}
}

func (r *run) forget(p *partition) {
	delete(r.partitions, p.id)
	r.order = slices.DeleteFunc(r.order, func(x *partition) bool { return x == p })
}

func (r *run) lead(p *partition, id int32, now time.Time) {
	if id < 0 {
		p.leader = -1
		p.bad(now, errNoLeader)
		r.stale = true
		return
	}
	p.leader = id
	if r.leaders[id] == nil {
		r.leaders[id] = &leader{}
	}
}

// locate has a broker asked where to begin in partitions.
func (r *run) locate(ctx context.Context, id int32, ps []*partition) {
	ids := make([]partitionID, len(ps))
	for i, p := range ps {
		ids[i] = p.id
	}
	r.occupy(id, ps)
	r.do(ctx, func(ctx context.Context) answer {
		found, err := r.bounds(ctx, id, ids)
		return func(now time.Time) error {
			r.release(id, ps)
			if err != nil {
				return r.fail(id, ps, err, now)
			}
			for _, p := range ps {
				if err := r.placed(p, id, found[p.id], now); err != nil {
					return err
				}
			}
			return nil
		}
	})
}

// bounds asks a broker for all that placing may need.
func (r *run) bounds(ctx context.Context, id int32, ids []partitionID) (map[partitionID]bounds, error) {
	found := make(map[partitionID]bounds, len(ids))
	for _, of := range ids {
		found[of] = bounds{since: -1, until: -1}
	}
	ask := func(when int64, put func(*bounds, offset)) error {
		offsets, err := r.cluster.offsets(ctx, id, ids, when)
		if err != nil {
			return err
		}
		for _, of := range ids {
			b := found[of]
			o, answered := offsets[of]
			switch {
			case b.err != nil:
			case !answered:
				b.err = kafka.UnknownTopicOrPartition
			default:
				b.err = o.err
				put(&b, o)
			}
			found[of] = b
		}
		return nil
	}
	if err := ask(earliest, func(b *bounds, o offset) { b.first = o.at }); err != nil {
		return nil, err
	}
	switch {
	case !r.opts.Since.IsZero():
		since := r.opts.Since.Add(time.Millisecond - 1).UnixMilli() // the first whole millisecond that isn't before
		if err := ask(since, func(b *bounds, o offset) { b.since, b.firstTime = o.at, o.time }); err != nil {
			return nil, err
		}
	case r.further != nil: // it tells the time of the first record
		if err := ask(0, func(b *bounds, o offset) { b.firstTime = o.time }); err != nil {
			return nil, err
		}
	}
	if !r.opts.Until.IsZero() {
		if err := ask(r.opts.Until.UnixMilli()+1, func(b *bounds, o offset) { b.until = o.at }); err != nil {
			return nil, err
		}
	}
	err := ask(latest, func(b *bounds, o offset) { // the last, so that it is at or beyond the others
		b.end = o.at
		if !r.opts.Since.IsZero() && b.since < 0 {
			b.since = o.at
		}
	})
	return found, err
}

// placed applies a broker's word on where to begin.
func (r *run) placed(p *partition, id int32, b bounds, now time.Time) error {
	if b.err != nil {
		return r.partitionFailed(p, id, b.err, now)
	}
	p.good()
	p.servedBy = id
	if p.place.kind == placeAgain {
		r.placedAgain(p, b)
	} else {
		if !p.backlog && p.place.kind != placeSince {
			b.since = -1 // a new topic: all of it is news
		}
		p.settle(b)
	}
	if r.opts.Placed != nil {
		r.opts.Placed(Partition{p.id.topic, int(p.id.partition)}, p.pos)
	}
	if r.further != nil && p.backlog && p.place.kind != placeAgain {
		return r.further.place(p, b)
	}
	return nil
}

// placedAgain goes on with a partition whose next record the broker doesn't have.
func (r *run) placedAgain(p *partition, b bounds) {
	sought := p.pos
	p.resolved = true
	if b.first <= sought && sought <= b.end {
		return // it was only for a moment, as after a change of leaders
	}
	p.pos = b.first
	text := "records were deleted before they could be read: going on with the oldest"
	if sought > b.end {
		text = "topic ends before what was read: going on with its oldest record"
		p.end = min(p.end, b.end)
	}
	if p.backlog {
		p.first, p.pos = min(b.first, p.end), min(p.pos, p.end)
	}
	if !r.expiredSaid[p.id] {
		r.expiredSaid[p.id] = true
		r.log.Warn(text, zap.String("topic", p.id.topic), zap.Int32("partition", p.id.partition),
			zap.Int64("offset", sought), zap.Int64("oldest", b.first), zap.Int64("missed", max(b.first-sought, 0)))
	}
}

// tellReady calls Options.Ready when every partition has its place.
func (r *run) tellReady(now time.Time) {
	if r.ready || slices.ContainsFunc(r.order, func(p *partition) bool { return !p.resolved && !p.overdue(now, r.opts.Patience) }) {
		return
	}
	r.ready = true
	if r.opts.Ready == nil {
		return
	}
	topics := make(map[string]bool)
	for _, p := range r.order {
		topics[p.id.topic] = true
	}
	r.opts.Ready(len(topics))
}

// partitionFailed applies a broker's error about one partition, or what is wrong with its bytes.
func (r *run) partitionFailed(p *partition, id int32, err error, now time.Time) error {
	switch {
	case refused(err):
		return fmt.Errorf("reading topic %s: %w", p.id.topic, err)
	case errors.Is(err, kafka.OffsetOutOfRange):
		p.resolved, p.place = false, place{kind: placeAgain}
		return nil
	case errors.Is(err, kafka.UnknownTopicOrPartition) && p.servedBy == id:
		// A broker that has served the partition would say that it isn't the leader, had it moved: the topic is deleted.
		p.gone, p.goneAt = true, now
		r.stale = true
		return nil
	}
	p.bad(now, fmt.Errorf("%s: %w", p.id, err))
	r.leaders[id].retry, r.stale = now.Add(retryGap), true
	return nil
}

// judge ends a run whose failures last too long, and tells a follower's log of them once.
func (r *run) judge(now time.Time) error {
	since, why := r.topicsBad, r.topicsWhy
	for _, p := range r.order {
		if !p.badSince.IsZero() && !p.gone && (since.IsZero() || p.badSince.Before(since)) {
			since, why = p.badSince, p.badCause
		}
	}
	switch {
	case since.IsZero():
		if r.troubled {
			r.troubled = false
			r.log.Info("reading goes on")
		}
	case now.Sub(since) < r.opts.Patience:
	case !r.opts.Follow || !r.ready && !slices.ContainsFunc(r.order, func(p *partition) bool { return p.resolved }):
		return r.cluster.unreachable(why)
	case !r.troubled:
		r.troubled = true
		r.log.Warn("can't read everything; trying on", zap.Error(why))
	}
	return nil
}
