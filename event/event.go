// Package event reads the envelope of a Customer.io reporting webhook: which
// event it is, when it happened, and which record key keeps one person's
// events in order. For consumers it reads the documented fields of data too
// ([Decode]). It also holds the table of documented event types and the
// AsyncAPI document of the webhook and its topics.
//
// The sender is known from its documentation, not from captured traffic, and
// an authentic event must never be lost for its content. So [Parse] demands
// very little (a JSON object with a name in it) and forgives the rest: a field
// of an unexpected type counts as absent.
//
// The package does not verify signatures, check what data holds, change a byte
// of the body, or know the names of Kafka topics. It imports nothing else of
// this module and is safe for concurrent use.
package event

import (
	"fmt"
	"time"
)

// Event is what Sluice needs to know of one webhook body.
type Event struct {
	// ID is the envelope's event_id, the sender's name for this one event. It
	// is "" when event_id is absent, not a string, empty, or holds broken
	// Unicode: two different broken IDs would read the same, and an ID must
	// never make one event the duplicate of another.
	ID string
	// Type is the canonical event type, for example "email_delivered" or
	// "unsubscribed": one to [MaxTypeLength] characters of [A-Za-z0-9._-], as
	// Kafka demands of topic names. It is "" when Parse returned an error.
	Type string
	// Rule tells which way of naming an event gave Type.
	Rule Rule
	// ObjectType and Metric are as received, "" if absent or not strings.
	ObjectType, Metric string
	// Time is the envelope's timestamp in UTC, to the microsecond. It is the
	// zero Time when the timestamp is absent or is no number of seconds from 1
	// to the end of the year 9999.
	Time time.Time
	// DeliveryID is data.delivery_id. It names a message, not an event: the
	// sent, delivered, opened and clicked events of one message share it.
	DeliveryID string
	// Key is the record key: the first of the fields below that has text,
	// hashed if that is longer than [MaxKeyLength]. Events with the same key
	// and topic keep their order in Kafka. It is "" if none of them has text.
	Key string
	// KeyField names the field that gave Key: [KeyID], [KeyCustomerID],
	// [KeyCIOID], [KeyDeliveryID], or "".
	KeyField string
}

// The fields of data that can give a record key, in the order they are tried.
// Text and numbers count (a number by its digits, so 42 and "42" are the same
// person); null, "", booleans, objects and arrays do not.
const (
	KeyID         = "identifiers.id"     // the person's ID in the sender's workspace
	KeyCustomerID = "customer_id"        // the same, in its deprecated place; blank for a deleted person
	KeyCIOID      = "identifiers.cio_id" // the sender's own ID of the person
	KeyDeliveryID = "delivery_id"        // the message, where no person is named
)

// Limits of what leaves this package.
const (
	// MaxTypeLength is the most bytes a Type can have. Kafka allows topic names
	// of 249; the rest is room for a prefix.
	MaxTypeLength = 120
	// MaxKeyLength is the most bytes a Key can have. A longer one is replaced
	// by the first 16 bytes of its SHA-256 in hex.
	MaxKeyLength = 128
)

// Rule is a way of naming an event. The rules are tried in the order below;
// the first whose fields are non-empty strings decides.
type Rule string

// The rules, as they are shown to operators.
const (
	RuleNames     Rule = "object_type+metric"       // today's envelope: object_type_metric
	RuleEventType Rule = "event_type"               // the old envelope, which spells the name out
	RuleInferred  Rule = "metric, channel inferred" // no object_type; fields of data give the channel
	RuleMetric    Rule = "metric alone"             // no object_type, and nothing in data to tell the channel
)

// Reason classifies why a body names no topic. The set is bounded: it is fit
// for metric labels and record headers.
type Reason string

// The reasons.
const (
	// ReasonNotJSON: the body as a whole is not one JSON value. An empty body, a
	// byte order mark, anything but white space after the value, and more than
	// 10,000 levels of nesting are among the causes.
	ReasonNotJSON Reason = "not_json"
	// ReasonNotObject: the body is JSON, but an array or a scalar.
	ReasonNotObject Reason = "not_an_object"
	// ReasonNoType: neither metric nor event_type is a non-empty string.
	ReasonNoType Reason = "no_event_type"
	// ReasonBadType: the event has a name, but not one that may become part of
	// a topic name.
	ReasonBadType Reason = "bad_event_type"
)

// ParseError is the only error of [Parse]. The same body fails the same way
// every time: a caller keeps the body as a dead letter and does not ask for it
// again.
type ParseError struct {
	Reason Reason
	// Err says what is wrong and where. Its text is short and holds at most a
	// few characters of the body, so it may be logged.
	Err error
}

// Error implements error.
func (e *ParseError) Error() string {
	return fmt.Sprintf("parsing event: %s: %v", e.Reason, e.Err)
}

// Unwrap returns the cause.
func (e *ParseError) Unwrap() error { return e.Err }
