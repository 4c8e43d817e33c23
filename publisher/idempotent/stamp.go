package idempotent

import "fmt"

// Stamp names the producer id, epoch and first sequence that the batch was sent under, or was about to be; "" if it is to
// be sent under a new one.
func (b *Restored) Stamp() string {
	if b.stamp == unstamped {
		return ""
	}
	return fmt.Sprintf("producer %d epoch %d sequence %d", b.stamp.producerID, b.stamp.epoch, b.stamp.sequence)
}
