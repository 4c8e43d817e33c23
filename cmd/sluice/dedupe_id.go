package main

import (
	"errors"
	"strings"
	"time"

	"sluice/dedupe"
	"sluice/event"
	"sluice/ingest"
	"sluice/internal/stream"
	"sluice/publisher"
)

// Headers of records that tell how a delivery was known when it came, beside eventTypeHeader.
const (
	deliveryIDHeader = "X-CIO-Delivery-ID"
	ceIDHeader       = "ce_id"
)

// recordID is what a record tells of the id of its delivery.
type recordID struct {
	id string // "": it can't be told
	// assumed: the record has no delivery header, and the id is right if the request had none either. It may have
	// been left out, being too long.
	assumed bool
}

// written reports whether Sluice wrote the record: all that it writes have a type, or a reason for having none.
func written(r *stream.Record) bool {
	return r.Header(eventTypeHeader) != "" || r.Header(reasonHeader) != ""
}

// identifyRecord finds the id that identify gave the delivery, from what the record has of it: the body is its value,
// and the delivery header is among its headers unless it was empty or left out. Where the event has no id fit for a
// header, ce_id is the delivery's id itself, in the mode of the time.
func identifyRecord(mode dedupe.Mode, r *stream.Record) recordID {
	d := &ingest.Delivery{Body: r.Value}
	d.Event, d.RejectCause = event.Parse(r.Value)
	if d.RejectCause != nil {
		d.Reject = event.ReasonNotJSON
		if failed, ok := errors.AsType[*event.ParseError](d.RejectCause); ok {
			d.Reject = failed.Reason
		}
	}
	header := firstHeader(r, deliveryIDHeader)
	without := identify(mode, d)
	source := dedupe.SourceOf(without)
	if mode == dedupe.EventID && source != dedupe.SourceBodyHash {
		return recordID{id: without} // whatever the header was
	}
	told := firstHeader(r, ceIDHeader)
	if told == d.Event.ID { // the event's own id, which tells nothing of the header
		told = ""
	}
	switch {
	case told == without && source == dedupe.SourceBodyHash:
		return recordID{id: without} // in either mode a body is known by its hash only if the request had no header, or an empty first one
	case header != "":
		d.CIODeliveryID = header
		return recordID{id: identify(mode, d)}
	case !strings.HasPrefix(told, "~"):
		return recordID{id: without, assumed: true}
	}
	// The header was there and was left out; then ce_id is the id, if it was made in the same mode.
	switch kind := dedupe.SourceOf(told); {
	case mode == dedupe.EventID && kind == dedupe.SourceDeliveryAndBody,
		mode == dedupe.DeliveryID && (kind == dedupe.SourceDelivery || kind == dedupe.SourceDeliveryHash):
		return recordID{id: told}
	case kind == dedupe.SourceEventIDHash:
		return recordID{id: without, assumed: true} // event_id mode makes it with or without a header
	}
	return recordID{}
}

// firstHeader is the first of that name: the one that requests are known by.
func firstHeader(r *stream.Record, name string) string {
	for _, h := range r.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

// recordMark is the mark of a record. Its time runs from when the record was written, or from now if a clock was fast.
func recordMark(id string, r *stream.Record, where publisher.TopicOptions, ttl time.Duration, now time.Time) dedupe.Mark {
	at := r.Time
	if at.After(now) {
		at = now
	}
	return dedupe.Mark{ID: id, DeadLetter: r.Topic == where.DeadLetter, Until: at.Add(ttl)}
}
