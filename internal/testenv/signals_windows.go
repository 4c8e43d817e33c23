package testenv

import "syscall"

// Windows can't freeze a process by a signal: sending either is an error there, and the test fails by name.
const (
	sigStop = syscall.Signal(0x13)
	sigCont = syscall.Signal(0x12)
)

// exeSuffix ends an executable's file name.
const exeSuffix = ".exe"
