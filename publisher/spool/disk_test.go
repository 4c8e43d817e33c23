package spool

import (
	"errors"
	"os"
	"testing"
	"time"
)

// flaky is a file whose writes and syncs fail on demand.
type flaky struct {
	file
	disk *disk
}

type disk struct {
	full, rotten bool
	files, syncs int
}

var errDisk = errors.New("no space left on device")

func (d *disk) open(name string) (file, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	d.files++
	return &flaky{f, d}, err
}

func (f *flaky) Write(b []byte) (int, error) {
	if f.disk.full {
		n, _ := f.file.Write(b[:len(b)/2])
		return n, errDisk
	}
	return f.file.Write(b)
}

func (f *flaky) Sync() error {
	f.disk.syncs++
	if f.disk.rotten {
		return errDisk
	}
	return f.file.Sync()
}

// TestSyncIsShared lets others append while one waits for a sync that was begun after its call: it needs no further one.
func TestSyncIsShared(t *testing.T) {
	d := &disk{}
	l, _ := open(t, Options{Dir: t.TempDir(), open: d.open})
	sync := func(err error, want int) {
		t.Helper()
		if err != nil || d.syncs != want {
			t.Errorf("%d syncs, want %d; %v", d.syncs, want, err)
		}
	}
	add(t, l, epoch, "one's")
	waiting := l.begun.Load()
	sync(l.Sync(), 1)
	add(t, l, epoch, "another's")
	sync(l.syncAfter(waiting), 1)
	sync(l.Sync(), 2)
	add(t, l, epoch, "a third's")
	waiting = l.begun.Load()
	d.rotten = true
	if err := l.Sync(); !errors.Is(err, errDisk) {
		t.Errorf("%v", err)
	}
	if err := l.syncAfter(waiting); err == nil {
		t.Error("a sync that failed counts")
	}
}

func TestDiskFull(t *testing.T) {
	dir, d := t.TempDir(), &disk{}
	l, _ := open(t, Options{Dir: dir, open: d.open})
	add(t, l, epoch, "before")
	d.full = true
	// Half of what is written arrives: more than the first entry, which mustn't come back either.
	if _, err := l.Append(epoch, Addition{Payload: []byte("lost")}, Addition{Payload: []byte("lost too")}, Addition{Payload: []byte("and this")}); !errors.Is(err, errDisk) {
		t.Fatalf("a write that fails gives %v", err)
	}
	d.full = false
	add(t, l, epoch, "after")
	if d.files != 2 {
		t.Errorf("%d files were written to, want another after the failure", d.files)
	}
	kill(t, l)
	if _, entries := open(t, Options{Dir: dir}); told(entries) != "before after" {
		t.Errorf("it has %q", told(entries))
	}
}

// TestSyncFails: what couldn't be synced once is on disk only when it has been written anew.
func TestSyncFails(t *testing.T) {
	dir, d := t.TempDir(), &disk{}
	l, _ := open(t, Options{Dir: dir, open: d.open, retry: time.Nanosecond})
	add(t, l, epoch, "uncertain")
	failed := glob(t, dir)[0]
	d.rotten = true
	for range 3 {
		if err := l.Sync(); !errors.Is(err, errDisk) {
			t.Fatalf("a sync that fails gives %v", err)
		}
	}
	d.rotten = false
	if err := l.Sync(); err != nil {
		t.Errorf("the disk is well again: %v", err)
	}
	add(t, l, epoch, "certain")
	if err := l.Sync(); err != nil {
		t.Error(err)
	}
	if b, err := l.Read(1); err != nil || string(b) != "uncertain" {
		t.Errorf("%q, %v", b, err)
	}
	for _, gone := range []string{"", failed} { // what the first file holds may be lost
		kill(t, l)
		if gone != "" {
			if err := os.Remove(gone); err != nil {
				t.Fatal(err)
			}
		}
		var entries []Entry
		if l, entries = open(t, Options{Dir: dir}); told(entries) != "uncertain certain" {
			t.Errorf("without %q it has %q", gone, told(entries))
		}
	}
}

// TestFailingDiskLeavesNoFiles: each try leaves nothing behind, and none is made for a moment after another.
func TestFailingDiskLeavesNoFiles(t *testing.T) {
	dir, d := t.TempDir(), &disk{}
	l, _ := open(t, Options{Dir: dir, open: d.open, retry: time.Hour})
	n := add(t, l, epoch, "before")
	d.full = true
	for range 20 {
		if _, err := l.Append(epoch, Addition{Payload: []byte("no room for this")}); !errors.Is(err, errDisk) {
			t.Fatal(err)
		}
	}
	if got := glob(t, dir); len(got) != 1 {
		t.Errorf("it has left %v", got)
	}
	if err := l.Sync(); !errors.Is(err, errDisk) {
		t.Error(err)
	}
	made := d.files
	if err := l.Sync(); !errors.Is(err, errFailed) || d.files != made {
		t.Errorf("%v, %d files tried", err, d.files-made)
	}
	d.full = false
	l.Settle(n)
	add(t, l, epoch, "after")
	kill(t, l)
	if _, entries := open(t, Options{Dir: dir}); told(entries) != "(before) after" {
		t.Errorf("it has %q", told(entries))
	}
}
