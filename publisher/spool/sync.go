package spool

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Sync returns when everything that was appended before is on disk. Callers share the work: what is appended after the call
// isn't waited for.
func (l *Log) Sync() error { return l.syncAfter(l.begun.Load()) }

// syncAfter syncs, unless that has been done by a sync that was begun later than so many others. Without this each of those
// who wait would sync once more what others go on appending, one after the other.
func (l *Log) syncAfter(others uint64) error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	if l.succeeded > others {
		return nil
	}
	number := l.begun.Add(1)
	err := l.sync()
	if err == nil {
		l.succeeded = number
	}
	return err
}

// sync is Sync; syncing is held. What stands in a file that has failed is written anew first: whatever the kernel still
// gives back of it, it isn't on disk.
func (l *Log) sync() (failed error) {
	broken := l.dirty(true)
	if len(broken) > 0 && time.Since(l.failedAt) < l.opts.retry {
		return errFailed
	}
	for _, seg := range broken {
		failed = errors.Join(failed, l.relocate(seg))
	}
	for _, seg := range l.dirty(false) {
		failed = errors.Join(failed, l.syncOne(seg))
	}
	if failed != nil {
		l.failedAt = time.Now()
		return failed
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, seg := range l.segments {
		seg.copied = false
	}
	return nil
}

// dirty lists the files that were written to since their last sync: those that have failed, or the others.
func (l *Log) dirty(failed bool) (segments []*segment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, seg := range l.segments {
		if seg.dirty && seg.failed == failed {
			segments = append(segments, seg)
		}
	}
	return segments
}

func (l *Log) syncOne(seg *segment) error {
	l.mu.Lock()
	out, ended, size, before := seg.out, seg != l.active, seg.size, seg.synced
	if out == nil { // deleted meanwhile, or it has failed, which the next sync deals with
		unsure := seg.dirty
		l.mu.Unlock()
		if unsure {
			return errFailed
		}
		return nil
	}
	seg.dirty = false
	l.mu.Unlock()
	began := time.Now()
	err := out.Sync()
	if err == nil && before == 0 { // its name in the folder isn't on disk either
		err = syncDir(l.dir)
	}
	l.metrics.sync(time.Since(began))
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		if seg.live == 0 && !slices.Contains(l.segments, seg) {
			return nil // deleted while it was synced
		}
		seg.dirty = true
		l.metrics.fault(faultSync)
		l.giveUp(seg)
		return fmt.Errorf("spool: syncing: %w", err)
	}
	seg.synced = size
	if ended && seg.out != nil && !seg.dirty {
		err = seg.out.Close()
		seg.out = nil
	}
	return err
}
