package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestModel does to a log what processes, disks and power supplies do, in any order, and compares it with a map.
// It knows the exported methods and Options.open only.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newModel(t, rt)
		defer m.end()
		rt.Repeat(rapid.StateMachineActions(m))
		m.everythingIsForgottenInTheEnd(rt)
	})
}

// fate is what is known of an entry.
type fate int

const (
	live    fate = iota
	settled      // Settle, which hasn't been written down yet: it may be live again after a restart
	gone         // written down, one way or another
)

// held is an entry as the model has it. Entries go by their payloads, since a sibling that adopts them numbers them anew.
type held struct {
	number  uint64
	payload []byte
	at      time.Time
	fate    fate
	// synced: Sync has returned nil since it was appended, or Open has told of it.
	synced bool
	// uncertain: it wasn't synced when a write or a sync failed.
	uncertain bool
	// by is the entry that supersedes it.
	by *held
}

type model struct {
	t       *testing.T
	root    string
	disk    *modelDisk
	options Options
	log     *Log
	now     time.Time
	last    time.Time // that the log was told of
	made    int
	entries map[string]*held // by payload
	// torn is what Open has found on disk and not counted: ends of files that aren't whole.
	torn int64
	// found is the log's size when it was opened: what it takes over may be more than it would let in.
	found   int64
	cramped bool
}

func newModel(t *testing.T, rt *rapid.T) *model {
	m := &model{t: t, now: epoch, last: epoch, entries: make(map[string]*held)}
	m.root = m.newRoot(rt)
	m.options = Options{Instance: "one", MaxBytes: 1 << 20, SegmentBytes: int64(rapid.SampledFrom([]int{60, 200, 700}).Draw(rt, "segment bytes")), Keep: 10 * time.Second, retry: time.Nanosecond}
	if m.cramped = rapid.Bool().Draw(rt, "cramped"); m.cramped {
		m.options.MaxBytes = 3000
	}
	m.open(rt)
	return m
}

func (m *model) newRoot(rt *rapid.T) string {
	dir, err := os.MkdirTemp(m.t.TempDir(), "")
	if err != nil {
		rt.Fatal(err)
	}
	return dir
}

func (m *model) end() {
	_ = m.log.Close()
	_ = os.RemoveAll(m.root)
}

// open opens the log on a disk that works, and all that it finds counts as synced.
func (m *model) open(rt *rapid.T) []Entry {
	m.disk = &modelDisk{root: m.root, files: make(map[string]*modelFile)}
	m.options.Dir, m.options.open = m.root, m.disk.open
	log, err := Open(m.options)
	if err != nil {
		rt.Fatalf("opening: %v", err)
	}
	m.log = log
	var told []Entry
	if err := m.log.Entries(func(e Entry) {
		e.Payload = slices.Clone(e.Payload)
		told = append(told, e)
	}); err != nil {
		rt.Fatal(err)
	}
	m.found, _ = m.log.Size()
	m.torn = m.onDisk(rt) - m.found
	m.disk.failed = func() {
		for _, e := range m.entries {
			e.uncertain = e.uncertain || !e.synced
		}
	}
	return told
}

// onDisk is the size of the instance's files.
func (m *model) onDisk(rt *rapid.T) (size int64) {
	for _, path := range m.paths(rt) {
		if info, err := os.Stat(path); err == nil {
			size += info.Size()
		}
	}
	return size
}

// paths are the instance's files, and those that it has taken over.
func (m *model) paths(rt *rapid.T) (paths []string) {
	if err := filepath.WalkDir(filepath.Join(m.root, m.options.Instance), func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, suffix) {
			paths = append(paths, path)
		}
		return err
	}); err != nil {
		rt.Fatal(err)
	}
	return paths
}

// with lists the entries of the fates, oldest first.
func (m *model) with(fates ...fate) (entries []*held) {
	for _, e := range m.entries {
		if slices.Contains(fates, e.fate) {
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(a, b *held) int { return bytes.Compare(a.payload, b.payload) })
	return entries
}

// some draws a few of the entries.
func some(rt *rapid.T, from []*held, most int, label string) (numbers []uint64, chosen []*held) {
	if len(from) == 0 {
		return nil, nil
	}
	for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, len(from)-1), 0, min(most, len(from)), rapid.ID[int]).Draw(rt, label) {
		numbers, chosen = append(numbers, from[i].number), append(chosen, from[i])
	}
	return numbers, chosen
}

// written is what follows from a write's success: everything that was settled before is written down with it.
func (m *model) written() {
	for _, e := range m.with(settled) {
		e.fate = gone
	}
}

// Append is the one of the log's methods.
func (m *model) Append(rt *rapid.T) {
	var additions []Addition
	var old [][]*held
	room := int64(0)
	left := m.with(live)
	for range rapid.IntRange(1, 3).Draw(rt, "additions") {
		m.made++
		a := Addition{Payload: fmt.Appendf(nil, "%06d %s", m.made, strings.Repeat("x", rapid.SampledFrom([]int{0, 10, 200}).Draw(rt, "filler")))}
		var chosen []*held
		if rapid.Bool().Draw(rt, "supersedes") {
			a.Supersedes, chosen = some(rt, left, 2, "superseded")
			left = slices.DeleteFunc(left, func(e *held) bool { return slices.Contains(chosen, e) })
		}
		additions, old = append(additions, a), append(old, chosen)
		room += int64(len(a.Payload) + 64)
	}
	m.last = m.now
	first, err := m.log.Append(m.now, additions...)
	switch {
	case errors.Is(err, ErrFull):
		if used, _ := m.log.Size(); used+room < m.options.MaxBytes {
			rt.Fatalf("%d of %d bytes are used, and there is no room for %d", used, m.options.MaxBytes, room)
		}
		return
	case err != nil:
		m.excused(rt, "Append", err)
		return
	}
	m.written()
	for i, a := range additions {
		e := &held{number: first + uint64(i), payload: a.Payload, at: m.now}
		for _, other := range m.with(live, settled) {
			if other.number == e.number {
				rt.Fatalf("the number %d is given to %q and to %q", e.number, other.payload, e.payload)
			}
		}
		m.entries[string(e.payload)] = e
		for _, o := range old[i] {
			o.fate, o.by = gone, e
		}
	}
}

// Churn has many entries come and go, and one stay: files that are held by little.
func (m *model) Churn(rt *rapid.T) {
	stays := rapid.IntRange(0, 20).Draw(rt, "stays")
	var additions []Addition
	for range 20 {
		m.made++
		additions = append(additions, Addition{Payload: fmt.Appendf(nil, "%06d", m.made)})
	}
	m.last = m.now
	first, err := m.log.Append(m.now, additions...)
	if err != nil {
		if !errors.Is(err, ErrFull) {
			m.excused(rt, "Append", err)
		}
		return
	}
	m.written()
	for i, a := range additions {
		e := &held{number: first + uint64(i), payload: a.Payload, at: m.now}
		m.entries[string(e.payload)] = e
		if i != stays {
			m.log.Settle(e.number)
			e.fate = settled
		}
	}
}

// SyncFailsOnce is what a kernel does that has forgotten what it couldn't write.
func (m *model) SyncFailsOnce(rt *rapid.T) {
	m.disk.syncs = true
	m.Sync(rt)
	m.disk.syncs = false
	m.Sync(rt)
}

// Quiet has everything settled for long, and then a restart.
func (m *model) Quiet(rt *rapid.T) {
	m.Mend(rt)
	for _, e := range m.with(live) {
		m.log.Settle(e.number)
		e.fate = settled
	}
	m.now = m.now.Add(time.Hour)
	m.Flush(rt)
	m.Restart(rt)
}

// excused fails for errors that no disk is the cause of.
func (m *model) excused(rt *rapid.T, what string, err error) {
	if err != nil && !m.disk.faulty() {
		rt.Fatalf("%s on a disk that works: %v", what, err)
	}
}

// Settle is the one of the log's methods.
func (m *model) Settle(rt *rapid.T) {
	numbers, chosen := some(rt, m.with(live), 20, "settled")
	m.log.Settle(numbers...)
	for _, e := range chosen {
		e.fate = settled
	}
}

// Drop is the one of the log's methods.
func (m *model) Drop(rt *rapid.T) {
	numbers, chosen := some(rt, m.with(live, settled), 3, "dropped")
	err := m.log.Drop(numbers...)
	for _, e := range chosen {
		e.fate = settled
	}
	if m.excused(rt, "Drop", err); err == nil {
		m.written()
	}
}

// Flush is the one of the log's methods.
func (m *model) Flush(rt *rapid.T) {
	m.last = m.now
	err := m.log.Flush(m.now)
	if m.excused(rt, "Flush", err); err == nil {
		m.written()
	}
}

// Sync is the one of the log's methods. It may fail for ever where something that was never synced stood in a file that has failed.
func (m *model) Sync(rt *rapid.T) {
	err := m.log.Sync()
	if err == nil {
		for _, e := range m.entries {
			e.synced = true
		}
		return
	}
	if !slices.ContainsFunc(m.with(live), func(e *held) bool { return e.uncertain }) {
		m.excused(rt, "Sync, with nothing uncertain left,", err)
	}
}

// Read is the one of the log's methods.
func (m *model) Read(rt *rapid.T) {
	for _, e := range m.entries {
		b, err := m.log.Read(e.number)
		switch {
		case e.fate == live && (err != nil || !bytes.Equal(b, e.payload)):
			rt.Fatalf("Read(%d) gives %q, %v, want %q", e.number, b, err, e.payload)
		case e.fate != live && !errors.Is(err, ErrDamaged):
			rt.Fatalf("Read(%d), which isn't there any more, gives %q, %v", e.number, b, err)
		}
	}
}

// Wait lets time pass.
func (m *model) Wait(rt *rapid.T) {
	m.now = m.now.Add(time.Duration(rapid.IntRange(1, 20).Draw(rt, "seconds")) * time.Second)
}

// Fail breaks the disk in some way, or mends it.
func (m *model) Fail(rt *rapid.T) {
	m.disk.opens = rapid.Bool().Draw(rt, "opening fails")
	m.disk.syncs = rapid.Bool().Draw(rt, "syncing fails")
	m.disk.writes = rapid.Bool().Draw(rt, "writing fails")
	m.disk.arrive = rapid.IntRange(0, 300).Draw(rt, "bytes arrive")
}

// Mend makes the disk work.
func (m *model) Mend(*rapid.T) { m.disk.opens, m.disk.syncs, m.disk.writes = false, false, false }

// Restart closes the log and opens it.
func (m *model) Restart(rt *rapid.T) {
	err := m.log.Close()
	if m.excused(rt, "Close", err); err == nil {
		m.written()
	}
	m.reopen(rt, m.survivesKill)
}

// Kill ends the process: what it has written stays, and nothing is written any more.
func (m *model) Kill(rt *rapid.T) {
	m.copyAway(rt)
	if rapid.Bool().Draw(rt, "another instance takes the folder over") {
		m.options.Instance = map[string]string{"one": "two", "two": "one"}[m.options.Instance]
	}
	m.reopen(rt, m.survivesKill)
}

// PowerCut ends the machine: what wasn't synced may be lost from any byte on.
func (m *model) PowerCut(rt *rapid.T) {
	m.copyAway(rt)
	for _, path := range m.paths(rt) {
		f := m.disk.files[strings.TrimPrefix(path, m.root)]
		info, err := os.Stat(path)
		if err != nil {
			rt.Fatal(err)
		}
		if f == nil || f.synced >= info.Size() {
			continue // it was there when the log was opened, or has been synced whole
		}
		cut := int64(rapid.IntRange(int(f.synced), int(info.Size())).Draw(rt, "torn at"))
		if cut == 0 {
			err = os.Remove(path) // its name wasn't durable either
		} else if err = os.Truncate(path, cut); err == nil && rapid.Bool().Draw(rt, "zeros follow") {
			err = os.Truncate(path, info.Size())
		}
		if err != nil {
			rt.Fatal(err)
		}
	}
	m.reopen(rt, m.survivesPowerCut)
}

// copyAway leaves the log behind as it stands on disk.
func (m *model) copyAway(rt *rapid.T) {
	to := m.newRoot(rt)
	if err := os.CopyFS(to, os.DirFS(m.root)); err != nil {
		rt.Fatal(err)
	}
	m.end()
	m.root = to
}

// reopen opens what is on disk, has it judged, and goes on from there.
func (m *model) reopen(rt *rapid.T, judge func(rt *rapid.T, e *held, told *Entry)) {
	told := m.open(rt)
	byPayload := make(map[string]*Entry)
	for i := range told {
		e := &told[i]
		known := m.entries[string(e.Payload)]
		switch {
		case known == nil:
			rt.Fatalf("%q was never kept, or had been forgotten", e.Payload)
		case byPayload[string(e.Payload)] != nil:
			rt.Fatalf("%q is told twice", e.Payload)
		case !e.Time.Equal(known.at):
			rt.Fatalf("%q is of %v, not of %v", e.Payload, known.at, e.Time)
		}
		byPayload[string(e.Payload)] = e
		if i > 0 && !m.cramped && e.Number <= told[i-1].Number {
			rt.Fatalf("%q comes before %q", told[i-1].Payload, e.Payload)
		}
	}
	for key, e := range m.entries {
		now := byPayload[key]
		judge(rt, e, now)
		if e.by != nil && alive(now) && alive(byPayload[string(e.by.payload)]) {
			rt.Fatalf("%q and %q, which stands for it, are both there", e.payload, e.by.payload)
		}
	}
	for key, e := range m.entries {
		now := byPayload[key]
		if now == nil {
			delete(m.entries, key)
			continue
		}
		*e = held{number: now.Number, payload: e.payload, at: e.at, synced: true}
		if now.Settled {
			e.fate = gone
		}
	}
}

func alive(e *Entry) bool { return e != nil && !e.Settled }

// survivesKill is the first two invariants of the package, for an entry and what is told of it.
func (m *model) survivesKill(rt *rapid.T, e *held, told *Entry) {
	switch {
	case e.fate == live && !alive(told):
		rt.Fatalf("%q is lost: %+v", e.payload, told)
	case e.fate == gone && alive(told):
		rt.Fatalf("%q is back", e.payload)
	case told == nil && m.last.Sub(e.at) < m.options.Keep:
		rt.Fatalf("%q isn't told of, though the process has lived for only %v since", e.payload, m.last.Sub(e.at))
	}
}

// survivesPowerCut is what Sync promises.
func (m *model) survivesPowerCut(rt *rapid.T, e *held, told *Entry) {
	if e.fate == live && e.synced && !alive(told) {
		rt.Fatalf("%q is lost, though it was synced: %+v", e.payload, told)
	}
}

// Check holds in every state.
func (m *model) Check(rt *rapid.T) {
	size, unsettled := m.log.Size()
	if want := len(m.with(live)); unsettled != want {
		rt.Fatalf("it has %d unsettled entries, want %d", unsettled, want)
	}
	// Marks of what has been settled are written even then.
	if most := max(m.options.MaxBytes, m.found) + 1000; size > most {
		rt.Fatalf("it has %d bytes, and may have %d", size, m.options.MaxBytes)
	}
	if there := m.onDisk(rt); there < size || there > size+m.torn {
		rt.Fatalf("%d bytes are on disk, and it knows of %d", there, size)
	}
}

// everythingIsForgottenInTheEnd: nothing holds the room when nothing is unsettled.
func (m *model) everythingIsForgottenInTheEnd(rt *rapid.T) {
	m.Quiet(rt)
	m.Append(rt)
	m.Sync(rt)
	if size, _ := m.log.Size(); size > m.options.SegmentBytes+1000 {
		rt.Fatalf("%d bytes are left of nothing", size)
	}
	m.PowerCut(rt)
}
