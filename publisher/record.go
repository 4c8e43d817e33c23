package publisher

import (
	"context"
	"strings"
	"time"

	"sluice/event"
	"sluice/publisher/balance"
	"sluice/publisher/idempotent"
)

// Names of record headers. The ce_ headers are the binary content mode of the
// CloudEvents 1.0 Kafka protocol binding.
const (
	headerEventType   = "event-type"
	headerContentType = "content-type"
	headerKeyName     = "sluice-key"
	headerDedupe      = "sluice-dedupe"
	headerReason      = "sluice-reason"
	headerStep        = "sluice-step"
	headerError       = "sluice-error"
	headerTime        = "sluice-time"
)

// Received HTTP headers are outside the signature. Longer ones, and those
// beyond the sum, are left out, so that headers can't outgrow the room that the
// topics' size limit leaves for them.
const (
	maxForwarded    = 4 << 10
	maxForwardedSum = 16 << 10
)

// Header is a received HTTP header to pass on.
type Header struct{ Name, Value string }

// Message is one verified delivery.
type Message struct {
	Body        []byte
	Event       event.Event
	Reject      event.Reason  // not empty: no event; goes to the dead-letter topic
	RejectCause error         // what was wrong, when Reject isn't empty
	DedupeID    func() string // identifies the delivery; ce_id of events without a usable id
	KeyName     string        // of the signing key
	Headers     []Header      // X-CIO-*, traceparent, tracestate

	DedupeSkipped bool // Redis couldn't be asked: consumers may see it twice
	// Live is asked right before the record is sent for the first time; see
	// [idempotent.Record].
	Live func() bool
	// Late is called at most once, with the final outcome, after Publish has
	// returned [Unknown], or [Spooled] for a record that was under way to Kafka.
	// It isn't if Close comes first.
	Late func(Outcome)

	at balance.Account // the book's
}

// Record is what [Publisher.Publish] writes for a message that it is given at that time: for the topic of m.Event.Type, or
// for the dead-letter topic if m.Reject isn't empty.
func Record(m *Message, key KeyMode, at time.Time) *idempotent.Record {
	r := newRecord(m, key)
	if m.Reject != "" {
		setAside(r, string(m.Reject), "parse", m.RejectCause, at)
	}
	return r
}

// eventRecord builds the record for the event's own topic.
func (p *Publisher) eventRecord(m *Message) *idempotent.Record {
	r := newRecord(m, p.opts.Key)
	if p.spool != nil {
		r.Tag, r.Keep = tagEvent+m.DedupeID(), true
	}
	return r
}

// built is a record with room for its headers, in one piece of memory.
type built struct {
	record  idempotent.Record
	headers [12]idempotent.Header
}

func newRecord(m *Message, key KeyMode) *idempotent.Record {
	b := new(built)
	r := &b.record
	r.Value, r.Live, r.Key, r.Headers = m.Body, m.Live, keyOf(m, key), b.headers[:0]
	add := func(name, value string) {
		if value != "" {
			r.Headers = append(r.Headers, idempotent.Header{Key: name, Value: value})
		}
	}
	e := &m.Event
	if e.Type != "" {
		ceType, ceSource, ceTime := made(e, m.KeyName)
		add(headerEventType, e.Type)
		add("ce_specversion", "1.0")
		add("ce_id", ceID(m))
		add("ce_type", ceType)
		add("ce_source", ceSource)
		add("ce_time", ceTime)
		if printable(e.DeliveryID) {
			add("ce_subject", e.DeliveryID)
		}
	}
	if m.Reject == event.ReasonNotJSON {
		add(headerContentType, "application/octet-stream")
	} else {
		add(headerContentType, "application/json")
	}
	add(headerKeyName, m.KeyName)
	if m.DedupeSkipped {
		add(headerDedupe, "skipped")
	}
	room := maxForwardedSum
	for _, x := range m.Headers {
		size := len(x.Name) + len(x.Value)
		if size <= maxForwarded && size <= room {
			room -= size
			add(forwardedName(x.Name), x.Value)
		}
	}
	return r
}

// made are the values that are made for a record, parts of one string. The time is "" if the event has none.
func made(e *event.Event, keyName string) (ceType, ceSource, ceTime string) {
	var room [192]byte
	b := append(append(room[:0], "io.customer."...), e.Type...)
	source := len(b)
	b = append(b, "/customerio"...)
	if keyName != "" {
		b = append(append(b, '/'), keyName...)
	}
	at := len(b)
	if !e.Time.IsZero() {
		b = e.Time.UTC().AppendFormat(b, time.RFC3339Nano)
	}
	text := string(b)
	return text[:source], text[source:at], text[at:]
}

// deadLetter builds the record for the dead-letter topic.
func (p *Publisher) deadLetter(m *Message, reason, step string, cause error, now time.Time) *idempotent.Record {
	r := p.eventRecord(m)
	setAside(r, reason, step, cause, now)
	return r
}

// setAside makes a dead letter of a record.
func setAside(r *idempotent.Record, reason, step string, cause error, now time.Time) {
	if r.Tag != "" {
		r.Tag = tagDeadLetter + r.Tag[len(tagEvent):]
	}
	add := func(name, value string) {
		r.Headers = append(r.Headers, idempotent.Header{Key: name, Value: value})
	}
	add(headerReason, reason)
	add(headerStep, step)
	if cause != nil {
		add(headerError, cause.Error())
	}
	add(headerTime, now.UTC().Format(time.RFC3339Nano))
}

// recordOf builds the record that the message becomes, on the topic that topicOf names.
func (p *Publisher) recordOf(m *Message) *idempotent.Record { return p.recordAt(m, time.Now()) }

// recordAt is recordOf at another time than now, which a dead letter carries.
func (p *Publisher) recordAt(m *Message, at time.Time) *idempotent.Record {
	if m.Reject != "" {
		return p.deadLetter(m, string(m.Reject), "parse", m.RejectCause, at)
	}
	return p.eventRecord(m)
}

// topicOf is the topic that the message is meant for. It may end on another, where that can't be created.
func (p *Publisher) topicOf(m *Message) string {
	if m.Reject != "" {
		return p.opts.Topics.DeadLetter
	}
	return p.opts.Topics.Name(m.Event.Type)
}

// find returns a topic for the message, and how many partitions it has. It waits for Kafka until ctx ends.
func (p *Publisher) find(ctx context.Context, m *Message) (topic string, partitions int, err error) {
	if m.Reject != "" {
		n, err := p.topics.ensure(ctx, p.opts.Topics.DeadLetter, "")
		return p.opts.Topics.DeadLetter, n, err
	}
	return p.topics.find(ctx, m.Event.Type)
}

func keyOf(m *Message, mode KeyMode) []byte {
	k := m.Event.Key
	if mode == KeyEventType {
		k = m.Event.Type
	}
	if k == "" {
		return nil
	}
	return []byte(k)
}

// ceID is the event's id, by which consumers may deduplicate; for want of a
// usable one, what identifies the delivery.
func ceID(m *Message) string {
	if printable(m.Event.ID) {
		return m.Event.ID
	}
	return m.DedupeID()
}

// forwardedName spells X-CIO-* as Customer.io does and trace headers in lower
// case, as the W3C recommendation does. It takes names in net/http's canonical form.
func forwardedName(name string) string {
	switch name { // what nearly every request carries
	case "X-Cio-Timestamp":
		return "X-CIO-Timestamp"
	case "X-Cio-Signature":
		return "X-CIO-Signature"
	case "X-Cio-Delivery-Id":
		return "X-CIO-Delivery-ID"
	}
	if rest, ok := strings.CutPrefix(name, "X-Cio-"); ok {
		return "X-CIO-" + rest
	}
	return strings.ToLower(name)
}

// printable reports whether s may stand in a CloudEvents attribute: not empty,
// no control characters, of reasonable length.
func printable(s string) bool {
	if s == "" || len(s) > 1024 {
		return false
	}
	for _, c := range s {
		if c < 0x20 || c == 0x7f || c == '\uFFFD' {
			return false
		}
	}
	return true
}
