package testenv

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestSmallDisk(t *testing.T) {
	d := SmallDisk(t, 4<<20)
	write := func(name string) error {
		return os.WriteFile(filepath.Join(d.Dir(), name), make([]byte, 64<<10), 0o600)
	}
	if err := write("before"); err != nil {
		t.Fatal(err)
	}
	d.Fill(t)
	if err := write("full"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("on a full disk: %v", err)
	}
	d.Free(t)
	if err := write("after"); err != nil {
		t.Errorf("on one that was freed: %v", err)
	}
}

func TestSlowSyncs(t *testing.T) {
	const delay = 300 * time.Millisecond
	slow := append(SlowSyncs(t, delay), "sync", "-d", t.TempDir())
	began := time.Now()
	if code := Process(t, slow[0], os.Environ(), slow[1:]...).Wait(t, 20*time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if took := time.Since(began); took < delay {
		t.Errorf("a slow sync took %v", took)
	}
}
