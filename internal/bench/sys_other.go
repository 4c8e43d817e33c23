//go:build !linux

package main

import (
	"math"
	"os/exec"
	"syscall"
	"time"
)

// dieWithParent does nothing where the system has no parent-death signal.
func dieWithParent(*exec.Cmd) {}

// sleepUntil sleeps as exactly as Go's timers do.
func sleepUntil(t time.Time) { time.Sleep(time.Until(t)) }

// profileSignal begins and ends a profile.
const profileSignal = syscall.SIGUSR1

// freeDisk is unknown.
func freeDisk(string) (int64, error) { return math.MaxInt64, nil }
