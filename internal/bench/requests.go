package main

import (
	"strconv"
	"time"

	"sluice/ingest/signature"
)

// signingKey signs every request.
const signingKey = "bench-signing-key-0001"

// outcome is how a request was answered: an HTTP status code, except that 200 for a published event, which is what
// every answer should be, is published, one that is on disk for now is spooled, and no answer at all is 0.
type outcome uint16

const (
	noAnswer  outcome = 0
	published outcome = 1
	spooled   outcome = 2 // 200 for an event that is kept on disk until Kafka takes it
)

// kept reports whether the answer says that the event is kept.
func (o outcome) kept() bool { return o == published || o == spooled }

// requests are signed HTTP requests made beforehand, so that the time of making them isn't measured. All lie in one
// piece of memory without pointers, which costs the garbage collector nothing.
type requests struct {
	bytes    []byte
	ends     []int     // where each one ends in bytes
	outcomes []outcome // by request
}

// fill replaces the requests by those of the events first to first+n-1, in the memory of the old ones.
func (r *requests) fill(e events, first uint64, n int) {
	r.bytes, r.ends = r.bytes[:0], r.ends[:0]
	if cap(r.outcomes) < n {
		r.outcomes = make([]outcome, n)
	}
	r.outcomes = r.outcomes[:n]
	clear(r.outcomes)
	timestamp := time.Now()
	for i := range n {
		r.bytes = appendRequest(r.bytes, e, first+uint64(i), timestamp)
		r.ends = append(r.ends, len(r.bytes))
	}
}

// appendRequest appends the request of event n, signed at that time.
func appendRequest(b []byte, e events, n uint64, signed time.Time) []byte {
	timestamp := strconv.FormatInt(signed.Unix(), 10)
	body := e.appendBody(nil, n)
	b = append(b, "POST /webhook HTTP/1.1\r\nHost: webhooks.example.net\r\nUser-Agent: Customer.io Web Hooks 1.0\r\n"+
		"Content-Type: application/json\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\nX-CIO-Timestamp: "...)
	b = append(b, timestamp...)
	b = append(b, "\r\nX-CIO-Signature: "...)
	b = append(b, signature.Sign(signingKey, timestamp, body)...)
	b = append(b, "\r\nX-CIO-Delivery-ID: "...)
	b = appendDeliveryID(b, n)
	b = append(b, "\r\n\r\n"...)
	return append(b, body...)
}

func (r *requests) len() int { return len(r.ends) }

// at is request i, head and body.
func (r *requests) at(i int) []byte {
	begin := 0
	if i > 0 {
		begin = r.ends[i-1]
	}
	return r.bytes[begin:r.ends[i]]
}
