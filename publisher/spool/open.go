package spool

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
)

const (
	suffix   = ".log"
	lockName = "lock"
)

// Open locks the instance's folder and reads it, and takes over those of other instances that nobody has locked. What
// [Log.Entries] then tells is on disk.
//
// It returns [ErrLocked] and [ErrFormat], and errors of the file system, which name the file. A file that ends in the
// midst of a frame, as after a kill, is read up to there; one that is corrupt as well, with an error in the log.
func Open(o Options) (*Log, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	l, err := openFolder(o, o.Instance)
	if err != nil {
		return nil, err
	}
	if err = l.adopt(); err == nil {
		err = l.Sync()
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func openFolder(o Options, instance string) (*Log, error) {
	l := &Log{opts: o, dir: filepath.Join(o.Dir, instance), next: 1, where: make(map[uint64]place)}
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	var err error
	if l.lock, err = lockFile(filepath.Join(l.dir, lockName)); err != nil {
		return nil, err
	}
	if err := l.load(); err != nil {
		return nil, errors.Join(err, l.lock.Close())
	}
	return l, nil
}

// load reads the folder's files and syncs them.
func (l *Log) load() error {
	paths, err := filepath.Glob(filepath.Join(l.dir, "*"+suffix))
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	// In the order in which they were begun: that of their numbers, and without the suffix, since "-" sorts before ".".
	slices.SortFunc(paths, func(a, b string) int {
		return strings.Compare(strings.TrimSuffix(a, suffix), strings.TrimSuffix(b, suffix))
	})
	l.past = make(map[uint64]time.Time)
	for _, path := range paths {
		seg, err := l.loadSegment(path)
		if err != nil {
			return err
		}
		l.segments = append(l.segments, seg)
		l.bytes += seg.size
	}
	return syncDir(l.dir)
}

// Entries tells what the log held when it was opened, an entry at a time: those that aren't settled, and of the others
// those of the last [Options.Keep]. They come in the order in which they stand on disk, which is that of their numbers but
// for old ones that were written anew. The payload is each's own only during the call. It is called once, before anything is
// settled or appended.
func (l *Log) Entries(each func(Entry)) error {
	newest := time.Time{}
	for _, seg := range l.segments {
		if seg.newest.After(newest) {
			newest = seg.newest
		}
	}
	for _, seg := range l.segments {
		err := scan(seg.path, func(offset int64, body []byte) error {
			e, _, err := parseEntry(body)
			if err != nil {
				return nil //nolint:nilerr // a settled frame, or one that load has passed over
			}
			at, live := l.where[e.Number]
			switch _, settled := l.past[e.Number]; {
			case live && at.in == seg && at.offset == offset:
				each(e)
			case settled && newest.Sub(e.Time) <= l.opts.Keep:
				delete(l.past, e.Number) // tell it once
				e.Settled = true
				each(e)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	l.past = nil
	return nil
}

// scan calls each for the frames of a file, up to its end or the first that isn't whole, which is the error then.
func scan(path string, each func(offset int64, body []byte) error) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	defer f.Close() //nolint:errcheck // nothing is written
	in := bufio.NewReaderSize(f, 256<<10)
	if _, err := in.Discard(headerSize); err != nil {
		return nil // killed as it was begun
	}
	for offset := int64(headerSize); ; {
		body, err := readFrame(in)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, errTorn), errors.Is(err, errCorrupt):
			return nil
		case err != nil:
			return fmt.Errorf("spool: reading %s: %w", path, err)
		}
		if err := each(offset, body); err != nil {
			return err
		}
		offset += int64(frameHead + len(body))
	}
}

// loadSegment reads one file up to its end or the first frame that isn't whole.
func (l *Log) loadSegment(path string) (*segment, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0) // to be synced it has to be writable on some systems
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	defer f.Close() //nolint:errcheck // nothing is written
	if err := f.Sync(); err != nil {
		return nil, fmt.Errorf("spool: syncing %s: %w", path, err)
	}
	seg := &segment{path: path}
	in := bufio.NewReaderSize(f, 256<<10)
	head := make([]byte, headerSize)
	switch n, err := io.ReadFull(in, head); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		seg.size = int64(n)
		return seg, nil // killed as it was begun
	case err != nil:
		return nil, fmt.Errorf("spool: reading %s: %w", path, err)
	case unwritten(head):
		l.opts.Log.Error("spool: a file was never written, as after a power cut", zap.String("file", path))
		seg.size = int64(n)
		return seg, nil
	case string(head[:len(magic)]) != magic:
		return nil, fmt.Errorf("%w: %s is no spool file", ErrFormat, path)
	}
	if v := binary.BigEndian.Uint32(head[len(magic):]); v != formatVersion {
		return nil, fmt.Errorf("%w: %s has format %d, this version writes %d; start the version that wrote it, or remove the folder and lose what it holds", ErrFormat, path, v, formatVersion)
	}
	seg.size = int64(headerSize)
	for {
		body, err := readFrame(in)
		switch {
		case errors.Is(err, io.EOF):
			return seg, nil
		case errors.Is(err, errTorn):
			l.opts.Log.Info("spool: a file ends in the midst of a write, as after a kill", zap.String("file", path), zap.Int64("at", seg.size))
			return seg, nil
		case errors.Is(err, errCorrupt):
			l.opts.Log.Error("spool: a file is damaged; what follows in it is lost", zap.String("file", path), zap.Int64("at", seg.size))
			return seg, nil
		case err != nil:
			return nil, fmt.Errorf("spool: reading %s: %w", path, err)
		}
		if err := l.take(seg, body); err != nil {
			l.opts.Log.Error("spool: a frame that isn't understood is passed over", zap.String("file", path), zap.Int64("at", seg.size), zap.Error(err))
		}
		seg.size += int64(frameHead + len(body))
	}
}

// unwritten reports whether of a header only a part was written, or nothing: the rest reads as zeros.
func unwritten(head []byte) bool {
	b := bytes.TrimRight(head, "\x00")
	return len(b) < len(head) && bytes.HasPrefix(header(), b)
}

// take takes over one frame.
func (l *Log) take(seg *segment, body []byte) error {
	settle := func(n uint64) {
		// Its entry may have gone with its file. Another one of its number would be settled by this mark at the next start.
		l.next = max(l.next, n+1)
		if at, ok := l.where[n]; ok {
			l.past[n] = at.at
			l.gone(n)
		}
	}
	switch {
	case body[0] == kindSettled:
		return parseSettled(body, settle)
	case body[0] != kindEntry:
		return errCorrupt
	}
	e, supersedes, err := parseEntry(body)
	if err != nil {
		return err
	}
	for _, n := range supersedes {
		settle(n)
	}
	n := e.Number
	if old, moved := l.where[n]; moved {
		old.in.live-- // it was written anew
	} else if _, settled := l.past[n]; settled {
		return nil // it was written anew, and settled meanwhile
	}
	l.where[n] = place{in: seg, offset: seg.size, at: e.Time}
	seg.live++
	seg.entries++
	seg.newest = e.Time
	l.next = max(l.next, n+1)
	return nil
}

// move writes the unsettled entries of a file anew, so that the file can be deleted. It reports whether it could.
func (l *Log) move(seg *segment) bool {
	var numbers []uint64
	for n, p := range l.where {
		if p.in == seg {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	copies := make(map[uint64]place)
	for _, n := range numbers {
		p := l.where[n]
		e, err := readAt(seg.path, p.offset)
		if err != nil || l.begin() != nil {
			return false
		}
		copies[n] = place{in: l.active, offset: l.active.size, at: p.at}
		if l.write(appendEntry(nil, n, p.at, Addition{Payload: e.Payload})) != nil {
			return false
		}
	}
	// The copies have to be on disk before the file goes, and count only then.
	if l.active.out.Sync() != nil || syncDir(l.dir) != nil {
		l.giveUp(l.active)
		return false
	}
	l.active.synced = l.active.size
	for n, p := range copies {
		l.where[n] = p
		p.in.live++
		p.in.entries++
		seg.live--
		if p.at.After(p.in.newest) {
			p.in.newest = p.at
		}
	}
	return true
}

// adopt takes over the entries of instances that nobody runs any more, and deletes their folders. A process that is
// killed in between has some of them twice, under two numbers.
func (l *Log) adopt() error {
	// What is taken over is on this disk already. To refuse the start over it would help nobody.
	defer func(most int64) { l.opts.MaxBytes = most }(l.opts.MaxBytes)
	l.opts.MaxBytes = math.MaxInt64
	siblings, err := os.ReadDir(l.opts.Dir)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	for _, s := range siblings {
		if !s.IsDir() || s.Name() == l.opts.Instance || strings.HasPrefix(s.Name(), ".") {
			continue
		}
		if _, err := os.Stat(filepath.Join(l.opts.Dir, s.Name(), lockName)); err != nil {
			continue // not an instance's
		}
		other, err := openFolder(l.opts, s.Name())
		if errors.Is(err, ErrLocked) {
			continue // it runs
		}
		if err == nil {
			err = l.takeOver(other)
		}
		if err != nil {
			return fmt.Errorf("spool: taking over %s: %w", s.Name(), err)
		}
	}
	return nil
}

func (l *Log) takeOver(other *Log) (err error) {
	defer func() { err = errors.Join(err, other.lock.Close()) }()
	var failed error
	entries := 0
	err = other.Entries(func(e Entry) {
		number, err := l.Append(e.Time, Addition{Payload: e.Payload})
		if err == nil {
			l.past[number] = e.Time // it is told by Entries though it has just been appended
			entries++
		}
		if e.Settled && err == nil {
			l.gone(number)
			l.settled = append(l.settled, number)
		}
		failed = errors.Join(failed, err)
	})
	// What was settled there mustn't come back with the folder gone.
	if err = errors.Join(err, failed, l.flush(), l.Sync()); err != nil {
		return err
	}
	l.opts.Log.Info("spool: took over what another instance has left", zap.String("folder", other.dir), zap.Int("entries", entries))
	return os.RemoveAll(other.dir)
}
