package event

import (
	"bytes"
	"encoding/json"
	"slices"
)

// Webhook is one body read whole: what [Parse] gives, and the documented fields of data.
type Webhook struct {
	Event
	// EventType is the old envelope's event_type as received, "" in today's: "email_unsubscribed", where Type is
	// "unsubscribed".
	EventType string
	Data      Data
}

// Decode reads one webhook body for a consumer, in two passes: [Parse], with its error, and the fields of data. The
// fields are filled either way, as far as the body could be read; an event without a name has its data too.
//
// The body is not changed. Raw fields of the result are parts of it, everything else is a copy.
func Decode(body []byte) (Webhook, error) {
	var env envelope
	ev, err := env.event(body)
	w := Webhook{Event: ev, EventType: string(env.eventType.text)}
	w.Data.Raw = bytes.TrimLeft(body[env.dataFrom:env.dataTo], ": \t\r\n")
	w.Data.read()
	return w, err
}

// Field returns the value at a path of names in a JSON object as it is written there, and nil if there is none. It
// reaches what Decode has no field for:
//
//	event.Field(body, "workspace_id")
//	event.Field(w.Data.Raw, "variables", "campaign", "name")
//
// Of repeated names the last counts, as in Parse. The result is a part of object.
func Field(object []byte, path ...string) json.RawMessage {
	d := decoders.Get().(*decoder)
	defer d.free()
	for _, name := range path {
		r, found := d.open(object), []byte(nil)
		if r.PeekKind() != '{' {
			return nil
		}
		if err := r.object(func(n []byte) error {
			if string(n) != name {
				return r.SkipValue()
			}
			value, err := r.value()
			found = slices.Clip(value)
			return err
		}); err != nil || found == nil {
			return nil
		}
		object = found
	}
	return slices.Clip(object)
}
