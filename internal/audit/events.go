package audit

import (
	"cmp"
	"crypto/sha256"
	"fmt"
)

// body is what was sent with the same bytes. Several events may have them: without an event_id, two deliveries under
// different delivery ids are two events. And one event may have several bodies, if it was sent with other bytes before.
// So bodies that share an event form a set, of which only the sums can be judged; nearly always it is one body.
type body struct {
	sum       Sum
	id        string // event_id
	eventType int32  // in Comparison.types
	first     int32  // its latest record, in Comparison.records; -1: none

	parent int32 // towards the set's root
	// Of the set, at its root.
	records, kept, atMost int32 // that are there, that have to be, and that may be

	acknowledged, duplicate, spooled bool
}

// found is a record of a body, in a list from the latest one back.
type found struct {
	offset                 int64
	topic, partition, next int32
}

// identity is an event: who has it, and whether it has been acknowledged.
type identity struct {
	body         int32
	acknowledged bool
}

// key is the first half of a SHA-256.
type key [sha256.Size / 2]byte

func short(sum Sum) key { return key(sum[:sha256.Size/2]) }

// kinds of keys in Comparison.ids, so that they don't meet.
const (
	byIdentity   = 'i' // Options.Identity
	byDeadLetter = 'd' // the same of a dead letter, as if it were known by its event_id
	byEventID    = 'e' // an event_id whose event has another identity
)

func keyOf(kind byte, text string) key {
	return short(sha256.Sum256(append([]byte{kind}, text...)))
}

// Send takes in an event. One that was sent several times counts once; it is acknowledged if any of its posts was.
func (c *Comparison) Send(s Sent) {
	i := c.bodyOf(&s)
	own := c.opts.Identity(s.ID, s.DeliveryID, s.Body)
	most := keyOf(byIdentity, own)
	least := most
	if s.Type == "" && s.ID != "" {
		// A body that isn't a whole JSON object is known by its bytes although an event_id can be read from it, and the
		// sender doesn't tell which it was: two bodies with one id are two events at most and one at least.
		most, least = keyOf(byIdentity, c.opts.Identity("", s.DeliveryID, s.Body)), keyOf(byDeadLetter, own)
	}
	isNew := c.join(most, i)
	if isNew {
		c.bodies[c.root(i)].atMost++
	}
	if least != most {
		isNew = c.join(least, i)
	}
	if isNew {
		c.report.Sent++
	}
	if who := c.ids[least]; s.Acknowledged && !who.acknowledged {
		c.ids[least] = identity{body: who.body, acknowledged: true}
		c.report.Acknowledged++
		c.bodies[c.root(i)].kept++
	}
	if s.ID != "" && s.Type != "" && own != c.opts.Identity(s.ID, "", Sum{}) {
		c.join(keyOf(byEventID, s.ID), i)
	}
}

// bodyOf finds or adds the event's bytes.
func (c *Comparison) bodyOf(s *Sent) int32 {
	k := short(s.Body)
	i, known := c.byBody[k]
	if !known {
		i = int32(len(c.bodies))
		c.byBody[k] = i
		c.bodies = append(c.bodies, body{sum: s.Body, id: s.ID, eventType: c.types.number(s.Type), first: -1, parent: i})
	}
	b := &c.bodies[i]
	b.acknowledged = b.acknowledged || s.Acknowledged
	b.duplicate = b.duplicate || s.Duplicate
	b.spooled = b.spooled || s.Spooled
	return i
}

// join notes that a body belongs to an event, and reports whether the event is new. An event's bodies become one set.
func (c *Comparison) join(k key, i int32) (isNew bool) {
	who, known := c.ids[k]
	if !known {
		c.ids[k] = identity{body: i}
		return true
	}
	a, b := c.root(who.body), c.root(i)
	if a == b {
		return false
	}
	into, from := &c.bodies[min(a, b)], &c.bodies[max(a, b)]
	from.parent = min(a, b)
	into.kept += from.kept
	into.atMost += from.atMost
	return false
}

// root is the body that stands for a set.
func (c *Comparison) root(i int32) int32 {
	for c.bodies[i].parent != i {
		c.bodies[i].parent = c.bodies[c.bodies[i].parent].parent
		i = c.bodies[i].parent
	}
	return i
}

// byEventID finds the event that a record's ce_id names.
func (c *Comparison) byEventID(id string) (int32, bool) {
	if id == "" {
		return 0, false
	}
	for _, k := range []key{keyOf(byIdentity, c.opts.Identity(id, "", Sum{})), keyOf(byEventID, id), keyOf(byIdentity, id)} {
		if who, known := c.ids[k]; known {
			return who.body, true
		}
	}
	return 0, false
}

// keep remembers where a record of a body is.
func (c *Comparison) keep(i int32, at Place) {
	b := &c.bodies[i]
	c.records = append(c.records, found{offset: at.Offset, topic: c.topics.number(at.Topic), partition: at.Partition, next: b.first})
	b.first = int32(len(c.records) - 1)
	c.bodies[c.root(i)].records++
}

// places are where the records of a body are.
func (c *Comparison) places(i int32) (places []Place) {
	for n := c.bodies[i].first; n >= 0; n = c.records[n].next {
		r := c.records[n]
		places = append(places, Place{c.topics.of(r.topic), r.partition, r.offset})
	}
	return places
}

func comparePlaces(a, b Place) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
}

func (c *Comparison) finding(i int32, detail string, records ...Place) Finding {
	b := &c.bodies[i]
	eventType := c.types.of(b.eventType)
	name := b.id
	if name == "" {
		name = fmt.Sprintf("%s without event_id, body's SHA-256 %x…", cmp.Or(eventType, "dead letter"), b.sum[:6])
	}
	return Finding{Event: name, Type: eventType, Body: b.sum, Records: records, Detail: detail}
}

// names gives each of few texts a number.
type names struct {
	numbers map[string]int32
	texts   []string
}

func newNames() names { return names{numbers: make(map[string]int32)} }

func (n *names) number(text string) int32 {
	i, known := n.numbers[text]
	if !known {
		i = int32(len(n.texts))
		n.numbers[text], n.texts = i, append(n.texts, text)
	}
	return i
}

func (n *names) of(number int32) string { return n.texts[number] }
