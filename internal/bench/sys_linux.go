package main

import (
	"fmt"
	"os/exec"
	"syscall"
	"time"
)

// dieWithParent has the kernel kill the process when the thread that starts it ends.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// sleepUntil sleeps in the kernel, which wakes within some 60 µs. Go's timers round up to a millisecond when nothing
// else runs, and that would be a part of every latency measured.
func sleepUntil(t time.Time) {
	for left := time.Until(t); left > 0; left = time.Until(t) {
		request := syscall.NsecToTimespec(left.Nanoseconds())
		_ = syscall.Nanosleep(&request, nil) // a signal may end it early
	}
}

// profileSignal begins and ends a profile.
const profileSignal = syscall.SIGUSR1

// freeDisk is how many bytes an ordinary user can write to the disk that dir is on.
func freeDisk(dir string) (int64, error) {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(dir, &disk); err != nil {
		return 0, fmt.Errorf("asking for the room on disk: %w", err)
	}
	return int64(disk.Bavail) * disk.Bsize, nil
}
