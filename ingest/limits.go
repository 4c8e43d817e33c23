package ingest

import "sync/atomic"

// limits counts what is being worked on. It never blocks: whoever doesn't fit
// is refused at once, because a sender that waits in a queue here can't tell
// that from a failure.
type limits struct {
	maxRequests, maxBytes int64

	requests atomic.Int64 // webhooks between their first step and their outcome
	bytes    atomic.Int64 // capacity of the buffers that hold their bodies
	discards atomic.Int64 // refused bodies being read away, at most maxRequests too
}

// enter takes a place among the requests; leave gives it back.
func (l *limits) enter() bool { return take(&l.requests, 1, l.maxRequests) }
func (l *limits) leave()      { l.requests.Add(-1) }

// reserve takes n bytes; release gives them back.
func (l *limits) reserve(n int64) bool { return take(&l.bytes, n, l.maxBytes) }
func (l *limits) release(n int64)      { l.bytes.Add(-n) }

// enterDiscard takes a place among the discards; leaveDiscard gives it back.
func (l *limits) enterDiscard() bool { return take(&l.discards, 1, l.maxRequests) }
func (l *limits) leaveDiscard()      { l.discards.Add(-1) }

// take adds n unless that would exceed limit. Callers that race near the limit
// may both be refused where one would fit, never both be let in.
func take(counter *atomic.Int64, n, limit int64) bool {
	if counter.Add(n) <= limit {
		return true
	}
	counter.Add(-n)
	return false
}
