//go:build !race

// Under the race detector sync.Pool drops items at random.

package idempotent

import "testing"

// TestEncodeAllocatesNothing: batches are encoded into the buffers of those that Kafka has.
func TestEncodeAllocatesNothing(t *testing.T) {
	for _, records := range []int{1, 25, 500} {
		if n := testing.AllocsPerRun(200, encoding(records)); n > 0 {
			t.Errorf("encoding %d records allocates %v times, want 0", records, n)
		}
	}
}
