package spool

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.uber.org/zap"
)

// sweep deletes the oldest files as long as nothing needs them. In this order, since a file's settled marks are about
// entries of older files or its own.
func (l *Log) sweep(now time.Time) {
	for len(l.segments) > 1 {
		seg := l.segments[0]
		if seg == l.active || seg.live > 0 || seg.copied || now.Sub(seg.newest) < l.opts.Keep && !seg.newest.IsZero() {
			return
		}
		l.remove(seg)
		l.segments = l.segments[1:]
	}
}

// remove deletes a file.
func (l *Log) remove(seg *segment) {
	l.stopReading(seg)
	if seg.out != nil {
		_ = seg.out.Close() // nothing in it matters any more
		seg.out = nil
	}
	seg.dirty = false
	if err := os.Remove(seg.path); err != nil {
		l.opts.Log.Warn("spool: a file that is no longer needed can't be deleted", zap.Error(err))
	}
	if dir := filepath.Dir(seg.path); dir != l.dir {
		_ = os.Remove(dir) // if it was the last in there
	}
	l.bytes -= seg.size
}

// compact writes the entries of the oldest file anew, and deletes it, as long as more than half of the room is taken and
// a quarter is gained by that. A topic that takes nothing for days would otherwise keep all files since.
func (l *Log) compact(now time.Time) error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	for {
		l.mu.Lock()
		seg := l.worth(now)
		l.mu.Unlock()
		if seg == nil {
			return nil
		}
		// The copies have to be on disk before the file goes.
		if err := cmp.Or(l.relocate(seg), l.sync()); err != nil {
			return err
		}
		l.mu.Lock()
		held := seg.live > 0
		l.sweep(now)
		l.mu.Unlock()
		if held {
			return nil // by what can't be read
		}
	}
}

// worth returns the oldest file if it is to be written anew, or its copies are to be synced.
func (l *Log) worth(now time.Time) *segment {
	if len(l.segments) < 2 {
		return nil
	}
	seg := l.segments[0]
	switch {
	case seg == l.active, now.Sub(seg.newest) < l.opts.Keep:
		return nil
	case seg.copied:
		return seg
	case seg.live == 0, seg.live*4 > seg.entries*3, l.bytes <= l.opts.MaxBytes/2, l.bytes+seg.size > l.opts.MaxBytes:
		return nil
	}
	return seg
}

// relocate writes the entries of a file anew, of one that has failed those that weren't synced before. What can't be read
// stays where it is, for whoever asks for it. syncing is held, so that nobody else does it at the same time; mu isn't, so
// that appending goes on.
func (l *Log) relocate(seg *segment) error {
	l.mu.Lock()
	from := int64(0)
	if seg.failed {
		from = seg.synced
	}
	numbers := l.unsettled(seg, from)
	l.mu.Unlock()
	slices.Sort(numbers)
	for _, n := range numbers {
		e, err := l.read(n)
		if errors.Is(err, ErrDamaged) {
			continue
		}
		if err == nil {
			err = l.rewrite(seg, n, e)
		}
		if err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if seg.failed {
		seg.dirty = false
	}
	return nil
}

// rewrite appends an entry of a file again, if it still stands there. Whoever is killed before that file goes has it
// twice, under one number: the older place counts then.
func (l *Log) rewrite(seg *segment, n uint64, e Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p, ok := l.find(n); !ok || p.in != seg {
		return nil
	}
	frame := appendEntry(nil, n, e.Time, Addition{Payload: e.Payload, Supersedes: e.supersedes})
	if l.bytes+int64(len(frame)) > l.opts.MaxBytes {
		return ErrFull
	}
	if err := l.begin(int64(len(frame))); err != nil {
		return err
	}
	in, offset := l.active, l.active.size
	if err := l.write(frame); err != nil {
		return err
	}
	l.gone(n)
	seg.copied = true
	l.put(in, n, uint32(offset))
	if e.Time.After(in.newest) {
		in.newest = e.Time
	}
	if in.size >= l.opts.SegmentBytes {
		l.active = nil
	}
	return nil
}
