package main

import (
	"context"

	"sluice/dedupe"
	"sluice/event"
	"sluice/ingest"
	"sluice/publisher"
	"sluice/publisher/balance"
)

// identify is the delivery's id for dedupe. A body that isn't a whole JSON
// object goes by its bytes: an event_id read from a damaged copy must not make
// the intact one a duplicate.
func identify(mode dedupe.Mode, d *ingest.Delivery) string {
	id := d.Event.ID
	if d.Reject == event.ReasonNotJSON || d.Reject == event.ReasonNotObject {
		id = ""
	}
	return dedupe.Identify(mode, id, d.CIODeliveryID, d.Body)
}

// deduper is package dedupe as package ingest wants it. What comes here is accepted.
type deduper struct {
	inner *dedupe.Deduper
	mode  dedupe.Mode
	book  *balance.Book
}

func (a deduper) Claim(ctx context.Context, d *ingest.Delivery) (ingest.Claim, error) {
	a.book.Accept()
	at := balance.Refused // also after a panic
	defer func() { a.book.Move(balance.InFlight, at) }()
	c, err := a.inner.Claim(ctx, identify(a.mode, d))
	if err != nil {
		return nil, err
	}
	switch c.Verdict() {
	case dedupe.Duplicate, dedupe.DuplicateDeadLetter:
		at = balance.Duplicate
	default:
		at = balance.InFlight
	}
	return claim{c, a.book}, nil
}

// claim is a dedupe claim as package ingest wants it.
type claim struct {
	inner *dedupe.Claim
	book  *balance.Book
}

func (a claim) Live() bool { return a.inner.Live() }

func (a claim) Verdict() ingest.Verdict {
	switch a.inner.Verdict() {
	case dedupe.Won:
		return ingest.Won
	case dedupe.Skipped:
		return ingest.Skipped
	case dedupe.Duplicate:
		return ingest.Duplicate
	case dedupe.DuplicateDeadLetter:
		return ingest.DuplicateDeadLetter
	}
	return 0
}

// Settle accounts for what isn't kept, whether or not the publisher has had it. What is kept it has accounted for.
func (a claim) Settle(o ingest.Outcome) {
	switch o {
	case ingest.Published, ingest.Spooled:
		a.inner.Confirm()
	case ingest.DeadLettered:
		a.inner.ConfirmDeadLetter()
	case ingest.NotKept:
		a.book.Move(balance.InFlight, balance.Refused)
		a.inner.Release()
	default:
		a.inner.Leave()
	}
}

// publishing is package publisher as package ingest wants it.
type publishing struct {
	inner *publisher.Publisher
	mode  dedupe.Mode
}

// Publish settles the claim as soon as the outcome is certain: now, or late
// when Kafka has been asked and hasn't answered in time.
func (a publishing) Publish(ctx context.Context, d *ingest.Delivery, c ingest.Claim) (ingest.Outcome, error) {
	m := &publisher.Message{
		Body: d.Body, Event: d.Event, Reject: d.Reject, RejectCause: d.RejectCause,
		KeyName: d.KeyName, Headers: make([]publisher.Header, len(d.Headers)),
		DedupeSkipped: d.DedupeSkipped,
		DedupeID:      func() string { return identify(a.mode, d) },
		Live:          c.Live,
		Late:          func(o publisher.Outcome) { settle(c, d, o) },
	}
	for i, h := range d.Headers {
		m.Headers[i] = publisher.Header(h)
	}
	o, err := a.inner.Publish(ctx, m)
	if o != publisher.Unknown {
		settle(c, d, o)
	}
	return outcome(o), err
}

// settle tells the claim what it is to remember: of what is on disk, where it is meant to go.
func settle(c ingest.Claim, d *ingest.Delivery, o publisher.Outcome) {
	if o == publisher.Spooled && d.Reject != "" {
		o = publisher.DeadLettered
	}
	c.Settle(outcome(o))
}

func outcome(o publisher.Outcome) ingest.Outcome {
	switch o {
	case publisher.Published:
		return ingest.Published
	case publisher.DeadLettered:
		return ingest.DeadLettered
	case publisher.Spooled:
		return ingest.Spooled
	case publisher.NotKept:
		return ingest.NotKept
	default:
		return ingest.Unknown
	}
}
