//go:build !race

// The race detector adds allocations of its own.

package spool

import "testing"

// TestAppendAllocations: a write allocates the list of its entries' places, unless that is short. What the index takes, and
// the marks of settled entries, grow by doubling, and files are begun now and then: less than one allocation a write.
func TestAppendAllocations(t *testing.T) {
	for batches, want := range map[int]float64{1: 0, 17: 1} {
		appendAll := appending(t, hotLog(t), hotAdditions(batches))
		if n := testing.AllocsPerRun(200, appendAll); n > want {
			t.Errorf("writing %d batches allocates %v times, want %v at most", batches, n, want)
		}
	}
}
