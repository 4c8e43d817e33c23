package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"sluice/event"
)

// An event is known by its number: number n always makes the same body, so that the reader can check records byte for
// byte without the generator keeping any.
const (
	// idPrefix and idDigits base-32 digits make an event_id as long as a ULID.
	idPrefix = "01K3M8Q4C7V5W9"
	idDigits = 12
	base32   = "0123456789ABCDEFGHJKMNPQRSTVWXYZ" // Crockford's, as in ULIDs

	bodyStart = `{"event_id":"` + idPrefix

	// customers is how many people the events are about: the number of record keys.
	customers = 50_000
)

// events makes bodies. It is immutable.
type events struct {
	types []event.Type
	size  int // of a body in bytes, at least
}

// newEvents goes round the first n types of the AsyncAPI document, at most all.
func newEvents(n int) events {
	types := event.Described()
	types = types[:min(max(n, 1), len(types))]
	for i := range types {
		if types[i].ObjectType == "" {
			types[i].ObjectType = "customer" // unsubscribed, as the sender names it today
		}
	}
	return events{types: types}
}

// eventType is the name of event n's type.
func (e events) eventType(n uint64) string { return e.types[n%uint64(len(e.types))].Name }

// appendBody appends the body of event n: about 450 bytes, as the sender makes them, or more with the message's text.
func (e events) appendBody(b []byte, n uint64) []byte {
	begin := len(b)
	t := e.types[n%uint64(len(e.types))]
	b = append(b, bodyStart...)
	b = appendDigits(b, n)
	b = append(b, `","object_type":"`...)
	b = append(b, t.ObjectType...)
	b = append(b, `","metric":"`...)
	b = append(b, t.Metric...)
	b = append(b, `","timestamp":`...)
	b = strconv.AppendUint(b, 1_767_225_600+n%1_000_000/1000, 10)
	customer := strconv.AppendUint(nil, 100_000+n*0x9e3779b97f4a7c15>>20%customers, 10)
	b = append(b, `,"data":{"action_id":204,"campaign_id":17,"content_id":3310,"customer_id":"p-`...)
	b = append(b, customer...)
	b = append(b, `","delivery_id":"`...)
	b = appendDeliveryID(b, n)
	b = append(b, `","identifiers":{"id":"p-`...)
	b = append(b, customer...)
	b = append(b, `","email":"p`...)
	b = append(b, customer...)
	b = append(b, `@example.net","cio_id":"a31c06`...)
	b = append(b, customer...)
	b = append(b, `"},"journey_id":"01K3M8PZ6V6HXW1J8Q2RS5T9AB","parent_action_id":188,"subject":"Your order is on its way","recipient":"p`...)
	b = append(b, customer...)
	b = append(b, `@example.net"`...)
	if missing := e.size - (len(b) - begin); missing > 0 {
		b = append(b, `,"body":"`...)
		b = append(b, strings.Repeat("Dear you, ", missing/10+1)[:missing]...)
		b = append(b, '"')
	}
	return append(b, `}}`...)
}

// appendDeliveryID appends the id of the message that event n is about.
func appendDeliveryID(b []byte, n uint64) []byte {
	return appendDigits(append(b, "dgOa8wYAAZq4kT0"...), n)
}

func appendDigits(b []byte, n uint64) []byte {
	for shift := 5 * (idDigits - 1); shift >= 0; shift -= 5 {
		b = append(b, base32[n>>shift&31])
	}
	return b
}

// number is the inverse of appendBody. It reads the event_id only.
func number(body []byte) (uint64, error) {
	if len(body) < len(bodyStart)+idDigits || !bytes.HasPrefix(body, []byte(bodyStart)) {
		return 0, fmt.Errorf("a body of %d bytes that no event has", len(body))
	}
	n := uint64(0)
	for _, c := range body[len(bodyStart):][:idDigits] {
		digit := bytes.IndexByte([]byte(base32), c)
		if digit < 0 {
			return 0, fmt.Errorf("event_id with %q for a digit", c)
		}
		n = n<<5 | uint64(digit)
	}
	return n, nil
}
