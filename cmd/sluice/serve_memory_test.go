package main

import (
	"math"
	"runtime/debug"
	"testing"
)

// TestLimitMemory: the cap of bodies in flight is the process's, unless GOMEMLIMIT says otherwise.
func TestLimitMemory(t *testing.T) {
	before := debug.SetMemoryLimit(math.MaxInt64)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	limitMemory(1 << 30)
	if got := debug.SetMemoryLimit(-1); got != 1<<30+memoryBeside {
		t.Errorf("limit %d", got)
	}
	debug.SetMemoryLimit(5 << 20)
	limitMemory(1 << 30)
	if got := debug.SetMemoryLimit(-1); got != 5<<20 {
		t.Errorf("a limit that was set became %d", got)
	}
}
