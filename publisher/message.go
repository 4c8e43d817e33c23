package publisher

import (
	"encoding/binary"
	"errors"
	"fmt"

	"sluice/event"
)

// The payload of a message in the spool: its kind, which no batch's payload begins with; flags, 1 byte; then, each with
// its length before it as a uvarint: reason, cause, key name, dedupe id, the number of headers and their names and
// values, and the body.
const (
	kindMessage = 2

	flagSkipped = 1
)

var errMessage = errors.New("not a message of the spool")

func appendMessage(b []byte, m *Message) []byte {
	text := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	flags := byte(0)
	if m.DedupeSkipped {
		flags |= flagSkipped
	}
	b = append(b, kindMessage, flags)
	text(string(m.Reject))
	cause := ""
	if m.RejectCause != nil {
		cause = m.RejectCause.Error()
	}
	text(cause)
	text(m.KeyName)
	text(m.DedupeID())
	b = binary.AppendUvarint(b, uint64(len(m.Headers)))
	for _, h := range m.Headers {
		text(h.Name)
		text(h.Value)
	}
	b = binary.AppendUvarint(b, uint64(len(m.Body)))
	return append(b, m.Body...)
}

// parseMessage reads a message back. The event is parsed anew: it depends on nothing but the body.
func parseMessage(b []byte) (m *Message, err error) {
	if len(b) < 2 || b[0] != kindMessage {
		return nil, errMessage
	}
	m = &Message{DedupeSkipped: b[1]&flagSkipped != 0}
	b = b[2:]
	number := func() uint64 {
		n, size := binary.Uvarint(b)
		if size <= 0 {
			err = errMessage
			return 0
		}
		b = b[size:]
		return n
	}
	bytes := func() []byte {
		n := number()
		if n > uint64(len(b)) {
			err = errMessage
			return nil
		}
		part := b[:n:n]
		b = b[n:]
		return part
	}
	m.Reject = event.Reason(bytes())
	if cause := bytes(); len(cause) > 0 {
		m.RejectCause = errors.New(string(cause))
	}
	m.KeyName = string(bytes())
	id := string(bytes())
	m.DedupeID = func() string { return id }
	for n := number(); n > 0 && err == nil; n-- {
		m.Headers = append(m.Headers, Header{Name: string(bytes()), Value: string(bytes())})
	}
	m.Body = bytes()
	if err != nil || len(b) > 0 {
		return nil, errMessage
	}
	ev, perr := event.Parse(m.Body)
	m.Event = ev
	if perr != nil && m.Reject == "" {
		return nil, fmt.Errorf("%w: %w", errMessage, perr)
	}
	return m, nil
}
