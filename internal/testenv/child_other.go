//go:build !linux

package testenv

import "os/exec"

// dieWithParent does nothing: only Linux has a parent-death signal. Elsewhere a test binary that is killed leaves its
// servers behind.
func dieWithParent(*exec.Cmd) {}

// stopped takes the process's word for it.
func stopped(int) bool { return true }
