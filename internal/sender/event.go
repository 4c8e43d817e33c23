// Package sender posts webhooks as Customer.io does: it signs each attempt afresh, waits four seconds for an answer, and
// repeats an event with growing pauses while what comes behind it waits. It makes the events itself, or reads them from
// files, and says what became of each.
//
// The package doesn't receive anything, doesn't look into Kafka or Redis, and doesn't know whether what was acknowledged
// was kept: for that its ledger has to be compared with the topics.
package sender

import (
	"strings"

	"sluice/event"
)

// Event is one webhook to send.
type Event struct {
	Body []byte
	// ID is the event_id as a receiver reads it, "" if the body has none that counts.
	ID string
	// Type is the canonical event type to expect, "" if the body must become a dead letter.
	Type string
	// DeliveryID is the X-CIO-Delivery-ID header's value, "" for no such header.
	DeliveryID string
}

// parsed is the event that a receiver will find in body. With header it gets the delivery id that the body names, if a
// header can carry it.
func parsed(body []byte, header bool) Event {
	ev, _ := event.Parse(body) // an error leaves Type empty: a dead letter
	e := Event{Body: body, ID: ev.ID, Type: ev.Type}
	if header && fitsHeader(ev.DeliveryID) {
		e.DeliveryID = ev.DeliveryID
	}
	return e
}

// maxHeader is the longest delivery id that is sent as a header, in bytes.
const maxHeader = 1024

// fitsHeader reports whether text arrives unchanged as a header's value (RFC 9110, section 5.5, without obs-text).
func fitsHeader(text string) bool {
	odd := func(r rune) bool { return r < ' ' || r > '~' }
	return len(text) <= maxHeader && strings.TrimSpace(text) == text && !strings.ContainsFunc(text, odd)
}
