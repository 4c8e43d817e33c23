package publisher

import (
	"encoding/binary"
	"errors"
	"fmt"

	"sluice/event"
)

// The payload of a message in the spool: its kind, which no batch's payload begins with; flags, 1 byte; then, each with
// its length before it as a uvarint: reason, event type, dedupe id, cause, key name, the number of headers and their
// names and values, and the body.
const (
	kindMessage = 2

	flagSkipped = 1
)

var errMessage = errors.New("not a message of the spool")

// appendMessage appends the payload but for the body, which follows it.
func appendMessage(b []byte, m *Message) []byte {
	text := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	flags := byte(0)
	if m.DedupeSkipped {
		flags |= flagSkipped
	}
	b = append(b, kindMessage, flags)
	text(string(m.Reject))
	text(m.Event.Type)
	text(m.DedupeID())
	cause := ""
	if m.RejectCause != nil {
		cause = m.RejectCause.Error()
	}
	text(cause)
	text(m.KeyName)
	b = binary.AppendUvarint(b, uint64(len(m.Headers)))
	for _, h := range m.Headers {
		text(h.Name)
		text(h.Value)
	}
	return binary.AppendUvarint(b, uint64(len(m.Body)))
}

// parseMessage reads a message back. The event is parsed anew: it depends on nothing but the body.
func parseMessage(b []byte) (*Message, error) {
	m, rest, err := parseHead(b)
	if err != nil {
		return nil, err
	}
	if cause := rest.text(); len(cause) > 0 {
		m.RejectCause = errors.New(string(cause))
	}
	m.KeyName = string(rest.text())
	for n := rest.number(); n > 0 && !rest.short; n-- {
		m.Headers = append(m.Headers, Header{Name: string(rest.text()), Value: string(rest.text())})
	}
	m.Body = rest.text()
	if rest.short || len(rest.b) > 0 {
		return nil, errMessage
	}
	ev, perr := event.Parse(m.Body)
	m.Event = ev
	if perr != nil && m.Reject == "" {
		return nil, fmt.Errorf("%w: %w", errMessage, perr)
	}
	return m, nil
}

// parseHead reads what tells where a message belongs: Reject, Event.Type and DedupeID.
func parseHead(b []byte) (*Message, *fields, error) {
	if len(b) < 2 || b[0] != kindMessage {
		return nil, nil, errMessage
	}
	m := &Message{DedupeSkipped: b[1]&flagSkipped != 0}
	rest := &fields{b: b[2:]}
	m.Reject = event.Reason(rest.text())
	m.Event.Type = string(rest.text())
	id := string(rest.text())
	m.DedupeID = func() string { return id }
	if rest.short {
		return nil, nil, errMessage
	}
	return m, rest, nil
}

// fields reads numbers and texts one after the other.
type fields struct {
	b     []byte
	short bool // something was missing
}

func (f *fields) number() uint64 {
	n, size := binary.Uvarint(f.b)
	if size <= 0 {
		f.short = true
		return 0
	}
	f.b = f.b[size:]
	return n
}

func (f *fields) text() []byte {
	n := f.number()
	if n > uint64(len(f.b)) {
		f.short = true
		return nil
	}
	part := f.b[:n:n]
	f.b = f.b[n:]
	return part
}
