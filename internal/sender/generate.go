package sender

import (
	"crypto/rand"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"sluice/event"
)

// Shape is the form of an envelope.
type Shape string

// The shapes.
const (
	ShapeToday Shape = "today" // object_type and metric
	ShapeOld   Shape = "old"   // event_type, and ids as strings
	ShapeBoth  Shape = "both"  // in turns
)

// GeneratorOptions say which events to make.
type GeneratorOptions struct {
	// Types are the names of described types; none stands for all of them. What Odd adds keeps its own types.
	Types []string
	// Shape is ShapeBoth if empty.
	Shape Shape
	// Odd mixes in bodies that are unusual, and some that must become dead letters.
	Odd bool
	// Seed decides about names, places and numbers.
	Seed uint64
	// RunID is part of every id: 18 digits of Crockford's base 32, from [NewRunID]. The same one with the same other
	// options gives the same events again; "" stands for a new one.
	RunID string
	// DeliveryIDs gives events an X-CIO-Delivery-ID.
	DeliveryIDs bool
}

// Generator makes events like the sender's. Event n is always the same one. A Generator is immutable and safe for
// concurrent use.
type Generator struct {
	options GeneratorOptions
	began   int64 // Unix seconds, from the run id
	pass    []maker
}

// maker makes one kind of event from a draft.
type maker func(*draft) Event

// NewGenerator checks the options. Its errors name what isn't known.
func NewGenerator(o GeneratorOptions) (*Generator, error) {
	if o.RunID == "" {
		o.RunID = NewRunID(time.Now())
	}
	if len(o.RunID) != runIDLength || strings.Trim(o.RunID, base32) != "" {
		return nil, fmt.Errorf("run id %q isn't %d digits of base 32", o.RunID, runIDLength)
	}
	var shapes []Shape
	switch o.Shape {
	case ShapeToday, ShapeOld:
		shapes = []Shape{o.Shape}
	case ShapeBoth, "":
		shapes = []Shape{ShapeToday, ShapeOld}
	default:
		return nil, fmt.Errorf("shape %q: want %s, %s or %s", o.Shape, ShapeToday, ShapeOld, ShapeBoth)
	}
	types, err := selected(o.Types)
	if err != nil {
		return nil, err
	}
	g := &Generator{options: o, began: runTime(o.RunID)}
	for _, t := range types {
		for _, s := range shapes {
			g.pass = append(g.pass, plain(t, s))
		}
	}
	if o.Odd {
		g.pass = mix(g.pass, odd(types))
	}
	return g, nil
}

// selected finds the described types of these names.
func selected(names []string) ([]event.Type, error) {
	types := event.Described()
	if len(names) == 0 {
		return types, nil
	}
	var chosen []event.Type
	for _, name := range names {
		i := slices.IndexFunc(types, func(t event.Type) bool { return t.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("event type %q isn't described", name)
		}
		chosen = append(chosen, types[i])
	}
	return chosen, nil
}

// mix spreads the odd makers over the plain ones.
func mix(usual, unusual []maker) []maker {
	var mixed []maker
	for i, j := 0, 0; i < len(usual) || j < len(unusual); {
		if j*len(usual) < i*len(unusual) || i == len(usual) {
			mixed = append(mixed, unusual[j])
			j++
			continue
		}
		mixed = append(mixed, usual[i])
		i++
	}
	return mixed
}

// Pass is the number of events that it takes to see each kind once.
func (g *Generator) Pass() int { return len(g.pass) }

// RunID is the run id in force.
func (g *Generator) RunID() string { return g.options.RunID }

// Event makes event n, counted from 0.
func (g *Generator) Event(n uint64) Event {
	e := g.pass[n%uint64(len(g.pass))](newDraft(g, n))
	if !g.options.DeliveryIDs {
		e.DeliveryID = ""
	}
	return e
}

// Events makes the first count events one by one, or events without end if count is 0. The error is always nil; it is
// there for [Sender.Run].
func (g *Generator) Events(count uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for n := uint64(0); count == 0 || n < count; n++ {
			if !yield(g.Event(n), nil) {
				return
			}
		}
	}
}

const (
	base32      = "0123456789ABCDEFGHJKMNPQRSTVWXYZ" // Crockford's, as in ULIDs
	timeDigits  = 10                                 // of a ULID: its milliseconds
	runIDLength = 18
	eventDigits = 8 // of a ULID, the rest: 2^40 events a run
)

// NewRunID makes a run id that begins as the ULIDs of that time do and is random from there on.
func NewRunID(now time.Time) string {
	var random [runIDLength - timeDigits]byte
	_, _ = rand.Read(random[:]) // never fails
	id := appendDigits(nil, uint64(max(now.UnixMilli(), 0)), timeDigits)
	for _, r := range random {
		id = append(id, base32[r%32])
	}
	return string(id)
}

// runTime is the time in a run id, in Unix seconds.
func runTime(runID string) int64 {
	ms := int64(0)
	for i := range timeDigits {
		ms = ms<<5 | int64(strings.IndexByte(base32, runID[i]))
	}
	return ms / 1000
}

// appendDigits appends the low 5·count bits of n.
func appendDigits(b []byte, n uint64, count int) []byte {
	for shift := 5 * (count - 1); shift >= 0; shift -= 5 {
		b = append(b, base32[n>>shift&31])
	}
	return b
}
