package ingest

import (
	"fmt"
	"sync/atomic"
)

// heldClaim is a claim on its way through the handler to the publisher. It
// makes sure that the claim is settled once, however either of them ends.
type heldClaim struct {
	Claim
	settled atomic.Bool

	// Written by the handler's goroutine only.
	handedOver bool // Publish has been called
	takenOver  bool // Publish has returned, so settling is the publisher's promise
}

// judge reads the verdict. After an error the claim is abandoned.
func (c *heldClaim) judge(d *Delivery) (duplicate bool, err error) {
	switch verdict := c.Verdict(); verdict {
	case Duplicate, DuplicateDeadLetter:
		c.settled.Store(true) // there is nothing to settle
		return true, nil
	case Won, Skipped:
		d.DedupeSkipped = verdict == Skipped
		return false, nil
	default:
		return false, fmt.Errorf("%w: verdict %d isn't one", errClaimFailed, verdict)
	}
}

// Settle passes the first outcome on and ignores the rest.
func (c *heldClaim) Settle(o Outcome) {
	if c.settled.CompareAndSwap(false, true) {
		c.Claim.Settle(o)
	}
}

// abandon settles what the publisher has not taken over. It runs deferred, on
// panics too: without it the sender's retries would wait for the lease.
func (c *heldClaim) abandon() {
	switch {
	case c.takenOver:
	case c.handedOver:
		c.Settle(Unknown) // Publish panicked; nobody knows how far it came
	default:
		c.Settle(NotKept)
	}
}
