package spool

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
)

const (
	suffix   = ".log" // after the number of a file's first entry, in 20 digits
	lockName = "lock"
	// adopted begins the name of a folder that was another instance's; what is added to its numbers follows.
	adopted = "adopted-"
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
	m, err := newMetrics(o.Registry)
	if err != nil {
		return nil, fmt.Errorf("spool: registering metrics: %w", err)
	}
	l, err := openFolder(o, o.Instance, m)
	if err != nil {
		return nil, err
	}
	if !o.Alone {
		err = l.adopt()
	}
	if err == nil {
		err = l.Sync()
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func openFolder(o Options, instance string, m *metrics) (*Log, error) {
	l := &Log{opts: o, dir: filepath.Join(o.Dir, instance), metrics: m, next: 1, moved: make(map[uint64]place), past: make(map[uint64]place)}
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	var err error
	if l.lock, err = lockFile(filepath.Join(l.dir, lockName)); err != nil {
		return nil, err
	}
	if err := l.load(l.dir, 0); err != nil {
		return nil, errors.Join(err, l.lock.Close())
	}
	return l, nil
}

// load reads a folder's files and syncs them, and then those that it had taken over. base is added to their numbers.
func (l *Log) load(dir string, base uint64) error {
	all, err := contents(dir)
	if err != nil {
		return err
	}
	if base > 0 {
		l.next = max(l.next, base+1) // no other folder gets its name
	}
	for _, path := range all {
		more, is, err := adoptedBase(path)
		switch {
		case err != nil:
		case is:
			err = l.load(path, base+more)
		default:
			err = l.loadSegment(path, base)
		}
		if err != nil {
			return err
		}
	}
	return syncDir(dir)
}

// contents lists the files and adopted folders in a folder, in the order in which they are read: by the numbers that
// their names begin with, and a folder after a file.
func contents(dir string) ([]string, error) {
	inside, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	var paths, folders []string
	for _, x := range inside {
		if strings.HasPrefix(x.Name(), adopted) {
			folders = append(folders, filepath.Join(dir, x.Name()))
		} else if strings.HasSuffix(x.Name(), suffix) {
			paths = append(paths, filepath.Join(dir, x.Name()))
		}
	}
	name := func(path string) string {
		return strings.TrimPrefix(strings.TrimSuffix(filepath.Base(path), suffix), adopted)
	}
	all := append(paths, folders...)
	slices.SortStableFunc(all, func(a, b string) int { return cmp.Compare(name(a), name(b)) })
	return all, nil
}

// adoptedBase is what is added to the numbers in a folder that was another instance's, if path is one.
func adoptedBase(path string) (base uint64, is bool, err error) {
	name, is := strings.CutPrefix(filepath.Base(path), adopted)
	if !is {
		return 0, false, nil
	}
	if base, err = strconv.ParseUint(name, 10, 64); err != nil {
		return 0, true, fmt.Errorf("%w: %s isn't named by this program", ErrFormat, path)
	}
	return base, true, nil
}

// loadSegment reads one file up to its end or the first frame that isn't whole.
func (l *Log) loadSegment(path string, base uint64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0) // to be synced it has to be writable on some systems
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	defer f.Close() //nolint:errcheck // nothing is written
	if err := f.Sync(); err != nil {
		return fmt.Errorf("spool: syncing %s: %w", path, err)
	}
	first, err := firstNumber(path)
	if err != nil {
		return err
	}
	seg := &segment{path: path, base: base, first: first + base}
	for n := seg.first; n < l.next; n++ {
		l.gone(n) // of a write that failed and couldn't be taken back: its numbers were given again
	}
	l.next = max(l.next, seg.first)
	l.segments = append(l.segments, seg)
	defer func() { l.bytes += seg.size }()
	in := bufio.NewReaderSize(f, 256<<10)
	head := make([]byte, headerSize)
	switch n, err := io.ReadFull(in, head); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		seg.size = int64(n)
		return nil // killed as it was begun
	case err != nil:
		return fmt.Errorf("spool: reading %s: %w", path, err)
	case unwritten(head):
		l.metrics.fault(faultTorn)
		l.opts.Log.Error("spool: a file was never written, as after a power cut", zap.String("file", path))
		seg.size = int64(len(head))
		return nil
	case string(head[:len(magic)]) != magic:
		return fmt.Errorf("%w: %s is no spool file", ErrFormat, path)
	}
	if v := binary.BigEndian.Uint32(head[len(magic):]); v != formatVersion {
		return fmt.Errorf("%w: %s has format %d, this version writes %d; start the version that wrote it, or remove the folder and lose what it holds", ErrFormat, path, v, formatVersion)
	}
	seg.size = int64(headerSize)
	for {
		body, err := readFrame(in)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errTorn):
			l.metrics.fault(faultTorn)
			l.opts.Log.Info("spool: a file ends in the midst of a write, as after a kill", zap.String("file", path), zap.Int64("at", seg.size))
			return nil
		case errors.Is(err, errCorrupt):
			l.metrics.fault(faultCorrupt)
			l.opts.Log.Error("spool: a file is damaged; what follows in it is lost", zap.String("file", path), zap.Int64("at", seg.size))
			return nil
		case err != nil:
			return fmt.Errorf("spool: reading %s: %w", path, err)
		}
		if err := l.take(seg, body); err != nil {
			l.metrics.fault(faultCorrupt)
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

// firstNumber is that of a file's first entry, which its name is made of.
func firstNumber(path string) (uint64, error) {
	n, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(path), suffix), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %s isn't named by this program", ErrFormat, path)
	}
	return n, nil
}

// take takes over one frame.
func (l *Log) take(seg *segment, body []byte) error {
	switch {
	case body[0] == kindSettled:
		return parseSettled(body, func(n uint64) {
			// Its entry may have gone with its file. Another one of its number would be settled by this mark at the next start.
			l.next = max(l.next, n+seg.base+1)
			l.gone(n + seg.base)
		})
	case body[0] != kindEntry:
		return errCorrupt
	case seg.size > maxOffset:
		return fmt.Errorf("%w: the file is too long", errCorrupt)
	}
	e, supersedes, err := parseEntry(body)
	if err != nil {
		return err
	}
	for _, n := range supersedes {
		l.gone(n + seg.base)
	}
	switch n := e.Number + seg.base; {
	case n >= seg.first+uint64(len(seg.index)):
		if n-seg.first > maxFrame { // it would take memory without end
			return fmt.Errorf("%w: entry %d in a file of entries from %d on", errCorrupt, n, seg.first)
		}
		l.put(seg, n, uint32(seg.size))
		l.next = max(l.next, n+1)
	case n >= seg.first:
		return fmt.Errorf("%w: entry %d comes twice", errCorrupt, n)
	default: // it was written anew
		if _, older := l.slot(n); older != nil {
			return nil // the file wasn't deleted before the process ended
		}
		if _, older := l.moved[n]; older {
			return nil
		}
		l.put(seg, n, uint32(seg.size))
	}
	seg.newest = e.Time
	return nil
}

// Entries tells what the log held when it was opened, an entry at a time, in the order of their numbers: those that
// aren't settled, and of the others those of the last [Options.Keep]. The payload is each's own only during the call. It
// is called once, before anything is settled or appended.
func (l *Log) Entries(each func(Entry)) error {
	newest := time.Time{}
	for _, seg := range l.segments {
		if seg.newest.After(newest) {
			newest = seg.newest
		}
	}
	anew := slices.AppendSeq(slices.Collect(maps.Keys(l.moved)), maps.Keys(l.past))
	slices.Sort(anew)
	// tell those that were written anew and have smaller numbers than what comes next.
	tell := func(below uint64) {
		for ; len(anew) > 0 && anew[0] < below; anew = anew[1:] {
			p, settled := l.past[anew[0]]
			if !settled {
				p = l.moved[anew[0]]
			}
			e, err := l.readPlace(p)
			if err != nil {
				l.opts.Log.Error("spool: an entry can't be read", zap.Uint64("number", anew[0]), zap.Error(err))
				continue
			}
			if e.Settled = settled; !settled || newest.Sub(e.Time) <= l.opts.Keep {
				each(e)
			}
		}
	}
	for _, seg := range l.segments {
		err := scan(seg.path, func(offset int64, body []byte) error {
			e, _, err := parseEntry(body)
			e.Number += seg.base
			if err != nil || e.Number < seg.first || e.Number-seg.first >= uint64(len(seg.index)) {
				return nil //nolint:nilerr // a settled frame, one that load has passed over, or one that was written anew
			}
			s := seg.index[e.Number-seg.first]
			e.Settled = s&ended != 0
			if int64(s&^ended) != offset || e.Settled && newest.Sub(e.Time) > l.opts.Keep {
				return nil
			}
			tell(e.Number)
			each(e)
			return nil
		})
		if err != nil {
			return err
		}
	}
	tell(l.next)
	l.past = nil
	return nil
}

// scan calls each for the frames of a file, up to its end or the first that isn't whole.
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

// adopt takes over the folders of instances that nobody runs any more: one renaming, so that a process that is killed in
// between has them once. What can't be taken over is left alone: it is no reason not to receive.
func (l *Log) adopt() error {
	names, err := Instances(l.opts.Dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == l.opts.Instance {
			continue
		}
		other, err := openFolder(l.opts, name, l.metrics)
		if errors.Is(err, ErrLocked) {
			continue // it runs
		}
		if err == nil {
			err = l.takeOver(other)
		}
		if err != nil {
			l.metrics.fault(faultAdopt)
			l.opts.Log.Error("spool: what another instance has left can't be taken over and stays there: see 'sluice spool ls'",
				zap.String("folder", filepath.Join(l.opts.Dir, name)), zap.Error(err))
		}
	}
	return nil
}

func (l *Log) takeOver(other *Log) (err error) {
	defer func() { err = errors.Join(err, other.lock.Close()) }()
	if len(other.segments) == 0 {
		return os.RemoveAll(other.dir)
	}
	base := l.next // greater than all numbers here
	dir := filepath.Join(l.dir, fmt.Sprintf("%s%020d", adopted, base))
	if err := os.Rename(other.dir, dir); err != nil {
		return err
	}
	if err := errors.Join(syncDir(l.opts.Dir), os.Remove(filepath.Join(dir, lockName)), l.load(dir, base)); err != nil {
		return err
	}
	l.opts.Log.Info("spool: took over what another instance has left", zap.String("folder", other.dir), zap.Int("entries", other.live))
	return nil
}
