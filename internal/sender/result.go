package sender

import (
	"context"
	"errors"
	"net"
	"strconv"
	"time"
)

// Status is what Sluice's answer 200 says, or "".
type Status string

// The statuses.
const (
	StatusPublished    Status = "published"
	StatusDuplicate    Status = "duplicate"
	StatusDeadLettered Status = "dead_lettered"
	StatusSpooled      Status = "spooled"
)

// Answer is how one post ended.
type Answer struct {
	Code   int // of HTTP, 0 if there was no answer
	Status Status
	Err    error // why there was no answer
	Took   time.Duration
}

// Acknowledged reports whether the answer was a 2xx: then the sender forgets the event.
func (a Answer) Acknowledged() bool { return a.Code/100 == 2 }

// What stands in place of a status where there is no answer.
const (
	LabelTimeout    = "timeout"
	LabelConnection = "connection_error"
)

// Label sorts answers: a status, the digits of another HTTP code, [LabelTimeout] or [LabelConnection].
func (a Answer) Label() string { return label(a.Code, a.Status, a.Err) }

func label(code int, status Status, err error) string {
	switch {
	case status != "":
		return string(status)
	case code != 0:
		return strconv.Itoa(code)
	case timedOut(err):
		return LabelTimeout
	}
	return LabelConnection
}

func timedOut(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	netErr, ok := errors.AsType[net.Error](err)
	return ok && netErr.Timeout()
}

// Result is how one event ended. A repeat that is sent later, after the event was acknowledged, isn't part of it.
type Result struct {
	Event        Event
	Acknowledged bool
	// Status, Code and Err are those of the first 2xx, or, without any, of the last answer. Of two answers to posts of the
	// same moment the one that isn't a duplicate counts as first.
	Status Status
	Code   int
	Err    error

	Posts      int
	Duplicates int             // posts answered duplicate
	Latencies  []time.Duration // of each post
	First      time.Time       // the first post began
	Last       time.Time       // the last post ended
}

// add takes in the answer to one more post.
func (r *Result) add(a Answer, now time.Time) {
	r.Posts++
	r.Latencies = append(r.Latencies, a.Took)
	r.Last = now
	if a.Status == StatusDuplicate {
		r.Duplicates++
	}
	if a.Acknowledged() && (!r.Acknowledged || r.Status == StatusDuplicate) || !a.Acknowledged() && !r.Acknowledged {
		r.Status, r.Code, r.Err = a.Status, a.Code, a.Err
	}
	r.Acknowledged = r.Acknowledged || a.Acknowledged()
}

// Label is that of the answer which decided.
func (r *Result) Label() string { return label(r.Code, r.Status, r.Err) }
