package testenv

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// dieWithParent has the kernel kill the process when the thread that starts it ends.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// stopped reports whether no thread of the process runs (proc(5): state T).
func stopped(pid int) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return false
	}
	for _, path := range threads {
		stat, err := os.ReadFile(path)
		// The name before the state is in parentheses and may hold some itself.
		if end := bytes.LastIndexByte(stat, ')'); err == nil && !bytes.HasPrefix(stat[end+1:], []byte(" T")) {
			return false
		}
	}
	return len(threads) > 0
}
