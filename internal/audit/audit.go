// Package audit compares what a sender was told with what the topics hold: every acknowledged event has to be there
// once, on its topic, byte for byte.
//
// It reads nothing itself. What was sent comes from the sender's ledger, what is held from a reader that shares no code
// with the writer.
package audit

import (
	"cmp"
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
}

// Record is a record as its reader found it.
type Record struct {
	Topic     string
	Partition int32
	Offset    int64
	ID        string // header ce_id
	Body      Sum    // of the value
}

func (r Record) String() string { return fmt.Sprintf("%s[%d]@%d", r.Topic, r.Partition, r.Offset) }

// Finding is an event of which something is wrong.
type Finding struct {
	Event  string // the event's id, or its type and the beginning of its body's hash
	Detail string
}

// Report is the outcome of [Compare].
type Report struct {
	Sent         int // different events
	Acknowledged int // of those
	Records      int // that belong to them
	Foreign      int // records that nothing in the ledger explains

	Lost      []Finding // acknowledged and nowhere
	Doubled   []Finding // more records than events
	Changed   []Finding // the event's id with other bytes
	Misplaced []Finding // on another topic
}

// Balanced reports whether every acknowledged event is where it should be, once and unchanged.
func (r *Report) Balanced() bool {
	return len(r.Lost)+len(r.Doubled)+len(r.Changed)+len(r.Misplaced) == 0
}

// group is the events that share a body, which without an event_id may be several: two deliveries of the same bytes
// under different delivery ids are two events.
type group struct {
	Sent
	kept, atMost int // records that must be there, and that may be
	records      []Record
}

// Compare says what is wrong. topics names the topics on which an event of a type may be, "" for dead letters. An event
// that was sent several times counts once; it is acknowledged if any of its posts was.
func Compare(sent []Sent, records []Record, topics func(eventType string) []string) *Report {
	r := &Report{}
	groups, byID, order := gather(sent, r)
	for _, found := range records {
		g := groups[found.Body]
		if g != nil {
			g.records = append(g.records, found)
			r.Records++
			continue
		}
		if g = byID[found.ID]; g == nil || found.ID == "" {
			r.Foreign++
			continue
		}
		r.Records++
		r.Changed = append(r.Changed, Finding{g.name(), fmt.Sprintf("%s has other bytes than were sent", found)})
		g.kept-- // not lost as well
	}
	for _, g := range order {
		g.judge(r, topics(g.Type))
	}
	return r
}

// gather brings the sent events together by body, in order, and by event id.
func gather(sent []Sent, r *Report) (byBody map[Sum]*group, byID map[string]*group, order []*group) {
	type identity struct {
		id, deliveryID string
		body           Sum
	}
	byBody, byID = make(map[Sum]*group), make(map[string]*group)
	acknowledged := make(map[identity]bool)
	for _, s := range sent {
		who := identity{id: s.ID, body: s.Body}
		if s.ID == "" {
			who.deliveryID = s.DeliveryID
		}
		g := byBody[s.Body]
		if g == nil {
			g = &group{Sent: s}
			byBody[s.Body] = g
			order = append(order, g)
			if s.ID != "" {
				byID[s.ID] = g
			}
		}
		before, known := acknowledged[who]
		if !known {
			g.atMost++
			r.Sent++
		}
		if s.Acknowledged && !before {
			g.kept++
			r.Acknowledged++
		}
		acknowledged[who] = before || s.Acknowledged
	}
	return byBody, byID, order
}

func (g *group) judge(r *Report, topics []string) {
	slices.SortFunc(g.records, func(a, b Record) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	switch {
	case len(g.records) < g.kept:
		r.Lost = append(r.Lost, Finding{g.name(), "acknowledged, and on no topic"})
	case len(g.records) > g.atMost:
		r.Doubled = append(r.Doubled, Finding{g.name(), fmt.Sprintf("is there %d times: %v", len(g.records), g.records)})
	}
	for _, found := range g.records {
		if !slices.Contains(topics, found.Topic) {
			r.Misplaced = append(r.Misplaced, Finding{g.name(), fmt.Sprintf("is at %s, want topic %s", found, topics[0])})
		}
	}
}

// name is what a person finds the event by.
func (g *group) name() string {
	if g.ID != "" {
		return g.ID
	}
	return fmt.Sprintf("%s without event_id, body's SHA-256 %x…", cmp.Or(g.Type, "dead letter"), g.Body[:6])
}
