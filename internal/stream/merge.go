package stream

import (
	"container/heap"
	"context"
	"time"
)

// merge gives out the backlog, by time, as far as it is at hand. It reports whether there is more, and room to fetch ahead
// again. At the end of the backlog merging is over.
func (r *run) merge(ctx context.Context, now time.Time) (more bool, err error) {
	heads := &heads{}
	for _, p := range r.order {
		if p.starved(now, r.opts.Patience) {
			return false, nil
		}
		if len(p.buf) > 0 {
			heads.of = append(heads.of, p)
		}
	}
	heap.Init(heads)
	for len(heads.of) > 0 {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		p := heads.of[0]
		if err := r.merged(&p.buf[0]); err != nil {
			return false, err
		}
		p.buf = p.buf[1:]
		if len(p.buf) > 0 {
			heap.Fix(heads, 0)
			continue
		}
		if p.buf, p.ahead = p.ahead, nil; len(p.buf) > 0 {
			return true, nil
		}
		if p.starved(now, r.opts.Patience) {
			return false, nil
		}
		heap.Pop(heads)
	}
	return false, r.mergeEnded()
}

// merged takes the next record of the backlog.
func (r *run) merged(x *Record) error {
	if r.last == nil {
		return r.deliver(x)
	}
	if r.opts.Keep == nil || r.opts.Keep(x) {
		r.last.push(x)
	}
	return nil
}

// mergeEnded goes on with what arrives, or further back in time if Options.Last records haven't been found yet.
func (r *run) mergeEnded() error {
	if r.last != nil {
		if r.last.short() && r.placeBack() {
			return nil
		}
		if err := r.last.each(r.deliver); err != nil {
			return err
		}
		r.last = nil
	}
	r.merging = false
	for _, p := range r.order {
		p.backlog = false
	}
	return nil
}

// placeBack places every partition of the backlog further back, and reports false if all begin at their first record
// already. What was read is read again: the last records of a sparse selection are rarely asked for.
func (r *run) placeBack() bool {
	moved := false
	for _, p := range r.order {
		moved = moved || p.backlog && p.resolved && p.end-r.last.back > p.first
	}
	if !moved {
		return false
	}
	r.last.reset()
	for _, p := range r.order {
		if p.backlog && p.resolved {
			p.pos = max(p.first, p.end-r.last.back)
		}
	}
	return true
}

// heads are the partitions that have a record at hand, as container/heap wants them.
type heads struct{ of []*partition }

// Len is part of heap.Interface.
func (h *heads) Len() int { return len(h.of) }

// Less is part of heap.Interface.
func (h *heads) Less(i, j int) bool { return compare(&h.of[i].buf[0], &h.of[j].buf[0]) < 0 }

// Swap is part of heap.Interface.
func (h *heads) Swap(i, j int) { h.of[i], h.of[j] = h.of[j], h.of[i] }

// Push is part of heap.Interface; nothing is pushed.
func (h *heads) Push(any) {}

// Pop is part of heap.Interface.
func (h *heads) Pop() any {
	end := len(h.of) - 1
	p := h.of[end]
	h.of = h.of[:end]
	return p
}

// last holds the last records of a backlog.
type last struct {
	limit int
	back  int64 // how many offsets before each partition's end the search began
	ring  []Record
	next  int // in ring, once that is full: the oldest
}

func (l *last) push(x *Record) {
	if len(l.ring) < l.limit {
		l.ring = append(l.ring, x.Clone())
		return
	}
	l.ring[l.next] = x.Clone()
	l.next = (l.next + 1) % l.limit
}

func (l *last) short() bool { return len(l.ring) < l.limit }

func (l *last) reset() {
	l.ring, l.next = nil, 0
	l.back = min(8*l.back, 1<<60/8)
}

func (l *last) each(give func(*Record) error) error {
	for i := range l.ring {
		if err := give(&l.ring[(l.next+i)%len(l.ring)]); err != nil {
			return err
		}
	}
	return nil
}
