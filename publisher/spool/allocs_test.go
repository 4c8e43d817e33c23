//go:build !race

// The race detector adds allocations of its own.

package spool

import "testing"

// TestAppendAllocations: a write allocates the list of its entries' places, whatever its size. What the index takes, and the
// marks of settled entries, grow by doubling: less than one allocation a write.
func TestAppendAllocations(t *testing.T) {
	for _, batches := range []int{1, 17} {
		appendAll := appending(t, hotLog(t), hotAdditions(batches))
		if n := testing.AllocsPerRun(200, appendAll); n > 1 {
			t.Errorf("writing %d batches allocates %v times, want 1 at most", batches, n)
		}
	}
}
