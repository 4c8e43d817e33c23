package sender

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"testing"

	"sluice/event"
)

const testRun = "01K3M8Q4C7V5W9TEST"

func generator(t *testing.T, o GeneratorOptions) *Generator {
	t.Helper()
	if o.RunID == "" {
		o.RunID = testRun
	}
	g, err := NewGenerator(o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestGeneratedEventsAreWhatTheySay compares with the receiver's own reading, over several passes.
func TestGeneratedEventsAreWhatTheySay(t *testing.T) {
	for name, o := range map[string]GeneratorOptions{
		"plain":   {DeliveryIDs: true},
		"odd":     {Odd: true, DeliveryIDs: true},
		"today":   {Shape: ShapeToday, Seed: 3},
		"old":     {Shape: ShapeOld},
		"of some": {Types: []string{"sms_sent", "unsubscribed"}, Odd: true},
	} {
		t.Run(name, func(t *testing.T) {
			g := generator(t, o)
			ids, bodies := map[string]bool{}, map[[sha256.Size]byte]bool{}
			for n := range uint64(4 * g.Pass()) {
				e := g.Event(n)
				ev, err := event.Parse(e.Body)
				if ev.ID != e.ID || ev.Type != e.Type || (err != nil) != (e.Type == "") {
					t.Errorf("read as %q %q (%v), made as %q %q: %.200q", ev.ID, ev.Type, err, e.ID, e.Type, e.Body)
				}
				if e.ID != "" && ids[e.ID] {
					t.Errorf("id %s comes again", e.ID)
				}
				sum := sha256.Sum256(e.Body)
				if bodies[sum] {
					t.Errorf("body comes again: %.200q", e.Body)
				}
				ids[e.ID], bodies[sum] = true, true
				if (e.DeliveryID != "") != o.DeliveryIDs || !fitsHeader(e.DeliveryID) {
					t.Errorf("delivery id %q", e.DeliveryID)
				}
			}
		})
	}
}

func TestPassHasEachKind(t *testing.T) {
	g := generator(t, GeneratorOptions{})
	if want := 2 * len(event.Described()); g.Pass() != want {
		t.Errorf("a pass has %d events, want %d", g.Pass(), want)
	}
	type kind struct {
		name string
		rule event.Rule
	}
	seen, size := map[kind]int{}, 0
	for n := range uint64(g.Pass()) {
		e := g.Event(n)
		ev, _ := event.Parse(e.Body)
		seen[kind{ev.Type, ev.Rule}]++
		size += len(e.Body)
		if ev.Key == "" || ev.Time.IsZero() || ev.DeliveryID == "" || !json.Valid(e.Body) {
			t.Errorf("an event that is too bare: %s", e.Body)
		}
	}
	for _, typ := range event.Described() {
		for _, rule := range []event.Rule{event.RuleNames, event.RuleEventType} {
			if n := seen[kind{typ.Name, rule}]; n != 1 {
				t.Errorf("%s by %s: %d times", typ.Name, rule, n)
			}
		}
	}
	if mean := size / g.Pass(); mean < 350 || mean > 550 {
		t.Errorf("%d bytes on average, want about 450", mean)
	}
}

func TestOddOnesAreThere(t *testing.T) {
	g := generator(t, GeneratorOptions{Odd: true, DeliveryIDs: true})
	reasons, big, nameless, headers := map[event.Reason]int{}, 0, 0, map[string]int{}
	for n := range uint64(g.Pass()) {
		e := g.Event(n)
		ev, err := event.Parse(e.Body)
		if failed, ok := errors.AsType[*event.ParseError](err); ok {
			reasons[failed.Reason]++
		} else if ev.ID == "" {
			nameless++
		}
		if len(e.Body) > 200_000 {
			big++
		}
		headers[e.DeliveryID]++
		if bytes.HasPrefix(e.Body, []byte("{ ")) && len(bytes.TrimSpace(e.Body[1:len(e.Body)-1])) != 0 {
			t.Errorf("the empty object isn't empty: %q", e.Body)
		}
	}
	for _, reason := range []event.Reason{event.ReasonNotJSON, event.ReasonNotObject, event.ReasonNoType, event.ReasonBadType} {
		if reasons[reason] == 0 {
			t.Errorf("no dead letter for %s", reason)
		}
	}
	if headers["dgTsameMessageForAll"] == 0 || big == 0 || nameless < 2 {
		t.Errorf("%d big ones, %d without an id", big, nameless)
	}
}

func TestGeneratorRepeatsItselfOnlyByRunID(t *testing.T) {
	o := GeneratorOptions{Odd: true, Seed: 7, DeliveryIDs: true}
	a, b := generator(t, o), generator(t, o)
	o.RunID = "01K3M8Q4C7V5W9TESS"
	other := generator(t, o)
	o.RunID, o.Seed = testRun, 8
	reseeded := generator(t, o)
	changed := false
	for n := range uint64(a.Pass()) {
		e := a.Event(n)
		if !bytes.Equal(e.Body, b.Event(n).Body) {
			t.Errorf("event %d differs: %.100q", n, e.Body)
		}
		if o := other.Event(n); bytes.Equal(e.Body, o.Body) || e.ID != "" && e.ID == o.ID {
			t.Errorf("event %d of another run is the same: %.100q", n, e.Body)
		}
		changed = changed || !bytes.Equal(e.Body, reseeded.Event(n).Body)
	}
	if !changed {
		t.Error("the seed changes nothing")
	}
}

func TestEventsEnd(t *testing.T) {
	g := generator(t, GeneratorOptions{})
	for _, count := range []uint64{0, 3} {
		n := uint64(0)
		for e, err := range g.Events(count) {
			if err != nil || !bytes.Equal(e.Body, g.Event(n).Body) {
				t.Errorf("event %d: %v, %s", n, err, e.Body)
			}
			if n++; n == 100 {
				break
			}
		}
		if want := min(count-1, 99) + 1; n != want {
			t.Errorf("%d events of %d, want %d", n, count, want)
		}
	}
}

func TestGeneratorRefuses(t *testing.T) {
	for name, o := range map[string]GeneratorOptions{
		"type":   {Types: []string{"email_sent", "email_sentt"}},
		"shape":  {Shape: "square"},
		"short":  {RunID: "01K3M8"},
		"digits": {RunID: "01K3M8Q4C7V5W9TEUU"},
	} {
		if _, err := NewGenerator(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
