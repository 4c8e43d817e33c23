package main

import (
	"os/exec"
	"testing"
)

// commandOf is a process of the test's that has only the given environment.
func commandOf(t *testing.T, binary string, environ []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env = environ
	return cmd
}
