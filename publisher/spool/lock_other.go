//go:build !unix

package spool

import (
	"errors"
	"os"
)

// lockFile isn't there on this system.
func lockFile(string) (*os.File, error) {
	return nil, errors.New("spool: folders can't be locked on this system")
}

func isLocked(string) (bool, error) { return false, nil }

func syncDir(string) error { return nil }
