// Package ingest is the HTTP side of Sluice: it takes Customer.io's webhooks
// in and answers each one within its deadline.
//
// [Handler] is a straight line: read the bounded body, verify the raw bytes,
// parse the envelope, claim, publish, answer. [Server] is its lifecycle: a
// socket that is open when Open returns, and a drain that lets every request
// that was begun have its answer.
//
// What the sender makes of an answer decides which codes may be used (its
// documentation lists those after which it waits an hour, and it waits an hour
// after a closed connection too): 200 for what is kept, 401 for what isn't
// signed, 404 and 405 for what isn't a webhook, 413 over the limit, 408 for a
// body that doesn't come, and 503 for everything that may pass, bugs included.
//
// The package does not know Kafka, Redis or the configuration: what it needs
// of them is [Deduper] and [Publisher], and cmd joins them. It decompresses
// nothing, keeps no event past the answer, retries nothing, and settles no
// claim that the publisher has been given.
package ingest

import (
	"context"
	"time"

	"sluice/event"
)

// Header is one request header to be passed on with the record.
type Header struct {
	Name  string // in canonical MIME form, as net/http gives it
	Value string // as received
}

// Delivery is one webhook request that carried a valid signature. Nothing in it
// is changed once Publish has been called, except by the publisher.
type Delivery struct {
	Body          []byte       // as received; never modified by anyone
	Event         event.Event  // as far as the body could be read
	Reject        event.Reason // not "": no topic can be named, so it goes to the dead-letter topic
	RejectCause   error        // what event.Parse said when Reject isn't ""; fit for logs and record headers
	KeyName       string       // the signing key that verified it, "" in insecure mode
	Received      time.Time    // when the body was complete
	RequestID     string       // X-Request-Id if it was sane, else made here
	CIODeliveryID string       // X-CIO-Delivery-ID or ""; outside the signature
	Headers       []Header     // X-CIO-*, Traceparent and Tracestate, sorted by name
	DedupeSkipped bool         // the claim's verdict was Skipped: nobody could be asked whether this is a duplicate
}

// Outcome is what became of a delivery. The zero Outcome is none of them, and
// counts as Unknown.
type Outcome int

// The outcomes.
const (
	Published    Outcome = iota + 1 // acknowledged on its own topic
	DeadLettered                    // acknowledged on the dead-letter topic
	NotKept                         // certainly not written, and won't be
	Unknown                         // may have been written, or may still be
	Spooled                         // on disk, and will be on its topic
)

// Verdict is what a claim found. The zero Verdict is none of them, and counts
// as a failed claim.
type Verdict int

// The verdicts.
const (
	Won                 Verdict = iota + 1 // nobody else has this delivery: publish it
	Skipped                                // the store of claims could not be asked: publish it and say so
	Duplicate                              // kept already
	DuplicateDeadLetter                    // kept already, on the dead-letter topic
)

// Claim is the right to publish one delivery, for as long as its lease lasts.
type Claim interface {
	// Verdict is the same at every call.
	Verdict() Verdict
	// Live reports whether the lease still certainly holds. The publisher asks
	// right before it encodes the record. It is true for Skipped.
	Live() bool
	// Settle tells the final outcome: Published, DeadLettered and Spooled make
	// later copies duplicates, NotKept lets the next copy in at once, Unknown leaves
	// the lease to run out. It is called exactly once for a verdict of Won or
	// Skipped and never for the others, from any goroutine, and doesn't block.
	Settle(Outcome)
}

// Deduper claims deliveries.
type Deduper interface {
	// Claim blocks until the verdict is known or ctx ends. After an error there
	// is no claim and the request is answered 503.
	Claim(ctx context.Context, d *Delivery) (Claim, error)
}

// Publisher writes deliveries to Kafka.
type Publisher interface {
	// Publish blocks until the outcome is known or ctx ends, and sees to it that
	// c.Settle is called exactly once, possibly after it has returned. Only
	// Published, DeadLettered and Spooled without an error are answered 200.
	Publish(ctx context.Context, d *Delivery, c Claim) (Outcome, error)
}
