package stream

import (
	"context"
	"maps"
	"sort"
	"sync"
)

// Ticket stands for a record that a sink has taken over. The zero Ticket stands for none.
type Ticket struct {
	of     *handed
	offset int64
}

// Kept gives the ticket back: the record needn't be read again. It is safe for concurrent use.
func (t Ticket) Kept() {
	if t.of != nil {
		t.of.kept(t.offset)
	}
}

// tickets are those of all partitions.
type tickets struct {
	mu sync.Mutex // guards of and before
	of map[Partition]*handed
	// before is where partitions that haven't given a record yet were left.
	before Positions

	last *handed // of the partition that gave the last record; it belongs to the reading goroutine
	at   Partition
}

func (t *tickets) begin(before Positions) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.of, t.before = make(map[Partition]*handed), maps.Clone(before)
}

func (t *tickets) partition(r *Record) *handed {
	if t.last != nil && t.at.ID == r.Partition && t.at.Topic == r.Topic && r.Offset >= t.last.through {
		return t.last
	}
	t.at = Partition{r.Topic, r.Partition}
	t.mu.Lock()
	defer t.mu.Unlock()
	// A partition that begins anew was created again, or its log was cut: what is out belongs to offsets of the past.
	if h := t.of[t.at]; h == nil || r.Offset < h.through {
		t.of[t.at] = &handed{}
		delete(t.before, t.at)
	}
	t.last = t.of[t.at]
	return t.last
}

// room waits until fewer than so many records of the partition have to be kept before the position moves on.
func (t *tickets) room(ctx context.Context, r *Record, most int) error {
	if most <= 0 {
		return nil
	}
	h := t.partition(r)
	for {
		freed := h.room(most)
		if freed == nil {
			return nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// issue notes that a record is handed to the sink.
func (t *tickets) issue(r *Record) Ticket {
	h := t.partition(r)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.out = append(h.out, ticketed{offset: r.Offset})
	h.through = r.Offset + 1
	return Ticket{h, r.Offset}
}

// pass notes that a record was left out.
func (t *tickets) pass(r *Record) {
	h := t.partition(r)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.through = r.Offset + 1
}

// next is what has to be read next in each partition so that nothing is left out.
func (t *tickets) next() Positions {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := make(Positions, len(t.of)+len(t.before))
	maps.Copy(next, t.before)
	for p, h := range t.of {
		next[p] = h.next()
	}
	return next
}

// handed are the tickets of one partition.
type handed struct {
	mu      sync.Mutex
	out     []ticketed    // not given back, and what was given back behind the first of them; by offset
	through int64         // the offset after the last record that was read; only the reading goroutine writes it
	freed   chan struct{} // closed when out gets shorter, where somebody waits for that
}

type ticketed struct {
	offset int64
	kept   bool
}

func (h *handed) kept(offset int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := 0
	if len(h.out) > 0 && h.out[0].offset != offset {
		i = sort.Search(len(h.out), func(i int) bool { return h.out[i].offset >= offset })
	}
	if i >= len(h.out) || h.out[i].offset != offset {
		return // given back twice
	}
	h.out[i].kept = true
	for len(h.out) > 0 && h.out[0].kept {
		h.out = h.out[1:]
		if h.freed != nil {
			close(h.freed)
			h.freed = nil
		}
	}
}

// room is nil if fewer than so many tickets are held, else it is closed when there are fewer.
func (h *handed) room(most int) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.out) < most {
		return nil
	}
	if h.freed == nil {
		h.freed = make(chan struct{})
	}
	return h.freed
}

func (h *handed) next() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.out) > 0 {
		return h.out[0].offset
	}
	return h.through
}
