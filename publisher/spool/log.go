package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

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
	Log  *zap.Logger

	// open stands in for os.OpenFile, for tests of disks that fail.
	open func(name string) (file, error)
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
)

// Entry is what [Open] finds.
type Entry struct {
	Number  uint64
	Time    time.Time // of Append
	Payload []byte
	// Settled entries are told as well as long as they are there, at least those of the last [Options.Keep] before the
	// process ended: what follows from a settling may not have been finished by then.
	Settled bool
}

// Log is an open log. Its methods are safe for concurrent use.
type Log struct {
	opts Options
	dir  string
	lock *os.File
	past map[uint64]time.Time // settled before Open, for Entries

	mu       sync.Mutex // guards what follows
	closed   bool
	segments []*segment // oldest first
	active   *segment   // the last of them; nil: the next entry begins a new one
	next     uint64     // number of the next entry
	where    map[uint64]place
	settled  []uint64 // not written down yet
	bytes    int64

	syncing sync.Mutex // held by the one who syncs
}

// segment is one file of the log.
type segment struct {
	path    string
	out     file // nil if it isn't written to any more
	size    int64
	entries int       // that were ever in it
	live    int       // entries that aren't settled
	newest  time.Time // of its entries
	dirty   bool      // written since the last sync
	synced  int64     // of size
	failed  bool
	unsure  int // live entries beyond synced, once it has failed: they will never be certain
}

// place is where an unsettled entry stands.
type place struct {
	in     *segment
	offset int64 // of the frame
	at     time.Time
}

// Addition is an entry to append.
type Addition struct {
	Payload []byte
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
		size += int64(frameHead + entryHead + len(a.Payload))
	}
	if l.bytes+size > l.opts.MaxBytes {
		return 0, ErrFull
	}
	if err := l.begin(); err != nil {
		return 0, err
	}
	seg := l.active
	b, marks := l.marks(nil)
	first := l.next
	places := make([]place, len(additions))
	for i, a := range additions {
		places[i] = place{in: seg, offset: seg.size + int64(len(b)), at: at}
		b = appendEntry(b, first+uint64(i), at, a)
	}
	if err := l.write(b); err != nil {
		return 0, err
	}
	l.settled = l.settled[marks:]
	l.next += uint64(len(additions))
	for i, a := range additions {
		l.where[first+uint64(i)] = places[i]
		for _, n := range a.Supersedes {
			l.gone(n)
		}
	}
	seg.live += len(additions)
	seg.entries += len(additions)
	seg.newest = at
	if seg.size >= l.opts.SegmentBytes {
		l.finish()
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

// Flush writes down what has been settled, and deletes files that nothing needs any more.
func (l *Log) Flush(now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.flush()
	l.sweep(now)
	return err
}

func (l *Log) forget(numbers []uint64) {
	for _, n := range numbers {
		if l.gone(n) {
			l.settled = append(l.settled, n)
		}
	}
}

// gone takes an entry out of the index.
func (l *Log) gone(n uint64) bool {
	p, ok := l.where[n]
	if ok {
		p.in.live--
		if p.in.failed && p.offset >= p.in.synced {
			p.in.unsure--
		}
		delete(l.where, n)
	}
	return ok
}

// Read returns an unsettled entry's payload.
func (l *Log) Read(number uint64) ([]byte, error) {
	l.mu.Lock()
	p, ok := l.where[number]
	l.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("%w: there is no entry %d", ErrDamaged, number)
	}
	e, err := readAt(p.in.path, p.offset)
	if err != nil {
		// It may have been written anew, and the file deleted, in this moment.
		l.mu.Lock()
		moved, ok := l.where[number]
		l.mu.Unlock()
		if !ok || moved == p {
			return nil, err
		}
		e, err = readAt(moved.in.path, moved.offset)
	}
	return e.Payload, err
}

func readAt(path string, offset int64) (e Entry, err error) {
	f, err := os.Open(path)
	if err != nil {
		return e, fmt.Errorf("spool: %w", err)
	}
	defer f.Close() //nolint:errcheck // nothing is written
	body, err := readFrame(io.NewSectionReader(f, offset, maxFrame+frameHead))
	if errors.Is(err, errTorn) || errors.Is(err, errCorrupt) || errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err != nil {
		return e, fmt.Errorf("spool: reading %s at %d: %w", path, offset, err)
	}
	e, _, err = parseEntry(body)
	return e, err
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
	if err := l.begin(); err != nil {
		return err
	}
	if err := l.write(b); err != nil {
		return err
	}
	l.settled = l.settled[marks:]
	return nil
}

// begin makes sure that there is a file to write to.
func (l *Log) begin() error {
	if l.closed {
		return errClosed
	}
	if l.active != nil {
		return nil
	}
	seg := &segment{path: filepath.Join(l.dir, fmt.Sprintf("%020d%s", l.next, suffix))}
	for n := 1; slices.ContainsFunc(l.segments, func(s *segment) bool { return s.path == seg.path }); n++ {
		seg.path = filepath.Join(l.dir, fmt.Sprintf("%020d-%06d%s", l.next, n, suffix))
	}
	var err error
	if seg.out, err = l.opts.open(seg.path); err != nil {
		return fmt.Errorf("spool: beginning a file: %w", err)
	}
	l.segments = append(l.segments, seg)
	l.active = seg
	if err := l.write(header()); err != nil {
		return err
	}
	return nil
}

// write writes to the active file, or gives that up for good.
func (l *Log) write(b []byte) error {
	seg := l.active
	n, err := seg.out.Write(b)
	seg.size += int64(n)
	l.bytes += int64(n)
	if err != nil {
		l.giveUp(seg)
		// Whoever wrote is told that nothing of it is there: whole frames at its beginning mustn't come back.
		if terr := os.Truncate(seg.path, seg.size-int64(n)); terr != nil {
			l.opts.Log.Error("spool: what was written before a failure can't be taken back and will be there at the next start", zap.Error(terr))
		} else {
			seg.size -= int64(n)
			l.bytes -= int64(n)
		}
		return fmt.Errorf("spool: writing: %w", err) // what was synced before is as certain as it was
	}
	seg.dirty = true
	return nil
}

// giveUp is invariant 3. Reading stops at what is torn, so that nothing may follow it.
func (l *Log) giveUp(seg *segment) {
	seg.failed = true
	seg.unsure = 0
	for _, p := range l.where {
		if p.in == seg && p.offset >= seg.synced {
			seg.unsure++
		}
	}
	if seg.out != nil {
		_ = seg.out.Close() // it has failed already
		seg.out = nil
	}
	if l.active == seg {
		l.active = nil
	}
}

// finish ends the active file; the next entry begins another. It stays open until it has been synced.
func (l *Log) finish() { l.active = nil }

// sweep deletes the oldest files as long as nothing needs them. In this order, since a file's settled marks are about
// entries of older files or its own. Where an entry of the oldest file stays unsettled, and others have been waiting
// behind it for long, the entry is written anew.
func (l *Log) sweep(now time.Time) {
	for len(l.segments) > 1 {
		seg := l.segments[0]
		if seg == l.active || now.Sub(seg.newest) < l.opts.Keep && !seg.newest.IsZero() {
			return
		}
		if seg.live > 0 && (!l.worthMoving(seg) || !l.move(seg)) {
			return
		}
		if seg.out != nil {
			_ = seg.out.Close() // nothing in it matters any more
		}
		if err := os.Remove(seg.path); err != nil {
			l.opts.Log.Warn("spool: a file that is no longer needed can't be deleted", zap.Error(err))
		}
		l.bytes -= seg.size
		l.segments = l.segments[1:]
	}
}

// worthMoving reports whether few of a file's entries hold it, and room is wanted.
func (l *Log) worthMoving(seg *segment) bool {
	return l.bytes > l.opts.MaxBytes/2 && seg.live*8 <= seg.entries
}

// Sync returns when everything that was appended before is on disk. Callers share the work.
func (l *Log) Sync() error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	l.mu.Lock()
	var dirty []*segment
	for _, seg := range l.segments {
		if seg.dirty {
			dirty = append(dirty, seg)
			seg.dirty = false
		}
	}
	l.mu.Unlock()
	var failed error
	for _, seg := range dirty {
		if err := l.syncOne(seg); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

func (l *Log) syncOne(seg *segment) error {
	l.mu.Lock()
	out, bad, ended, size := seg.out, seg.failed, seg != l.active, seg.size
	l.mu.Unlock()
	if bad || out == nil {
		l.mu.Lock()
		seg.dirty = seg.unsure > 0
		l.mu.Unlock()
		if seg.dirty {
			return fmt.Errorf("spool: %s can't be synced", filepath.Base(seg.path))
		}
		return nil
	}
	err := out.Sync()
	if err == nil {
		err = syncDir(l.dir)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		seg.dirty = true
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

// Size is the log's size on disk in bytes, and how many entries aren't settled.
func (l *Log) Size() (bytes int64, unsettled int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bytes, len(l.where)
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
		if seg.out != nil {
			err = errors.Join(err, seg.out.Close())
		}
	}
	return errors.Join(err, l.lock.Close())
}
