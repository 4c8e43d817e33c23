package dedupe

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Mode says what identifies a delivery.
type Mode int

const (
	// EventID takes the event's own ID, which is signed and unique per event. Only a body without one is known by
	// its hash, together with the delivery header if there is one.
	EventID Mode = iota
	// DeliveryID is the literal reading: the X-CIO-Delivery-ID header, else the event's ID, else the body's hash.
	// The header is outside the signature; where it names a message instead of a request, that message's sent,
	// delivered and opened events count as one.
	DeliveryID
)

// ParseMode reads "event_id" or "delivery_id".
func ParseMode(s string) (Mode, error) {
	switch s {
	case "event_id":
		return EventID, nil
	case "delivery_id":
		return DeliveryID, nil
	}
	return 0, fmt.Errorf("dedupe ID %q is unknown: use event_id or delivery_id", s)
}

// String is the inverse of [ParseMode].
func (m Mode) String() string {
	if m == DeliveryID {
		return "delivery_id"
	}
	return "event_id"
}

// An ID is an event ID as it is, or a marker and what follows it. Event IDs that begin with the marker character are
// hashed, so no two kinds of ID meet, and the kind that nearly every key has costs no byte.
const (
	marker           = '~'
	markEventHash    = "~e" // hash of an event ID that is long or not plain ASCII
	markDelivery     = "~d" // delivery header as it is
	markDeliveryHash = "~D" // hash of a delivery header that is long or not plain ASCII
	markBodyHash     = "~b" // hash of the body
	markBothHash     = "~h" // hash of the delivery header, a zero byte, and the body
	markProbe        = "~p" // not an ID: the keys that the breaker's probe writes
	markGeneration   = "~g" // not an ID: the keys that tell whether Redis has lost data
	markRepair       = "~l" // not an ID: the lease of who repairs that
)

// maxPlain is the length in bytes up to which an ID is kept readable.
const maxPlain = 64

// Identify returns the ID under which a delivery is remembered: at most 66 bytes of printable ASCII without spaces.
// eventID is the body's event_id ("" if it has none), deliveryIDHeader the X-CIO-Delivery-ID header ("" if absent).
//
// In [EventID] mode the header alone is never the ID: it isn't signed, and it may name a message that recurs on
// different events. For a body without event_id it is hashed together with the body: two events with equal bodies
// and different headers stay two events, and a header can never join two different bodies. The price: a retry of
// such a body under another header isn't seen as a duplicate.
func Identify(mode Mode, eventID, deliveryIDHeader string, body []byte) string {
	switch {
	case mode == DeliveryID && deliveryIDHeader != "":
		if plain(deliveryIDHeader) {
			return markDelivery + deliveryIDHeader
		}
		return markDeliveryHash + hash128([]byte(deliveryIDHeader))
	case eventID != "":
		if plain(eventID) && eventID[0] != marker {
			return eventID
		}
		return markEventHash + hash128([]byte(eventID))
	case deliveryIDHeader != "":
		return markBothHash + hash128([]byte(deliveryIDHeader), []byte{0}, body)
	default:
		return markBodyHash + hash128(body)
	}
}

// Key returns the Redis key of an ID: redis-cli GET slu:01J8… finds it.
func Key(prefix, id string) string { return prefix + id }

// plain reports whether s can stand in a Redis key as it is and be typed at a prompt.
func plain(s string) bool {
	if s == "" || len(s) > maxPlain {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// hash128 is the first half of SHA-256 in hex: what sha256sum | cut -c-32 prints.
func hash128(parts ...[]byte) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	var sum [sha256.Size]byte
	return hex.EncodeToString(h.Sum(sum[:0])[:16])
}
