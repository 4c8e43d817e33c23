//go:build !race

// The race detector adds allocations of its own.

package publisher

import (
	"testing"
	"time"
)

// recordAllocations is what the record of an event costs: the record with its headers, its key, and one string for the values of
// ce_type, ce_source and ce_time. What it takes to encode it is pinned in package idempotent.
const recordAllocations = 3

func TestRecordAllocations(t *testing.T) {
	m, at := hotMessage(t), time.Unix(1767225604, 0)
	if n := testing.AllocsPerRun(500, func() { Record(m, KeyCustomer, at) }); n > recordAllocations {
		t.Errorf("a record costs %v allocations, want %d at most", n, recordAllocations)
	}
}
