package spool

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// What the model has found, as short as it can be.

// TestANumberIsGivenOnce restarts where only the marks of what was settled are left.
func TestANumberIsGivenOnce(t *testing.T) {
	o := Options{Dir: t.TempDir(), SegmentBytes: 60, Keep: time.Nanosecond}
	l, _ := open(t, o)
	l.Settle(add(t, l, epoch, "settled, and its file is full"))
	if err := l.Flush(epoch.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	kill(t, l)
	l, _ = open(t, o)
	add(t, l, epoch, "new")
	kill(t, l)
	if _, entries := open(t, o); told(entries) != "new" {
		t.Errorf("an entry is settled by the mark of an older one: %s", told(entries))
	}
}

func TestWhatWasDroppedStaysSoWhenItIsTakenOver(t *testing.T) {
	dir := t.TempDir()
	l, _ := open(t, Options{Dir: dir})
	first := add(t, l, epoch, "kept", "dropped")
	if err := l.Drop(first + 1); err != nil {
		t.Fatal(err)
	}
	kill(t, l)
	for range 2 {
		l, entries := open(t, Options{Dir: dir, Instance: "two"})
		if told(entries) != "kept (dropped)" {
			t.Errorf("%s", told(entries))
		}
		kill(t, l)
	}
}

// TestFullFoldersAreTakenOver starts on two folders that are full: more than one may be.
func TestFullFoldersAreTakenOver(t *testing.T) {
	o := Options{Dir: t.TempDir(), MaxBytes: 100}
	for _, o.Instance = range []string{"one", "two"} {
		other := o
		other.Dir = t.TempDir()
		l, _ := open(t, other)
		add(t, l, epoch, "an entry that takes more than a half")
		kill(t, l)
		if err := os.Rename(filepath.Join(other.Dir, o.Instance), filepath.Join(o.Dir, o.Instance)); err != nil {
			t.Fatal(err)
		}
	}
	o.Instance = "three"
	l, entries := open(t, o)
	if len(entries) != 2 {
		t.Fatalf("%s", told(entries))
	}
	if _, err := l.Append(epoch, Addition{Payload: []byte("more")}); !errors.Is(err, ErrFull) {
		t.Errorf("beyond the bound: %v", err)
	}
}

// TestOneFailedWriteDoesntUnsettleTheDisk goes on after a disk was full for a moment.
func TestOneFailedWriteDoesntUnsettleTheDisk(t *testing.T) {
	d := &disk{}
	l, _ := open(t, Options{Dir: t.TempDir(), open: d.open})
	add(t, l, epoch, "synced")
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	d.full = true
	if _, err := l.Append(epoch, Addition{Payload: []byte("refused")}); err == nil {
		t.Fatal("a full disk takes it")
	}
	d.full = false
	add(t, l, epoch, "after")
	if err := l.Sync(); err != nil {
		t.Errorf("with everything on disk: %v", err)
	}
}

// TestOneFailedSyncLeavesWhatWasSynced has only what a failed sync leaves in doubt written anew.
func TestOneFailedSyncLeavesWhatWasSynced(t *testing.T) {
	dir, d := t.TempDir(), &disk{}
	l, _ := open(t, Options{Dir: dir, open: d.open, retry: time.Nanosecond})
	certain := add(t, l, epoch, "certain")
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	unsure := add(t, l, epoch, "unsure")
	d.rotten = true
	if err := l.Sync(); err == nil {
		t.Fatal("a sync that fails returns nil")
	}
	d.rotten = false
	if err := l.Sync(); err != nil {
		t.Errorf("on a disk that works again: %v", err)
	}
	first, err := os.ReadFile(glob(t, dir)[0])
	if err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(glob(t, dir)[1])
	if err != nil || bytes.Contains(second, []byte("certain")) || !bytes.Contains(second, []byte("unsure")) {
		t.Errorf("%q, then %q, %v", first, second, err)
	}
	for n, want := range map[uint64]string{certain: "certain", unsure: "unsure"} {
		if b, err := l.Read(n); err != nil || string(b) != want {
			t.Errorf("%q, %v", b, err)
		}
	}
}

// TestAFileGoesOnlyWhenItsCopiesAreSynced sweeps on a disk that doesn't sync.
func TestAFileGoesOnlyWhenItsCopiesAreSynced(t *testing.T) {
	dir, d := t.TempDir(), &disk{}
	l, _ := open(t, Options{Dir: dir, open: d.open, SegmentBytes: 700, MaxBytes: 2500, Keep: time.Nanosecond, retry: time.Nanosecond})
	for range 40 {
		if n := add(t, l, epoch, "short"); n > 1 {
			l.Settle(n)
		}
	}
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	before := glob(t, dir)[0]
	d.rotten = true
	for range 3 {
		_ = l.Flush(epoch.Add(time.Hour))
	}
	if !slices.Contains(glob(t, dir), before) {
		t.Error("the only synced copy of an entry is deleted")
	}
	d.rotten = false
	if err := l.Flush(epoch.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(glob(t, dir), before) {
		t.Error("the file stays though the disk syncs again")
	}
}

func TestAHeaderThatWasNeverWritten(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "00000000000000000001.log", make([]byte, 100))
	write(t, dir, "00000000000000000002.log", append(header()[:5], make([]byte, 100)...))
	l, _ := open(t, Options{Dir: dir})
	add(t, l, epoch, "after")
	kill(t, l)
	if _, entries := open(t, Options{Dir: dir}); told(entries) != "after" {
		t.Errorf("%s", told(entries))
	}
}

func write(t *testing.T, dir, name string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "one"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "one", name), b, 0o600); err != nil {
		t.Fatal(err)
	}
}
