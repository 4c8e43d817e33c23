// Package audit compares what a sender was told with what the topics hold: every acknowledged event has to be there
// once, on its topic, byte for byte.
//
// It reads nothing itself and doesn't know how topics are named. What was sent comes from the sender's ledger, what is
// held from a reader.
package audit

import (
	"crypto/sha256"
	"fmt"
	"slices"
)

// Sum identifies a body.
type Sum = [sha256.Size]byte

// Sent is an event as its sender knows it.
type Sent struct {
	ID           string // event_id, "" if the body has none
	DeliveryID   string // X-CIO-Delivery-ID, "" for no such header
	Type         string // event type, "" if it has to be a dead letter
	Body         Sum
	Acknowledged bool // a 2xx came; without one it may or may not be kept
	Duplicate    bool // that 2xx said that it was kept before
	Spooled      bool // that 2xx said that it is on disk
}

// Record is a record as its reader found it.
type Record struct {
	Topic     string
	Partition int32
	Offset    int64
	ID        string // header ce_id
	EventType string // header event-type
	Reason    string // header sluice-reason
	Body      Sum    // of the value
}

// ReasonRefused is the [Record.Reason] of an event that its own topic didn't take, as one that is too large.
const ReasonRefused = "refused_by_topic"

// Options say what is right. Only Topics is needed.
type Options struct {
	// Topics names the topics on which an event of a type may be, its own first; the type "" is that of dead letters.
	// It is asked once a type.
	Topics func(eventType string) []string
	// DeadLetter is the topic on which also events of a type are right if their own refused them. "" = none.
	DeadLetter string
	// Identity says what makes two events one. nil = the event id, and without one the delivery id and the body.
	Identity func(eventID, deliveryID string, body Sum) string
	// Headers has the records' event-type and ce_id compared with the event.
	Headers bool
	// Foreign keeps where the records are that no event explains. They are counted in any case.
	Foreign bool
}

// Place is where a record is.
type Place struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

func (p Place) String() string { return fmt.Sprintf("%s[%d]@%d", p.Topic, p.Partition, p.Offset) }

// Finding is an event of which something is wrong.
type Finding struct {
	Event   string // the event's id, or its type and the beginning of its body's hash; "" for foreign records
	Type    string // the event's
	Body    Sum    // as it was sent
	Records []Place
	Detail  string
}

// Report is the outcome of a [Comparison].
type Report struct {
	Sent         int // different events
	Acknowledged int // of those
	Records      int // that belong to them
	Foreign      int // records that nothing in the ledger explains
	DeadLettered int // records of events that their topic refused

	Lost      []Finding // acknowledged and nowhere
	Doubled   []Finding // more records than events
	Changed   []Finding // the event's id with other bytes
	Misplaced []Finding // on another topic
	Headers   []Finding // with wrong headers, if Options.Headers

	ForeignRecords []Place // if Options.Foreign
}

// Balanced reports whether every acknowledged event is where it should be, once and unchanged.
func (r *Report) Balanced() bool {
	return len(r.Lost)+len(r.Doubled)+len(r.Changed)+len(r.Misplaced)+len(r.Headers) == 0
}

// Compare is a [Comparison] of what is in memory, without a look at headers other than ce_id.
func Compare(sent []Sent, records []Record, topics func(eventType string) []string) *Report {
	c := NewComparison(Options{Topics: topics})
	for _, s := range sent {
		c.Send(s)
	}
	for _, r := range records {
		c.Find(r)
	}
	return c.Report()
}

// Comparison takes in events and records one at a time and keeps little of them: a few hundred bytes an event and
// 24 bytes a record of one. It isn't safe for concurrent use.
type Comparison struct {
	opts   Options
	report Report

	bodies  []body
	byBody  map[key]int32 // into bodies
	ids     map[key]identity
	records []found
	topics  names
	types   names
	right   map[int32][]string // topics by type
}

// NewComparison begins with nothing.
func NewComparison(o Options) *Comparison {
	if o.Identity == nil {
		o.Identity = func(eventID, deliveryID string, body Sum) string {
			if eventID != "" {
				return eventID
			}
			return "\x00" + deliveryID + "\x00" + string(body[:])
		}
	}
	return &Comparison{
		opts: o, byBody: make(map[key]int32), ids: make(map[key]identity), right: make(map[int32][]string),
		topics: newNames(), types: newNames(),
	}
}

// Find takes in a record. All events have to be in.
func (c *Comparison) Find(r Record) {
	at := Place{r.Topic, r.Partition, r.Offset}
	i, known := c.byBody[short(r.Body)]
	if known {
		c.report.Records++
		c.keep(i, at)
		c.checkTopic(i, &r, at)
		if c.opts.Headers {
			c.checkHeaders(i, &r, at)
		}
		return
	}
	if i, known = c.byEventID(r.ID); known {
		c.report.Records++
		c.report.Changed = append(c.report.Changed, c.finding(i, fmt.Sprintf("%s has other bytes than were sent", at), at))
		if set := &c.bodies[c.root(i)]; set.kept > 0 {
			set.kept-- // not lost as well
		}
		return
	}
	c.report.Foreign++
	if c.opts.Foreign {
		c.report.ForeignRecords = append(c.report.ForeignRecords, at)
	}
}

// checkTopic notes a record that isn't where its event belongs.
func (c *Comparison) checkTopic(i int32, r *Record, at Place) {
	eventType := c.bodies[i].eventType
	right, asked := c.right[eventType]
	if !asked {
		right = c.opts.Topics(c.types.of(eventType))
		c.right[eventType] = right
	}
	switch {
	case slices.Contains(right, r.Topic):
	case c.types.of(eventType) != "" && r.Topic == c.opts.DeadLetter && r.Reason == ReasonRefused:
		c.report.DeadLettered++
	default:
		c.report.Misplaced = append(c.report.Misplaced, c.finding(i, fmt.Sprintf("is at %s, want topic %s", at, right[0]), at))
	}
}

// checkHeaders notes a record whose headers name another event or type.
func (c *Comparison) checkHeaders(i int32, r *Record, at Place) {
	b := &c.bodies[i]
	if want := c.types.of(b.eventType); r.EventType != want {
		c.report.Headers = append(c.report.Headers,
			c.finding(i, fmt.Sprintf("at %s has the header event-type %q, want %q", at, r.EventType, want), at))
	}
	if b.id == "" || r.ID == b.id || r.ID == "" && c.types.of(b.eventType) == "" {
		return
	}
	// An event_id that can't stand in a header is replaced by what identifies the event otherwise.
	if other, known := c.ids[keyOf(byIdentity, r.ID)]; known && c.root(other.body) == c.root(i) {
		return
	}
	c.report.Headers = append(c.report.Headers,
		c.finding(i, fmt.Sprintf("at %s has the header ce_id %q, want %q", at, r.ID, b.id), at))
}

// Report judges. It is called once, at the end.
func (c *Comparison) Report() *Report {
	c.judgeLost()
	c.judgeDoubled()
	return &c.report
}

// judgeLost names as many events as there are records too few; first those that have none at all.
func (c *Comparison) judgeLost() {
	for _, all := range []bool{false, true} {
		for i := range c.bodies {
			b, set := &c.bodies[i], &c.bodies[c.root(int32(i))]
			if !b.acknowledged {
				continue
			}
			for set.records < set.kept && (all || b.first < 0) {
				detail := "acknowledged, and on no topic"
				switch {
				case b.spooled:
					detail = "acknowledged as spooled, and on no topic: unless sluice_spool_events is 0 at every instance it may be on disk still"
				case b.duplicate:
					detail = "acknowledged as a duplicate, and on no topic: it may have been kept before what was read"
				}
				c.report.Lost = append(c.report.Lost, c.finding(int32(i), detail))
				set.kept--
				if !all {
					break
				}
			}
		}
	}
}

func (c *Comparison) judgeDoubled() {
	members := make(map[int32][]Place)
	for i := range c.bodies {
		r := c.root(int32(i))
		if root := &c.bodies[r]; root.records > root.atMost {
			members[r] = append(members[r], c.places(int32(i))...)
		}
	}
	for i := range c.bodies {
		if places, doubled := members[int32(i)]; doubled {
			slices.SortFunc(places, comparePlaces)
			c.report.Doubled = append(c.report.Doubled,
				c.finding(int32(i), fmt.Sprintf("is there %d times: %v", len(places), places), places...))
		}
	}
}
