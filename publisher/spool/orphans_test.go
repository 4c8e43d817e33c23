package spool

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestOrphanThatCantBeTakenOver stays as it is, and keeps nobody from starting.
func TestOrphanThatCantBeTakenOver(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, dir string, o *Options){
		"another format": func(t *testing.T, dir string, _ *Options) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(dir, "0.log"), []byte(magic+"\x00\x00\x00\x09"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"a lock that can't be had": func(t *testing.T, dir string, _ *Options) {
			t.Helper()
			lock := filepath.Join(dir, lockName)
			if err := errors.Join(os.Remove(lock), os.Mkdir(lock, 0o700)); err != nil {
				t.Fatal(err)
			}
		},
		"no room": func(_ *testing.T, _ string, o *Options) { o.MaxBytes = 200 },
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{Dir: t.TempDir(), Instance: "two"}
			l, _ := open(t, Options{Dir: o.Dir})
			add(t, l, epoch, "one's", strings.Repeat("and more of it ", 10))
			kill(t, l)
			folder := filepath.Join(o.Dir, "one")
			spoil(t, folder, &o)
			before := state(t, folder)
			for range 2 { // not more of it with each start
				two, entries := open(t, o)
				if slices.ContainsFunc(entries, func(e Entry) bool { return !e.Settled }) || two.Orphans() != 1 {
					t.Errorf("it begins with %q, and %d orphans", told(entries), two.Orphans())
				}
				if _, unsettled := two.Size(); unsettled != 0 {
					t.Errorf("%d unsettled", unsettled)
				}
				kill(t, two)
			}
			if state(t, folder) != before {
				t.Error("the orphan's folder was changed")
			}
		})
	}
}

func TestAlone(t *testing.T) {
	dir := t.TempDir()
	l, _ := open(t, Options{Dir: dir})
	add(t, l, epoch, "one's")
	kill(t, l)
	two, entries := open(t, Options{Dir: dir, Instance: "two", Alone: true})
	if len(entries) != 0 {
		t.Errorf("it takes over %q", told(entries))
	}
	kill(t, two)
	if err := Remove(dir, "one"); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("%v", err)
	}
}
