package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Disk is a small file system in memory, which can be filled up. Its methods are for one goroutine at a time.
type Disk struct {
	dir     string
	ballast *os.File
	stop    context.CancelFunc // nil unless it is being kept full
	kept    chan struct{}      // closed when nothing fills it any more
}

// SmallDisk mounts a file system of that many bytes for this test. The test is skipped, or fails, where that isn't
// possible (see Need).
func SmallDisk(t testing.TB, bytes int) *Disk {
	t.Helper()
	Need(t, ServerTmpfs)
	d := &Disk{dir: t.TempDir()}
	if err := mountTmpfs(d.dir, bytes); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.Free(t)
		if err := asRoot("umount", d.dir); err != nil {
			t.Error(err)
		}
	})
	return d
}

// Dir is where it is mounted.
func (d *Disk) Dir() string { return d.dir }

// Fill takes all the room that there is, and what is deleted later as well, until Free.
func (d *Disk) Fill(t testing.TB) {
	t.Helper()
	var err error
	if d.ballast, err = os.Create(filepath.Join(d.dir, ".ballast")); err != nil {
		t.Fatal(err)
	}
	if err := d.fill(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	d.stop, d.kept = stop, make(chan struct{})
	go func() {
		defer close(d.kept)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if err := d.fill(); err != nil {
					t.Error(err)
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
}

// fill writes until nothing fits.
func (d *Disk) fill() error {
	page := make([]byte, os.Getpagesize())
	for {
		if _, err := d.ballast.Write(page); errors.Is(err, syscall.ENOSPC) {
			return nil
		} else if err != nil {
			return fmt.Errorf("filling a disk: %w", err)
		}
	}
}

// Free gives back what Fill has taken, if anything.
func (d *Disk) Free(t testing.TB) {
	t.Helper()
	if d.stop == nil {
		return
	}
	d.stop()
	<-d.kept
	d.stop = nil
	if err := errors.Join(d.ballast.Close(), os.Remove(d.ballast.Name())); err != nil {
		t.Errorf("freeing a disk: %v", err)
	}
}

// mountTmpfs belongs to the user who runs the tests.
func mountTmpfs(dir string, bytes int) error {
	return asRoot("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d,uid=%d,gid=%d,mode=700", bytes, os.Getuid(), os.Getgid()), "tmpfs", dir)
}

// asRoot runs a command as root, through sudo if need be and if that asks for no password.
func asRoot(command ...string) error {
	if os.Geteuid() != 0 {
		command = append([]string{"sudo", "-n"}, command...)
	}
	out, err := exec.CommandContext(context.Background(), command[0], command[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%v: %w: %s", command, err, lastLines(string(out), 2))
	}
	return nil
}

// tryTmpfs tells why no file system can be mounted here.
func tryTmpfs() error {
	dir, err := os.MkdirTemp("", "sluice-testenv-mount-")
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	defer func() { _ = os.Remove(dir) }() // it is empty
	if err := mountTmpfs(dir, 1<<20); err != nil {
		return fmt.Errorf("%w; it takes root, or sudo without a password", err)
	}
	return asRoot("umount", dir)
}

// SlowSyncs is the beginning of a command line that makes every sync of the program behind it take that much longer, as
// on a slow disk. The process started is the program itself: strace watches from outside. The test is skipped, or fails,
// where there is no strace (see Need).
func SlowSyncs(t testing.TB, delay time.Duration) []string {
	t.Helper()
	Need(t, ServerStrace)
	path, err := exec.LookPath("strace")
	if err != nil {
		t.Fatal(err)
	}
	return append([]string{path}, slowSyncs(delay)...)
}

// slowSyncs is strace's arguments. With --seccomp-bpf only syncs are stopped at, and with -D the tracer is the
// grandchild.
func slowSyncs(delay time.Duration) []string {
	return []string{
		"-D", "-f", "--seccomp-bpf", "-qq", "-o", os.DevNull, "-e", "trace=fsync,fdatasync",
		"-e", "inject=fsync,fdatasync:delay_exit=" + strconv.FormatInt(delay.Microseconds(), 10),
	}
}

// tryStrace tells why a process can't be traced here.
func tryStrace() error {
	path, err := exec.LookPath("strace")
	if err != nil {
		return fmt.Errorf("%w; Debian: apt-get install strace", err)
	}
	out, err := exec.CommandContext(context.Background(), path, append(slowSyncs(time.Microsecond), "true")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("tracing a process: %w: %s", err, lastLines(string(out), 2))
	}
	return nil
}
