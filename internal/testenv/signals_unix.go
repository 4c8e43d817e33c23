//go:build unix

package testenv

import "syscall"

// The signals that freeze a process and let it go on.
const (
	sigStop = syscall.SIGSTOP
	sigCont = syscall.SIGCONT
)

// exeSuffix ends an executable's file name.
const exeSuffix = ""
