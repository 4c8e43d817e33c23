package spool

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
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

// Open locks the instance's folder and reads it, and those of other instances that nobody has locked: their entries
// become this one's. Everything that it returns is on disk. Entries are in the order in which they were appended, for
// each instance.
//
// It returns [ErrLocked] and [ErrFormat], and errors of the file system, which name the file. A file that ends in the
// midst of a frame, as after a kill, is read up to there; one that is corrupt as well, with an error in the log.
func Open(o Options) (*Log, []Entry, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, nil, err
	}
	l, entries, err := openFolder(o, o.Instance)
	if err != nil {
		return nil, nil, err
	}
	adopted, err := l.adopt()
	if err == nil {
		err = l.Sync()
	}
	if err != nil {
		return nil, nil, errors.Join(err, l.Close())
	}
	return l, append(entries, adopted...), nil
}

func openFolder(o Options, instance string) (*Log, []Entry, error) {
	l := &Log{opts: o, dir: filepath.Join(o.Dir, instance), next: 1, where: make(map[uint64]place)}
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("spool: %w", err)
	}
	var err error
	if l.lock, err = lockFile(filepath.Join(l.dir, lockName)); err != nil {
		return nil, nil, err
	}
	entries, err := l.load()
	if err != nil {
		return nil, nil, errors.Join(err, l.lock.Close())
	}
	return l, entries, nil
}

// load reads the folder's files and syncs them.
func (l *Log) load() ([]Entry, error) {
	paths, err := filepath.Glob(filepath.Join(l.dir, "*"+suffix))
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	slices.Sort(paths)
	found := make(map[uint64]Entry)
	for _, path := range paths {
		seg, err := l.loadSegment(path, found)
		if err != nil {
			return nil, err
		}
		l.segments = append(l.segments, seg)
		l.bytes += seg.size
	}
	if err := syncDir(l.dir); err != nil {
		return nil, err
	}
	entries := make([]Entry, 0, len(found))
	newest := time.Time{}
	for _, e := range found {
		entries = append(entries, e)
		if e.Time.After(newest) {
			newest = e.Time
		}
	}
	entries = slices.DeleteFunc(entries, func(e Entry) bool { return e.Settled && newest.Sub(e.Time) > l.opts.Keep })
	slices.SortFunc(entries, func(a, b Entry) int {
		if a.Number < b.Number {
			return -1
		}
		return 1
	})
	return entries, nil
}

// loadSegment reads one file up to its end or the first frame that isn't whole.
func (l *Log) loadSegment(path string, found map[uint64]Entry) (*segment, error) {
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
	header := make([]byte, headerSize)
	switch n, err := io.ReadFull(in, header); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		seg.size = int64(n)
		return seg, nil // killed as it was begun
	case err != nil:
		return nil, fmt.Errorf("spool: reading %s: %w", path, err)
	case string(header[:len(magic)]) != magic:
		return nil, fmt.Errorf("%w: %s is no spool file", ErrFormat, path)
	}
	if v := binary.BigEndian.Uint32(header[len(magic):]); v != formatVersion {
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
		if err := l.take(seg, body, found); err != nil {
			l.opts.Log.Error("spool: a frame that isn't understood is passed over", zap.String("file", path), zap.Int64("at", seg.size), zap.Error(err))
		}
		seg.size += int64(frameHead + len(body))
	}
}

// take takes over one frame.
func (l *Log) take(seg *segment, body []byte, found map[uint64]Entry) error {
	switch {
	case body[0] == kindSettled:
		return parseSettled(body, func(n uint64) {
			if e, ok := found[n]; ok && !e.Settled {
				e.Settled = true
				found[n] = e
				l.where[n].in.live--
				delete(l.where, n)
			}
		})
	case body[0] == kindEntry && len(body) >= entryHead:
		n := binary.BigEndian.Uint64(body[1:])
		at := time.Unix(0, int64(binary.BigEndian.Uint64(body[9:])))
		if old, moved := l.where[n]; moved {
			old.in.live-- // it was written anew
		} else if _, known := found[n]; known {
			return nil // moved, and settled meanwhile
		}
		found[n] = Entry{Number: n, Time: at, Payload: body[entryHead:]}
		l.where[n] = place{in: seg, offset: seg.size, at: at}
		seg.live++
		seg.newest = at
		l.next = max(l.next, n+1)
		return nil
	}
	return errCorrupt
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
	f, err := os.Open(seg.path)
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // nothing is written
	for _, n := range numbers {
		p := l.where[n]
		body, err := readFrame(io.NewSectionReader(f, p.offset, maxFrame+frameHead))
		if err != nil || l.begin() != nil {
			return false
		}
		offset := l.active.size
		in := l.active
		if l.write(appendEntry(nil, n, p.at, body[entryHead:])) != nil {
			return false
		}
		l.where[n] = place{in: in, offset: offset, at: p.at}
		in.live++
		seg.live--
		if p.at.After(in.newest) {
			in.newest = p.at
		}
	}
	// The copies have to be on disk before the file goes.
	if l.active != nil && l.active.out.Sync() != nil {
		l.giveUp(l.active)
		return false
	}
	return true
}

// adopt takes over the entries of instances that nobody runs any more, and deletes their folders. A process that is
// killed in between has some of them twice, under two numbers.
func (l *Log) adopt() (adopted []Entry, err error) {
	siblings, err := os.ReadDir(l.opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	for _, s := range siblings {
		if !s.IsDir() || s.Name() == l.opts.Instance || strings.HasPrefix(s.Name(), ".") {
			continue
		}
		if _, err := os.Stat(filepath.Join(l.opts.Dir, s.Name(), lockName)); err != nil {
			continue // not an instance's
		}
		other, entries, err := openFolder(l.opts, s.Name())
		if errors.Is(err, ErrLocked) {
			continue // it runs
		}
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if !e.Settled {
				if e.Number, err = l.Append(e.Time, e.Payload); err != nil {
					return nil, errors.Join(fmt.Errorf("spool: taking over %s: %w", other.dir, err), other.lock.Close())
				}
			}
			adopted = append(adopted, e)
		}
		if err := l.Sync(); err != nil {
			return nil, errors.Join(err, other.lock.Close())
		}
		l.opts.Log.Info("spool: took over what another instance has left", zap.String("instance", s.Name()), zap.Int("entries", len(entries)))
		if err := errors.Join(os.RemoveAll(other.dir), other.lock.Close()); err != nil {
			return nil, fmt.Errorf("spool: %w", err)
		}
	}
	return adopted, nil
}
