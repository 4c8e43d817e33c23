//go:build !race

// Under the race detector sync.Pool drops items at random.

package signature

import (
	"testing"
	"time"
)

func TestVerifyAllocatesNothing(t *testing.T) {
	v := mustNew(t, time.Minute, Key{"eu", testKey}, Key{"us", secondKey})
	body := []byte(eventBody)
	n := testing.AllocsPerRun(200, func() {
		if _, err := v.Verify("1767225600", eventSignatureSecond, body, signedAt); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("Verify allocates %v times, want 0", n)
	}
}
