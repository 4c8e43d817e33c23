package spool

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Snapshot is what an instance's folder holds, read without changing anything and without keeping a process from it.
// While its instance runs, it is of about the moment of [Inspect].
type Snapshot struct {
	Instance string
	// Running: a process has locked the folder.
	Running bool
	// Format is that of the files, 0 if there is none whose beginning is whole.
	Format int
	Files  int
	Bytes  int64
	// Unsettled counts entries.
	Unsettled int
	// Torn lists files that end in the midst of a write, as after a kill. Nobody was told that the rest is there.
	Torn []Place
	// Damage lists what couldn't be read. Behind a place in a file the rest of that file couldn't be read either.
	Damage []Place

	dir  string
	open *numbers // unsettled
}

// Place is where reading a file ended before its time. Its Why is [ErrFormat], [ErrDamaged], or of the file system.
type Place struct {
	File   string
	Offset int64
	Rest   int64 // bytes from there to the file's end
	Why    error
}

// String names the place and the reason.
func (p Place) String() string {
	return fmt.Sprintf("%s at byte %d, with %d bytes from there on: %v", p.File, p.Offset, p.Rest, p.Why)
}

// Instances lists the folders in dir that are, or were, an instance's, running or not, those that can't be looked into
// among them.
func Instances(dir string) ([]string, error) {
	all, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	var names []string
	for _, s := range all {
		if !s.IsDir() || strings.HasPrefix(s.Name(), ".") || s.Name() == "lost+found" { // which a volume's root has
			continue
		}
		inside, err := os.ReadDir(filepath.Join(dir, s.Name()))
		for _, file := range inside {
			if file.Name() == lockName || strings.HasSuffix(file.Name(), suffix) || strings.HasPrefix(file.Name(), adopted) {
				err = fs.ErrExist
			}
		}
		if err != nil { // one that can't be looked into may be one
			names = append(names, s.Name())
		}
	}
	return names, nil
}

// Inspect reads an instance's folder. What is damaged is no error. Errors are of the file system, and wrap
// [fs.ErrNotExist] where there is no such folder.
func Inspect(dir, instance string) (*Snapshot, error) {
	s := &Snapshot{Instance: instance, dir: filepath.Join(dir, instance)}
	var err error
	if s.Running, err = isLocked(filepath.Join(s.dir, lockName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return s, s.read()
}

// read goes through the files once to learn which entries aren't settled.
func (s *Snapshot) read() error {
	s.open = newNumbers()
	settled := newNumbers()
	next := uint64(1)
	var base uint64
	settle := func(n uint64) {
		if s.open.remove(n + base) {
			settled.add(n + base)
		}
	}
	take := func(body []byte) error {
		if body[0] == kindSettled {
			return parseSettled(body, settle)
		}
		e, supersedes, err := parseEntry(body)
		if err != nil {
			return err
		}
		for _, n := range supersedes {
			settle(n)
		}
		n := e.Number + base
		if !settled.has(n) { // else it was written anew before that
			s.open.add(n)
		}
		next = max(next, n+1)
		return nil
	}
	var last string
	err := eachFile(s.dir, func(path string, add uint64) error {
		base = add
		size, end := int64(0), int64(0)
		first, err := firstNumber(path)
		if err == nil {
			for n := first; n+base < next; n++ {
				settle(n) // of a write that failed and couldn't be taken back: its numbers were given again
			}
			size, end, err = s.readFile(path, take)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return err
		}
		s.Files++
		s.Bytes += size
		last = path
		switch {
		case errors.Is(err, errTorn):
			s.Torn = append(s.Torn, Place{path, end, size - end, err})
		case err != nil:
			s.Damage = append(s.Damage, Place{path, end, size - end, err})
		}
		return nil
	})
	s.Unsettled = s.open.count
	if n := len(s.Torn); n > 0 && s.Running && s.Torn[n-1].File == last {
		s.Torn = s.Torn[:n-1] // it is being written
	}
	return err
}

// Each tells the unsettled entries in the order in which they stand on disk. It is called once. A payload is the
// callee's only during the call, and an error of it ends the reading. gone counts entries that have been settled or
// taken over by an instance since [Inspect], and those that can't be read any more.
func (s *Snapshot) Each(each func(Entry) error) (gone int, err error) {
	err = eachFile(s.dir, func(path string, base uint64) error {
		var stop error
		_, _, err := s.readFile(path, func(body []byte) error {
			e, _, err := parseEntry(body)
			e.Number += base
			if err != nil || stop != nil || !s.open.remove(e.Number) {
				return nil //nolint:nilerr // a settled frame, or one that read has named
			}
			stop = each(e)
			return nil
		})
		if errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return stop
	})
	return s.open.count, err
}

// eachFile calls each for the folder's files, oldest first, and tells what is added to the numbers in it. Where one has
// vanished, its unsettled entries have been written anew in a later file, which may not have been there at first.
func eachFile(dir string, each func(path string, base uint64) error) error {
	seen := make(map[string]bool)
	vanished := true
	var walk func(dir string, base uint64) error
	walk = func(dir string, base uint64) error {
		all, err := contents(dir)
		if err != nil {
			return err
		}
		for _, path := range all {
			more, is, err := adoptedBase(path)
			switch {
			case err != nil:
				return err
			case is:
				err = walk(path, base+more)
			case !seen[path]:
				seen[path] = true
				err = each(path, base)
			}
			if errors.Is(err, fs.ErrNotExist) {
				vanished = true
			} else if err != nil {
				return err
			}
		}
		return nil
	}
	for vanished {
		vanished = false
		if err := walk(dir, 0); err != nil {
			return err
		}
	}
	return nil
}

// readFile calls each for the bodies of a file's frames. It returns the file's size, where reading ended, and why, if
// not at the file's end.
func (s *Snapshot) readFile(path string, each func(body []byte) error) (size, end int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close() //nolint:errcheck // nothing is written
	info, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	size = info.Size()
	in := bufio.NewReaderSize(io.LimitReader(f, size), 256<<10) // what comes meanwhile is of a later moment
	head := make([]byte, headerSize)
	switch _, err := io.ReadFull(in, head); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), err == nil && unwritten(head):
		return size, 0, errTorn
	case err != nil:
		return size, 0, err
	case string(head[:len(magic)]) != magic:
		return size, 0, fmt.Errorf("%w: it is no spool file", ErrFormat)
	}
	if s.Format = int(binary.BigEndian.Uint32(head[len(magic):])); s.Format != formatVersion {
		return size, 0, fmt.Errorf("%w: it has format %d, this version reads %d", ErrFormat, s.Format, formatVersion)
	}
	var strange error
	for end = int64(headerSize); ; {
		body, err := readFrame(in)
		switch {
		case errors.Is(err, io.EOF):
			return size, end, strange
		case errors.Is(err, errTorn):
			return size, end, errors.Join(strange, torn(f, end, size))
		case errors.Is(err, errCorrupt):
			return size, end, errors.Join(strange, fmt.Errorf("%w: %w", ErrDamaged, err))
		case err != nil:
			return size, end, errors.Join(strange, err)
		}
		if err := each(body); err != nil && strange == nil {
			strange = fmt.Errorf("%w: the frame at byte %d isn't understood", ErrDamaged, end)
		}
		end += int64(frameHead + len(body))
	}
}

// torn tells a frame whose end was never written from one whose length is damaged: whole frames come behind that.
func torn(f *os.File, end, size int64) error {
	rest := make([]byte, min(size-end, maxFrame))
	if _, err := f.ReadAt(rest, end); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for i := frameHead; i+frameHead < len(rest); i++ {
		if kind := rest[i+frameHead]; kind != kindEntry && kind != kindSettled {
			continue
		}
		head, body := rest[i:i+frameHead], rest[i+frameHead:]
		n := binary.BigEndian.Uint32(head)
		// Zeros are no frame, though the checksum of nothing is 0: batches hold many.
		if n > 0 && int64(n) <= int64(len(body)) && crc32.Checksum(body[:n], castagnoli) == binary.BigEndian.Uint32(head[4:]) {
			return fmt.Errorf("%w: %w", ErrDamaged, errCorrupt)
		}
	}
	return errTorn
}

// ErrNotEmpty: a folder holds unsettled entries, or what can't be read.
var ErrNotEmpty = errors.New("spool: not empty")

// Remove deletes the folder of an instance that doesn't run, once nothing in it is needed. It returns [ErrLocked] and
// [ErrNotEmpty], and errors of the file system.
func Remove(dir, instance string) error {
	s := &Snapshot{dir: filepath.Join(dir, instance)}
	lock, err := lockFile(filepath.Join(s.dir, lockName))
	if err != nil {
		return err
	}
	defer lock.Close() //nolint:errcheck // nothing is written
	if err := s.read(); err != nil {
		return err
	}
	if s.Unsettled+len(s.Damage) > 0 {
		return fmt.Errorf("%w: %s", ErrNotEmpty, s.dir)
	}
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}
