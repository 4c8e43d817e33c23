package testenv

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// SmallDisk puts a broker's data on a disk of its own, 64 MB large, and starts the broker again. The test is skipped, or
// fails, where that isn't allowed (see Need).
func (b *Broker) SmallDisk(t testing.TB) {
	t.Helper()
	Need(t, ServerTmpfs)
	b.Kill(t)
	former := b.DataDir() + ".former"
	err := os.Rename(b.DataDir(), former)
	if err == nil {
		err = os.Mkdir(b.DataDir(), 0o700)
	}
	if err == nil {
		err = mountTmpfs(b.DataDir(), 64<<20)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := asRoot("umount", "--lazy", b.DataDir()); err != nil {
			t.Error(err)
		}
	})
	if err := os.CopyFS(b.DataDir(), os.DirFS(former)); err != nil {
		t.Fatal(err)
	}
	b.Restart(t)
}

// FillDisk takes what room there is on the disk of the broker's data; free gives it back.
func (b *Broker) FillDisk(t testing.TB) (free func()) {
	t.Helper()
	name := filepath.Join(b.DataDir(), "filler.tmp")
	f, err := os.Create(name)
	if err == nil {
		_, err = io.Copy(f, zeros{})
		err = errors.Join(err, f.Close())
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling a disk: %v", err)
	}
	return func() {
		t.Helper()
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// zeros has no end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
