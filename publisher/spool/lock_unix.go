//go:build unix

package spool

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// lockFile locks a file for this process, as long as it is open: a lock that a kill ends.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	switch err := lock(f); {
	case errors.Is(err, unix.EWOULDBLOCK):
		return nil, errors.Join(fmt.Errorf("%w: %s", ErrLocked, path), f.Close())
	case err != nil:
		return nil, errors.Join(fmt.Errorf("spool: locking %s: %w", path, err), f.Close())
	}
	// Whoever had it until now may have deleted the folder.
	ours, err := f.Stat()
	if there, serr := os.Stat(path); err != nil || serr != nil || !os.SameFile(ours, there) {
		return nil, errors.Join(fmt.Errorf("%w: %s", ErrLocked, path), err, serr, f.Close())
	}
	return f, nil
}

const (
	lookTries = 50
	lookPause = 5 * time.Millisecond
)

// lock doesn't take isLocked, which has the lock shared for an instant, for a process that has the folder.
func lock(f *os.File) (err error) {
	for range lookTries {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		if shared := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); shared != nil {
			return shared
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_UN); err != nil {
			return err
		}
		<-time.After(lookPause)
	}
	return err
}

// isLocked reports whether a process has locked the file. It writes nothing and needs no right to write.
func isLocked(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, fmt.Errorf("spool: %w", err)
	}
	defer f.Close() //nolint:errcheck // it also ends the lock
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("spool: asking for the lock of %s: %w", path, err)
	}
	return false, nil
}

// syncDir makes the names of new files durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	defer d.Close() //nolint:errcheck // nothing is written
	if err := d.Sync(); err != nil {
		return fmt.Errorf("spool: syncing %s: %w", dir, err)
	}
	return nil
}
