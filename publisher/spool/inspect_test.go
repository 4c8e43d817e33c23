package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func inspect(t *testing.T, dir, instance string) *Snapshot {
	t.Helper()
	s, err := Inspect(dir, instance)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// unsettled is what a snapshot tells, in the form of told.
func unsettled(t *testing.T, s *Snapshot) (string, int) {
	t.Helper()
	var entries []Entry
	gone, err := s.Each(func(e Entry) error {
		e.Payload = slices.Clone(e.Payload)
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return told(entries), gone
}

// state is every file of a folder, to see that none changes.
func state(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		fmt.Fprintf(&b, "%s %x\n", path, content)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestInspectBesideItsInstance(t *testing.T) {
	dir := t.TempDir()
	l, _ := open(t, Options{Dir: dir})
	add(t, l, epoch, "a", "b", "c")
	if err := l.Drop(2); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(epoch, Addition{Payload: []byte("d"), Supersedes: []uint64{3}}); err != nil {
		t.Fatal(err)
	}
	s := inspect(t, dir, "one")
	if !s.Running || s.Format != formatVersion || s.Files != 1 || s.Unsettled != 2 || len(s.Torn)+len(s.Damage) > 0 {
		t.Errorf("%+v", s)
	}
	l.Settle(1)
	if err := l.Flush(epoch); err != nil {
		t.Fatal(err)
	}
	if got, gone := unsettled(t, s); got != "a d" || gone != 0 {
		t.Errorf("%s, %d gone", got, gone)
	}
	if got, gone := unsettled(t, inspect(t, dir, "one")); got != "d" || gone != 0 {
		t.Errorf("%s, %d gone", got, gone)
	}
	add(t, l, epoch, "e") // it can go on
	kill(t, l)
	if s := inspect(t, dir, "one"); s.Running || s.Unsettled != 2 {
		t.Errorf("%+v", s)
	}
}

// TestInspectChangesNothing also where nothing may be written.
func TestInspectChangesNothing(t *testing.T) {
	dir := t.TempDir()
	l, _ := open(t, Options{Dir: dir})
	add(t, l, epoch, "a")
	kill(t, l)
	if err := os.Chmod(filepath.Join(dir, "one"), 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(dir, "one"), 0o700) })
	before := state(t, dir)
	if got, _ := unsettled(t, inspect(t, dir, "one")); got != "a" {
		t.Error(got)
	}
	if state(t, dir) != before {
		t.Error("a file was changed")
	}
	if _, err := Inspect(dir, "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "none")); err == nil {
		t.Error("looking makes a folder")
	}
}

// TestInspectWhileFilesGo lets a process write an old entry anew and delete its file after each step of the reading.
func TestInspectWhileFilesGo(t *testing.T) {
	dir := t.TempDir()
	l, _ := open(t, Options{Dir: dir, SegmentBytes: 1000, MaxBytes: 10_000, Keep: time.Nanosecond})
	now := epoch
	churn := func() {
		for range 400 {
			now = now.Add(time.Second)
			l.Settle(add(t, l, now, "an entry that comes and goes"))
			if err := l.Flush(now); err != nil {
				t.Fatal(err)
			}
		}
	}
	old := add(t, l, epoch, "old")
	file := glob(t, dir)[0]
	var seen []string
	first := true
	err := eachFile(filepath.Join(dir, "one"), func(path string, _ uint64) error {
		if first {
			first = false
			churn() // the file that was listed is gone before it is read
			if _, err := os.Stat(file); err == nil {
				t.Error("the file is still there")
			}
		}
		_, _, err := (&Snapshot{}).readFile(path, func(body []byte) error {
			if e, _, err := parseEntry(body); err == nil && e.Number == old {
				seen = append(seen, filepath.Base(path))
			}
			return nil
		})
		return err
	})
	if err != nil || len(seen) == 0 {
		t.Errorf("the old entry was seen in %v, %v", seen, err)
	}
	// The same between the two passes.
	s := inspect(t, dir, "one")
	churn()
	got, gone := unsettled(t, s)
	if !strings.HasPrefix(got, "old") || gone > 1 {
		t.Errorf("%s, %d gone", got, gone)
	}
}

// TestInspectDamage cuts and flips every byte: entries are told up to there, and damage is told from what a kill leaves.
func TestInspectDamage(t *testing.T) {
	dir := t.TempDir()
	l, _ := open(t, Options{Dir: dir})
	add(t, l, epoch, "alpha", "beta", "gamma")
	kill(t, l)
	path := glob(t, dir)[0]
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	look := func(content []byte) (*Snapshot, string) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		s := inspect(t, dir, "one")
		got, gone := unsettled(t, s)
		if !strings.HasPrefix("alpha beta gamma", got) || gone != 0 {
			t.Fatalf("%q, %d gone", got, gone)
		}
		return s, got
	}
	for cut := range whole {
		s, got := look(whole[:cut])
		ends := slices.Contains([]int{headerSize, headerSize + 31, headerSize + 61}, cut) // between frames
		if ends == (len(s.Torn) == 1) || len(s.Damage) > 0 {
			t.Errorf("cut at %d: %q, torn %v, damage %v", cut, got, s.Torn, s.Damage)
		}
	}
	for i := range whole {
		damaged := slices.Clone(whole)
		damaged[i] ^= 0x40
		s, got := look(damaged)
		// The last frame's length has nothing behind it that would tell.
		last := i > headerSize+61 && i < headerSize+65
		if last && len(s.Torn) != 1 || !last && len(s.Damage) != 1 || got == "alpha beta gamma" {
			t.Fatalf("byte %d: %q, torn %v, damage %v", i, got, s.Torn, s.Damage)
		}
		if !last && i >= headerSize && !errors.Is(s.Damage[0].Why, ErrDamaged) || i < headerSize && !errors.Is(s.Damage[0].Why, ErrFormat) {
			t.Errorf("byte %d: %v", i, s.Damage[0])
		}
	}
}

func TestInstances(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a/lock", "b/1.log", "other/file", ".hidden/lock", "lost+found/x"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if names, err := Instances(dir); err != nil || !slices.Equal(names, []string{"a", "b"}) {
		t.Errorf("%v, %v", names, err)
	}
	if _, err := Instances(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestRemove(t *testing.T) {
	dir := t.TempDir()
	l, _ := open(t, Options{Dir: dir})
	n := add(t, l, epoch, "a")
	if err := Remove(dir, "one"); !errors.Is(err, ErrLocked) {
		t.Errorf("while it runs: %v", err)
	}
	kill(t, l)
	if err := Remove(dir, "one"); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("with an entry in it: %v", err)
	}
	l, _ = open(t, Options{Dir: dir})
	l.Settle(n)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Remove(dir, "one"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "one")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// TestLookingKeepsNobodyOut asks for the lock without end while a process takes it again and again.
func TestLookingKeepsNobodyOut(t *testing.T) {
	dir := t.TempDir()
	l, _ := open(t, Options{Dir: dir})
	kill(t, l)
	stop, stopped := make(chan struct{}), make(chan struct{})
	var asked atomic.Int64
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := isLocked(filepath.Join(dir, "one", lockName)); err != nil {
				t.Error(err)
			}
			asked.Add(1)
		}
	}()
	defer func() {
		close(stop)
		<-stopped
	}()
	for i := 0; i < 200 || asked.Load() < 200; i++ {
		f, err := lockFile(filepath.Join(dir, "one", lockName))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNumbers(t *testing.T) {
	s := newNumbers()
	for _, n := range []uint64{0, 63, 64, 4095, 4096, 1 << 60} {
		s.add(n)
		s.add(n)
		if !s.has(n) || s.has(n+1) && n != 63 && n != 4095 {
			t.Errorf("%d", n)
		}
	}
	if s.count != 6 || s.remove(1) || !s.remove(63) || s.remove(63) || s.count != 5 {
		t.Errorf("%+v", s)
	}
	for _, n := range []uint64{0, 64, 4095} {
		s.remove(n)
	}
	if len(s.pages) != 2 {
		t.Errorf("%d pages", len(s.pages))
	}
}

// inspected wants Inspect to see what Open has just told, whatever has become of the disk.
func (m *model) inspected(rt *rapid.T, told []Entry) {
	want, found := map[uint64]string{}, map[uint64]string{}
	for _, e := range told {
		if !e.Settled {
			want[e.Number] = string(e.Payload)
		}
	}
	s, err := Inspect(m.root, m.options.Instance)
	if err != nil {
		rt.Fatal(err)
	}
	gone, err := s.Each(func(e Entry) error {
		found[e.Number] = string(e.Payload)
		return nil
	})
	if err != nil || gone > 0 || !s.Running || s.Unsettled != len(want) || !maps.Equal(found, want) {
		rt.Fatalf("inspecting finds %d entries %v, %d gone, %v; opening found %v", s.Unsettled, found, gone, err, want)
	}
}
