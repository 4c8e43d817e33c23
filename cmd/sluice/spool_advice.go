package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"sluice/config"
	"sluice/publisher/spool"
)

// explainSpool says what to do about a spool that can't be used.
func explainSpool(err error, c *config.Config) error {
	if err == nil {
		return nil
	}
	setting := fmt.Sprintf("--spool-dir (%s)", config.Env("spool-dir"))
	advice := ""
	switch {
	case errors.Is(err, spool.ErrLocked):
		advice = fmt.Sprintf("Another sluice runs as instance %q on this folder. Give each a name of its own with --instance (%s), or stop the other one", c.Instance, config.Env("instance"))
	case errors.Is(err, spool.ErrFormat):
		advice = "What is in it was acknowledged and may be nowhere else. 'sluice spool drain' of the version that wrote it sends it. To start without, move the folder away and keep it"
	case errors.Is(err, syscall.EROFS):
		advice = fmt.Sprintf("The file system is read-only: mount it with the right to write, or name another folder with %s", setting)
	case errors.Is(err, fs.ErrPermission):
		advice = fmt.Sprintf("Sluice runs as user %d, who has to own %s and what is in it, with mode 0700: as root, chown -R %[1]d %[2]s", os.Getuid(), filepath.Clean(c.SpoolDir))
	case errors.Is(err, syscall.ENOTDIR):
		advice = "There is a file where a folder should be: move it away, or name another folder with " + setting
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		advice = "The disk is full: make room on it, or name a folder on another disk with " + setting
	case errors.Is(err, fs.ErrNotExist):
		advice = fmt.Sprintf("Is the volume mounted? %s has to be that of the instances", setting)
	default:
		return err
	}
	return fmt.Errorf("%w\n%s", err, advice)
}
