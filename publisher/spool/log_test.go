package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func open(t *testing.T, o Options) (*Log, []Entry) {
	t.Helper()
	if o.Instance == "" {
		o.Instance = "one"
	}
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, entriesOf(t, l)
}

func entriesOf(t *testing.T, l *Log) (entries []Entry) {
	t.Helper()
	if err := l.Entries(func(e Entry) {
		e.Payload = slices.Clone(e.Payload)
		entries = append(entries, e)
	}); err != nil {
		t.Fatal(err)
	}
	return entries
}

func add(t *testing.T, l *Log, at time.Time, payloads ...string) uint64 {
	t.Helper()
	var b []Addition
	for _, p := range payloads {
		b = append(b, Addition{Payload: []byte(p)})
	}
	n, err := l.Append(at, b...)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// kill ends the log as the end of its process does: nothing more is written.
func kill(t *testing.T, l *Log) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if err := l.lock.Close(); err != nil {
		t.Fatal(err)
	}
}

// told is the entries in a form that can be compared: settled ones in brackets.
func told(entries []Entry) string {
	var words []string
	for _, e := range entries {
		word := string(e.Payload)
		if e.Settled {
			word = "(" + word + ")"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

func TestEntriesOutliveTheProcess(t *testing.T) {
	dir := t.TempDir()
	l, entries := open(t, Options{Dir: dir})
	if len(entries) != 0 {
		t.Fatalf("a new log has %d entries", len(entries))
	}
	first := add(t, l, epoch, "a", "b", "c")
	second := add(t, l, epoch.Add(time.Second), "d")
	if first != 1 || second != 4 {
		t.Errorf("numbers %d and %d", first, second)
	}
	l.Settle(2)
	if err := l.Drop(3); err != nil {
		t.Fatal(err)
	}
	l.Settle(1) // isn't written down
	kill(t, l)

	l, entries = open(t, Options{Dir: dir})
	if got := told(entries); got != "a (b) (c) d" {
		t.Errorf("after a kill: %s", got)
	}
	if !entries[0].Time.Equal(epoch) || entries[3].Number != 4 {
		t.Errorf("%+v", entries)
	}
	if n := add(t, l, epoch, "e"); n != 5 {
		t.Errorf("the next number is %d", n)
	}
	l.Settle(1, 2, 2, 99) // settling twice, or what never was, does nothing
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, entries = open(t, Options{Dir: dir})
	if got := told(entries); got != "(a) (b) (c) d e" {
		t.Errorf("after a close: %s", got)
	}
}

// TestEveryTornEnd cuts the file at every byte: whole entries before the cut are there, nothing else is.
func TestEveryTornEnd(t *testing.T) {
	dir := t.TempDir()
	l, _ := open(t, Options{Dir: dir})
	add(t, l, epoch, "alpha", "beta")
	add(t, l, epoch, "gamma")
	kill(t, l)
	paths, _ := filepath.Glob(filepath.Join(dir, "one", "*.log"))
	if len(paths) != 1 {
		t.Fatal(paths)
	}
	whole, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for cut := range len(whole) + 1 {
		if err := os.WriteFile(paths[0], whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		l, entries := open(t, Options{Dir: dir})
		got := told(entries)
		if !strings.HasPrefix("alpha beta gamma", got) {
			t.Fatalf("cut at %d: %q", cut, got)
		}
		seen[got] = true
		// What is appended afterwards is read, whatever the cut was.
		add(t, l, epoch, "after")
		kill(t, l)
		l, entries = open(t, Options{Dir: dir})
		if got := told(entries); !strings.HasSuffix(got, "after") {
			t.Fatalf("cut at %d, then appended: %q", cut, got)
		}
		kill(t, l)
		for _, p := range glob(t, dir) {
			if p != paths[0] {
				if err := os.Remove(p); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if len(seen) != 4 {
		t.Errorf("the cuts gave %v", seen)
	}
}

func glob(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "one", "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// TestDamage flips every byte: what comes before it is there unchanged, and nothing is there that was never written.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	l, _ := open(t, Options{Dir: dir})
	add(t, l, epoch, "alpha", "beta", "gamma")
	kill(t, l)
	path := glob(t, dir)[0]
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		damaged := slices.Clone(whole)
		damaged[i] ^= 0x40
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := Open(Options{Dir: dir, Instance: "one"})
		if i < headerSize {
			if !errors.Is(err, ErrFormat) {
				t.Fatalf("byte %d: %v", i, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("byte %d: %v", i, err)
		}
		if got := told(entriesOf(t, l)); !strings.HasPrefix("alpha beta gamma", got) || got == "alpha beta gamma" {
			t.Fatalf("byte %d: %q", i, got)
		}
		kill(t, l)
	}
}

func TestFilesGoWhenNothingNeedsThem(t *testing.T) {
	dir := t.TempDir()
	l, _ := open(t, Options{Dir: dir, SegmentBytes: 200, Keep: time.Minute})
	now := epoch
	for i := range 50 {
		n := add(t, l, now, fmt.Sprintf("entry %02d, which is long enough for a file to hold but few", i))
		l.Settle(n)
		now = now.Add(time.Second)
	}
	if n := len(glob(t, dir)); n < 10 {
		t.Errorf("%d files hold the last minute", n)
	}
	if err := l.Flush(now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if n := len(glob(t, dir)); n > 1 {
		t.Errorf("%d files are left", n)
	}
	if bytes, unsettled := l.Size(); unsettled != 0 || bytes > 400 {
		t.Errorf("%d bytes, %d unsettled", bytes, unsettled)
	}
}

// TestAnOldEntryDoesntHoldTheOthers lets one entry stay unsettled while many come and go.
func TestAnOldEntryDoesntHoldTheOthers(t *testing.T) {
	dir := t.TempDir()
	o := Options{Dir: dir, SegmentBytes: 1000, MaxBytes: 10_000, Keep: time.Nanosecond}
	l, _ := open(t, o)
	old := add(t, l, epoch, "old")
	now := epoch
	for range 2000 {
		now = now.Add(time.Second)
		l.Settle(add(t, l, now, "an entry that comes and goes"))
		if err := l.Flush(now); err != nil {
			t.Fatal(err)
		}
	}
	if bytes, unsettled := l.Size(); bytes > o.MaxBytes || unsettled != 1 {
		t.Errorf("%d bytes, %d unsettled", bytes, unsettled)
	}
	kill(t, l)
	l, entries := open(t, o)
	if len(entries) == 0 || entries[0].Number != old || entries[0].Settled || string(entries[0].Payload) != "old" {
		t.Fatalf("%+v", entries)
	}
	for _, e := range entries { // the last one's settling may not have been written down
		l.Settle(e.Number)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, entries = open(t, o); slices.ContainsFunc(entries, func(e Entry) bool { return !e.Settled }) {
		t.Errorf("settled entries are back: %s", told(entries))
	}
}

func TestFull(t *testing.T) {
	l, _ := open(t, Options{Dir: t.TempDir(), MaxBytes: 1000, SegmentBytes: 100, Keep: time.Nanosecond})
	var numbers []uint64
	var err error
	for err == nil {
		var n uint64
		if n, err = l.Append(epoch, Addition{Payload: []byte("stays")}); err == nil {
			numbers = append(numbers, n)
		}
		if len(numbers) > 100 {
			t.Fatal("it never fills up")
		}
	}
	if !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	l.Settle(numbers...)
	if err := l.Flush(epoch.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	add(t, l, epoch, "room again")
}

func TestOneProcessAFolder(t *testing.T) {
	dir := t.TempDir()
	l, _ := open(t, Options{Dir: dir})
	if _, err := Open(Options{Dir: dir, Instance: "one"}); !errors.Is(err, ErrLocked) {
		t.Fatalf("a second process gets %v", err)
	}
	add(t, l, epoch, "one's")
	two, entries := open(t, Options{Dir: dir, Instance: "two"})
	if len(entries) != 0 {
		t.Errorf("an instance takes over what another has locked: %s", told(entries))
	}
	kill(t, l)
	kill(t, two)
	two, entries = open(t, Options{Dir: dir, Instance: "two"})
	if told(entries) != "one's" {
		t.Errorf("of an orphan's folder it takes over %q", told(entries))
	}
	if _, err := os.Stat(filepath.Join(dir, "one")); !os.IsNotExist(err) {
		t.Errorf("the orphan's folder is still there: %v", err)
	}
	kill(t, two)
	if _, entries = open(t, Options{Dir: dir, Instance: "two"}); told(entries) != "one's" {
		t.Errorf("after another kill it has %q", told(entries))
	}
}

func TestAnotherFormatIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "one"), 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "one", "00000000000000000001.log")
	if err := os.WriteFile(path, []byte(magic+"\x00\x00\x00\x02rest"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: dir, Instance: "one"}); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), path) {
		t.Errorf("%v", err)
	}
	if b, err := os.ReadFile(path); err != nil || !strings.HasSuffix(string(b), "rest") {
		t.Errorf("%q, %v", b, err)
	}
}

// TestAdoption takes over what has itself been taken over, under numbers of its own, with what was settled in it. An
// instance settles the first entry that it finds, and the first of three of its own.
func TestAdoption(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ instance, found string }{
		{"a", ""},
		{"b", "(a1) a2 a3"},
		{"c", "(a1) (a2) a3 (b1) b2 b3"},
		{"d", "(a1) (a2) (a3) (b1) b2 b3 (c1) c2 c3"},
		{"d", "(a1) (a2) (a3) (b1) (b2) b3 (c1) c2 c3 (d1) d2 d3"},
	} {
		l, entries := open(t, Options{Dir: dir, Instance: c.instance, SegmentBytes: 60})
		if got := told(entries); got != c.found {
			t.Errorf("%s finds %s, want %s", c.instance, got, c.found)
		}
		if i := slices.IndexFunc(entries, func(e Entry) bool { return !e.Settled }); i >= 0 {
			l.Settle(entries[i].Number)
		}
		for _, e := range entries {
			if b, err := l.Read(e.Number); err == nil && string(b) != string(e.Payload) || err != nil && !errors.Is(err, ErrDamaged) {
				t.Errorf("%s reads %q of entry %d, %v", c.instance, b, e.Number, err)
			}
		}
		l.Settle(add(t, l, epoch, c.instance+"1", c.instance+"2", c.instance+"3"))
		if err := l.Flush(epoch); err != nil {
			t.Fatal(err)
		}
		kill(t, l)
		if folders, err := os.ReadDir(dir); err != nil || len(folders) != 1 {
			t.Errorf("after %s: %v, %v", c.instance, folders, err)
		}
	}
	// Emptied folders go.
	l, entries := open(t, Options{Dir: dir, Instance: "d"})
	for _, e := range entries {
		l.Settle(e.Number)
	}
	add(t, l, epoch, "the last")
	if err := l.Flush(epoch.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "d", adopted+"*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestWhatCantBeAdopted is no reason not to start.
func TestWhatCantBeAdopted(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "newer"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{lockName: "", "00000000000000000001.log": magic + "\x00\x00\x00\x09rest"} {
		if err := os.WriteFile(filepath.Join(dir, "newer", name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, entries := open(t, Options{Dir: dir, Instance: "one"})
	if len(entries) > 0 {
		t.Errorf("it has %s", told(entries))
	}
	add(t, l, epoch, "works")
	if _, err := os.Stat(filepath.Join(dir, "newer", "00000000000000000001.log")); err != nil {
		t.Error(err)
	}
}
