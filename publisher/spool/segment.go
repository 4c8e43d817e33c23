package spool

import (
	"math"
	"os"
	"sort"
	"time"
)

// segment is one file of the log. Its fields are guarded by Log.mu.
type segment struct {
	path string
	base uint64   // to be added to the numbers in it: it was another instance's
	out  file     // nil if it isn't written to any more
	in   *os.File // nil if it isn't read at the moment
	size int64
	// first is the number of its first entry, or at least greater than all numbers in older files. Entries that were
	// written anew have smaller ones; they are in Log.moved.
	first uint64
	// index has a place for each number from first on: 4 bytes an event are what a backlog of millions takes in memory.
	index   []slot
	entries int       // that were ever in it
	live    int       // entries that aren't settled
	newest  time.Time // of its entries
	dirty   bool      // written since the last sync
	synced  int64     // of size
	copied  bool      // there are copies of its entries that may not be on disk yet
	failed  bool      // see giveUp
}

// slot is where an entry's frame begins, and whether it is settled, or stands elsewhere by now. 0: no such entry.
type slot uint32

const (
	ended     slot = 1 << 31
	maxOffset      = math.MaxInt32
)

// place is where an entry stands.
type place struct {
	in     *segment
	offset uint32
}

// put enters an entry that stands at offset of a file.
func (l *Log) put(seg *segment, n uint64, offset uint32) {
	seg.live++
	seg.entries++
	l.live++
	if n < seg.first {
		l.moved[n] = place{seg, offset}
		return
	}
	for seg.first+uint64(len(seg.index)) < n { // numbers that a damaged file has taken along
		seg.index = append(seg.index, 0)
	}
	seg.index = append(seg.index, slot(offset))
}

// slot returns the entry's, nil if no file has it under its regular number.
func (l *Log) slot(n uint64) (*segment, *slot) {
	i := sort.Search(len(l.segments), func(i int) bool { return l.segments[i].first > n }) - 1
	if i < 0 || n-l.segments[i].first >= uint64(len(l.segments[i].index)) {
		return nil, nil
	}
	seg := l.segments[i]
	s := &seg.index[n-seg.first]
	if *s == 0 {
		return nil, nil
	}
	return seg, s
}

// find is where an entry stands that isn't settled.
func (l *Log) find(n uint64) (p place, ok bool) {
	if p, ok = l.moved[n]; ok {
		return p, true
	}
	seg, s := l.slot(n)
	if s == nil || *s&ended != 0 {
		return place{}, false
	}
	return place{seg, uint32(*s)}, true
}

// gone takes an entry out of the index. It reports whether it was there.
func (l *Log) gone(n uint64) bool {
	p, ok := l.find(n)
	if !ok {
		return false
	}
	p.in.live--
	l.live--
	if _, anew := l.moved[n]; anew {
		delete(l.moved, n)
		if l.past != nil {
			l.past[n] = p
		}
	} else {
		_, s := l.slot(n)
		*s |= ended
	}
	return true
}

// unsettled lists the numbers of a file's entries that aren't settled and stand at an offset or after it.
func (l *Log) unsettled(seg *segment, from int64) (numbers []uint64) {
	for n, p := range l.moved {
		if p.in == seg && int64(p.offset) >= from {
			numbers = append(numbers, n)
		}
	}
	for i, s := range seg.index {
		if s != 0 && s&ended == 0 && int64(s) >= from {
			numbers = append(numbers, seg.first+uint64(i))
		}
	}
	return numbers
}
