package sender

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Progress is how far a run has come.
type Progress struct {
	Sent         int64 // events begun
	Acknowledged int64
	GivenUp      int64
	Posts        int64
	Failed       int64 // posts without a 2xx
}

// tally adds up what happens. Its zero value is empty and ready.
type tally struct {
	mu      sync.Mutex // guards everything below
	started time.Time
	now     Progress
	total   Summary
	latency *hdrhistogram.Histogram // microseconds
}

const (
	maxLatency = 10 * time.Minute // beyond any timeout worth setting; longer ones count as that
	precision  = 3                // decimal digits
	maxNamed   = 5                // events named in a Summary
)

func (t *tally) begin(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.started = now
	t.total.Answers = make(map[string]int64)
	t.latency = hdrhistogram.New(1, maxLatency.Microseconds(), precision)
}

// begun counts an event that is about to be posted for the first time.
func (t *tally) begun() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now.Sent++
}

// post counts a post: an event's first, one repeated without need, or else a retry.
func (t *tally) post(a Answer, size int, first, repeated bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.now.Posts++
	t.total.Bytes += int64(size)
	t.total.Answers[a.Label()]++
	switch {
	case repeated:
		t.total.Repeats++
	case !first:
		t.total.Retries++
	}
	if !a.Acknowledged() {
		t.now.Failed++
	}
	if a.Code != 0 || timedOut(a.Err) {
		// The only error is of a value that is out of bounds.
		_ = t.latency.RecordValue(min(max(a.Took, time.Microsecond), maxLatency).Microseconds())
	}
}

// done counts an event's end.
func (t *tally) done(r *Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r.Acknowledged {
		t.now.Acknowledged++
		return
	}
	t.now.GivenUp++
	if len(t.total.Unacknowledged) < maxNamed {
		t.total.Unacknowledged = append(t.total.Unacknowledged, name(&r.Event))
	}
}

// name is the event_id, or the beginning of the body's hash.
func name(e *Event) string {
	if e.ID != "" && fitsHeader(e.ID) {
		return e.ID
	}
	sum := sha256.Sum256(e.Body)
	return "sha256:" + hex.EncodeToString(sum[:8])
}

func (t *tally) progress() Progress {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.now
}

// summary is complete once the last event is done.
func (t *tally) summary(now time.Time) Summary {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.total
	s.Answers = maps.Clone(t.total.Answers)
	s.Events, s.Acknowledged, s.NotAcknowledged, s.Posts = t.now.Sent, t.now.Acknowledged, t.now.Sent-t.now.Acknowledged, t.now.Posts
	s.Seconds = now.Sub(t.started).Seconds()
	if s.Seconds > 0 {
		s.Rate = float64(s.Acknowledged) / s.Seconds
	}
	s.Latency = Latency{
		P50: t.latency.ValueAtPercentile(50), P90: t.latency.ValueAtPercentile(90), P99: t.latency.ValueAtPercentile(99),
		P999: t.latency.ValueAtPercentile(99.9), Max: t.latency.Max(),
	}
	return s
}
