package spool

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	dto "github.com/prometheus/client_model/go"
)

// TestOrphanThatCantBeTakenOver stays as it is, and keeps nobody from starting.
func TestOrphanThatCantBeTakenOver(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"another format": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "0.log"), []byte(magic+"\x00\x00\x00\x09"), 0o600)
		},
		"a lock that can't be had": func(dir string) error {
			lock := filepath.Join(dir, lockName)
			return errors.Join(os.Remove(lock), os.Mkdir(lock, 0o700))
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{Dir: t.TempDir(), Instance: "two"}
			l, _ := open(t, Options{Dir: o.Dir})
			add(t, l, epoch, "one's")
			kill(t, l)
			folder := filepath.Join(o.Dir, "one")
			if err := spoil(folder); err != nil {
				t.Fatal(err)
			}
			before := state(t, folder)
			two, entries := open(t, o)
			var faults dto.Metric
			if err := two.metrics.faults.WithLabelValues(faultAdopt).Write(&faults); err != nil {
				t.Fatal(err)
			}
			if len(entries) != 0 || faults.GetCounter().GetValue() != 1 {
				t.Errorf("it begins with %q, and %v", told(entries), &faults)
			}
			if state(t, folder) != before {
				t.Error("the orphan's folder was changed")
			}
		})
	}
}

// TestAnOrphanWithoutALock is taken over as well: it may come from a backup.
func TestAnOrphanWithoutALock(t *testing.T) {
	dir := t.TempDir()
	l, _ := open(t, Options{Dir: dir})
	add(t, l, epoch, "one's")
	kill(t, l)
	if err := os.Remove(filepath.Join(dir, "one", lockName)); err != nil {
		t.Fatal(err)
	}
	if _, entries := open(t, Options{Dir: dir, Instance: "two"}); told(entries) != "one's" {
		t.Errorf("it begins with %q", told(entries))
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

// TestInspectTheAdopted tells what was another instance's, and another's before that, under its numbers here.
func TestInspectTheAdopted(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"one", "two", "three"} {
		l, _ := open(t, Options{Dir: dir, Instance: name})
		n := add(t, l, epoch, name+"-a", name+"-b")
		if err := l.Drop(n); err != nil {
			t.Fatal(err)
		}
		kill(t, l)
	}
	l, entries := open(t, Options{Dir: dir, Instance: "three"})
	live := map[uint64]string{}
	for _, e := range entries {
		if !e.Settled {
			live[e.Number] = string(e.Payload)
		}
	}
	if err := l.Drop(entries[len(entries)-1].Number); err != nil {
		t.Fatal(err)
	}
	delete(live, entries[len(entries)-1].Number)
	s := inspect(t, dir, "three")
	if s.Unsettled != len(live) || len(live) != 2 || len(s.Damage) > 0 {
		t.Errorf("%+v, want %v", s, live)
	}
	if gone, err := s.Each(func(e Entry) error {
		if live[e.Number] != string(e.Payload) {
			t.Errorf("entry %d is %q, want %q", e.Number, e.Payload, live[e.Number])
		}
		return nil
	}); gone != 0 || err != nil {
		t.Errorf("%d gone, %v", gone, err)
	}
}
