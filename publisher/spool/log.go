package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Options configure a [Log].
type Options struct {
	// Dir is the folder of all instances on this disk. It is made if need be.
	Dir string
	// Instance names the subfolder that this process locks.
	Instance string
	// MaxBytes bounds the log on disk (default 1 GiB).
	MaxBytes int64
	// SegmentBytes is the size from which on a new file is begun (default 8 MiB).
	SegmentBytes int64
	// Keep is how long an entry stays in the log at least, settled or not (default 10 s): see [Entry].
	Keep time.Duration
	// Alone leaves the folders of other instances alone. Otherwise those that nobody has locked are taken over.
	Alone    bool
	Log      *zap.Logger
	Registry prometheus.Registerer // nil: nothing is counted for others

	// open stands in for os.OpenFile, for tests of disks that fail.
	open func(name string) (file, error)
	// retry is how long a disk that has failed is left alone (default 1 s).
	retry time.Duration
}

// file is what the log needs of an *os.File.
type file interface {
	Write([]byte) (int, error)
	Sync() error
	Close() error
}

func (o Options) withDefaults() (Options, error) {
	switch {
	case o.Dir == "":
		return o, errors.New("spool: Options.Dir is empty")
	case o.Instance == "" || o.Instance != filepath.Base(o.Instance) || o.Instance == "." || o.Instance == "..":
		return o, fmt.Errorf("spool: Options.Instance %q can't be a folder's name", o.Instance)
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 1 << 30
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = 8 << 20
	}
	if o.Keep == 0 {
		o.Keep = 10 * time.Second
	}
	if o.retry == 0 {
		o.retry = time.Second
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.open == nil {
		o.open = func(name string) (file, error) {
			return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		}
	}
	return o, nil
}

// Errors of a [Log].
var (
	// ErrLocked: another process has the folder.
	ErrLocked = errors.New("spool: another process has this folder")
	// ErrFull: MaxBytes are used up by entries that aren't settled.
	ErrFull = errors.New("spool: full")
	// ErrDamaged: an entry can't be read, and never will be.
	ErrDamaged = errors.New("spool: damaged")
	// ErrFormat: the folder was written by a version that this one doesn't know.
	ErrFormat = errors.New("spool: unknown format")
	errClosed = errors.New("spool: closed")
	errFailed = errors.New("spool: the disk has just failed")
)

// Entry is what [Open] finds.
type Entry struct {
	Number  uint64
	Time    time.Time // of Append
	Payload []byte
	// Settled entries are told as well as long as they are there, at least those of the last [Options.Keep] before the
	// process ended: what follows from a settling may not have been finished by then.
	Settled bool

	supersedes []uint64
}

// Log is an open log. Its methods are safe for concurrent use.
type Log struct {
	opts    Options
	dir     string
	lock    *os.File
	metrics *metrics
	past    map[uint64]place // of moved, but settled; nil once Entries has told of them

	mu       sync.Mutex // guards what follows
	closed   bool
	segments []*segment       // oldest first
	active   *segment         // the last of them; nil: the next entry begins a new one
	next     uint64           // number of the next entry
	moved    map[uint64]place // entries that were written anew; the others are in their segment's index
	live     int              // entries that aren't settled
	settled  []uint64         // not written down yet
	buffer   []byte           // for what is appended
	bytes    int64
	stuck    time.Time  // until when no file is deleted: one couldn't be
	reading  []*segment // that are open for reading, for the longest time first

	begun     atomic.Uint64 // syncs
	syncing   sync.Mutex    // held by the one who syncs or writes entries anew; guards failedAt and succeeded
	succeeded uint64        // number of the last sync that did, counted from 1
	// failedAt is when that failed last, after which nothing is written anew for a moment.
	failedAt time.Time
}

// maxBuffer is the largest buffer that is kept for the next entries.
const maxBuffer = 8 << 20

// Addition is an entry to append.
type Addition struct {
	Payload []byte
	// Rest follows the payload: what has two parts in memory needn't be joined for the log.
	Rest []byte
	// Supersedes are entries that are settled with this one's being there, neither earlier nor later.
	Supersedes []uint64
}

// Append writes entries and returns the number of the first; the others follow it. A process that is killed in the midst
// may leave the first of them.
func (l *Log) Append(at time.Time, additions ...Addition) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweep(at)
	size := int64(0)
	for _, a := range additions {
		size += int64(frameHead + entryHead + len(a.Payload) + len(a.Rest))
	}
	if l.bytes+size > l.opts.MaxBytes {
		l.metrics.fault(faultFull)
		return 0, ErrFull
	}
	if err := l.begin(size); err != nil {
		return 0, err
	}
	seg := l.active
	b, marks := l.marks(slices.Grow(l.buffer[:0], int(size)+(len(additions)+len(l.settled))*(frameHead+16)))
	if l.buffer = b; cap(b) > maxBuffer {
		l.buffer = nil
	}
	first := l.next
	offsets := make([]uint32, len(additions))
	for i, a := range additions {
		offsets[i] = uint32(seg.size + int64(len(b)))
		b = appendEntry(b, first+uint64(i), at, a)
	}
	if err := l.write(b); err != nil {
		return 0, err
	}
	l.settled = l.settled[marks:]
	l.next += uint64(len(additions))
	for i, a := range additions {
		l.put(seg, first+uint64(i), offsets[i])
		for _, n := range a.Supersedes {
			l.gone(n)
		}
	}
	seg.newest = at
	if seg.size >= l.opts.SegmentBytes {
		l.active = nil // it stays open until it has been synced
	}
	return first, nil
}

// Settle forgets entries. That is written down with the next entry, by [Log.Flush], or by Close.
func (l *Log) Settle(numbers ...uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(numbers)
}

// Drop is Settle for entries that mustn't come back: when it returns nil, they won't, unless the power fails.
func (l *Log) Drop(numbers ...uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(numbers)
	return l.flush()
}

// Flush writes down what has been settled, and makes room: files that nothing needs any more are deleted, and where few
// entries hold a file, they are written anew. It is called every now and then.
func (l *Log) Flush(now time.Time) error {
	l.mu.Lock()
	err := l.flush()
	l.sweep(now)
	l.mu.Unlock()
	return errors.Join(err, l.compact(now))
}

func (l *Log) forget(numbers []uint64) {
	for _, n := range numbers {
		if l.gone(n) {
			l.settled = append(l.settled, n)
		}
	}
}

// marks appends the frame of what has been settled, and says how many that are.
func (l *Log) marks(b []byte) ([]byte, int) {
	if len(l.settled) == 0 {
		return b, 0
	}
	return appendSettled(b, l.settled), len(l.settled)
}

func (l *Log) flush() error {
	b, marks := l.marks(nil)
	if marks == 0 {
		return nil
	}
	if err := l.begin(int64(len(b))); err != nil {
		return err
	}
	if err := l.write(b); err != nil {
		return err
	}
	l.settled = l.settled[marks:]
	return nil
}

// begin makes sure that there is a file to write so much to.
func (l *Log) begin(size int64) error {
	switch {
	case l.closed:
		return errClosed
	case l.active != nil && l.active.size+size <= maxOffset:
		return nil
	case size > maxOffset:
		return ErrFull
	}
	l.active = nil
	if last := len(l.segments) - 1; last >= 0 {
		l.next = max(l.next, l.segments[last].first+1) // each file has a name of its own, greater than the one before
	}
	path := filepath.Join(l.dir, fmt.Sprintf("%020d%s", l.next, suffix))
	out, err := l.opts.open(path)
	if err != nil {
		l.metrics.fault(faultWrite)
		if errors.Is(err, os.ErrExist) {
			l.next++ // one that couldn't be deleted
		}
		return fmt.Errorf("spool: beginning a file: %w", err)
	}
	l.active = &segment{path: path, out: out, first: l.next}
	l.segments = append(l.segments, l.active)
	return l.write(header())
}

// write writes to the active file, or gives that up for good.
func (l *Log) write(b []byte) error {
	seg := l.active
	n, err := seg.out.Write(b)
	seg.size += int64(n)
	l.bytes += int64(n)
	if err == nil {
		seg.dirty = true
		return nil
	}
	l.metrics.fault(faultWrite)
	l.giveUp(seg)
	// Whoever wrote is told that nothing of it is there: whole frames at its beginning mustn't come back.
	if terr := os.Truncate(seg.path, seg.size-int64(n)); terr != nil {
		l.opts.Log.Error("spool: what was written before a failure can't be taken back and will be there at the next start", zap.Error(terr))
	} else {
		seg.size -= int64(n)
		l.bytes -= int64(n)
	}
	if seg.size <= int64(headerSize) { // or each try on a full disk would leave a file
		l.remove(seg)
		l.segments = l.segments[:len(l.segments)-1]
	}
	return fmt.Errorf("spool: writing: %w", err)
}

// giveUp is invariant 3. Reading stops at what is torn, so that nothing may follow it.
func (l *Log) giveUp(seg *segment) {
	seg.failed = true
	if seg.out != nil {
		_ = seg.out.Close() // it has failed already
		seg.out = nil
	}
	if l.active == seg {
		l.active = nil
	}
}

// Size is the log's size on disk in bytes, and how many entries aren't settled.
func (l *Log) Size() (bytes int64, unsettled int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bytes, l.live
}

// Close writes down what has been settled and lets go of the folder. What isn't settled is there at the next Open.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	err := l.flush()
	l.closed = true
	for _, seg := range l.segments {
		l.stopReading(seg)
		if seg.out != nil {
			err = errors.Join(err, seg.out.Close())
			seg.out = nil
		}
	}
	return errors.Join(err, l.lock.Close())
}
