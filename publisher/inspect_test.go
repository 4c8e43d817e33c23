package publisher

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"sluice/event"
	"sluice/internal/testenv"
	"sluice/publisher/spool"
)

// TestReadSpoolEntry tells what the entries stand for, as it will be in Kafka.
func TestReadSpoolEntry(t *testing.T) {
	kafka := testenv.Kfake(t)
	down := kafka.Outage()
	dir := t.TempDir()
	o := spooling("inspect", kafka, dir)
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Publish(t.Context(), numberedEvent(t, 100)); err != nil {
		t.Fatal(err)
	}
	drained(t, p)
	down.Store(true)
	var bodies []string
	send := func(m *Message) {
		t.Helper()
		if outcome, err := p.Publish(t.Context(), m); outcome != Spooled {
			t.Fatalf("outcome %d, %v", outcome, err)
		}
		bodies = append(bodies, string(m.Body))
	}
	for n := range 3 { // of the first one's topic there is a batch, the others are kept
		send(numberedEvent(t, n))
	}
	send(&Message{
		Body: []byte("\x00no event"), Reject: event.ReasonNotJSON, RejectCause: errors.New("it is binary"),
		DedupeID: func() string { return "dead" }, Live: func() bool { return true }, Headers: []Header{{"X-Cio-Timestamp", "1"}},
	})
	left := p.Left()
	s, err := spool.Inspect(dir, "one")
	if err != nil || !s.Running || s.Unsettled != left {
		t.Fatalf("%+v, %v; %d left", s, err, left)
	}
	var found []string
	var entries []*SpoolEntry
	if gone, err := s.Each(func(e spool.Entry) error {
		x, err := ReadSpoolEntry(e, o.Topics, o.Key)
		if err != nil {
			return err
		}
		entries = append(entries, x)
		for _, r := range x.Records {
			found = append(found, string(r.Value))
		}
		return nil
	}); gone != 0 || err != nil {
		t.Fatalf("%d gone, %v", gone, err)
	}
	slices.Sort(bodies)
	slices.Sort(found)
	if !slices.Equal(bodies, found) {
		t.Errorf("found %q, want %q", found, bodies)
	}
	batches := 0
	for _, x := range entries {
		if x.MayBeInKafka != (x.Stamp != "") || x.MayBeInKafka != (x.Partition >= 0) {
			t.Errorf("%+v", x)
		}
		if x.MayBeInKafka {
			batches++
		}
	}
	if batches == 0 || batches == len(entries) {
		t.Errorf("%d of %d entries are batches", batches, len(entries))
	}
	down.Store(false)
	drained(t, p)
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Kafka has each as it was told.
	records := kafka.ConsumeAll(t, "inspect")
	for _, x := range entries {
		for _, r := range x.Records {
			if !slices.ContainsFunc(records, func(got testenv.Record) bool { return same(x.Topic, r, got) }) {
				t.Errorf("on %s there is no %+v", x.Topic, r)
			}
		}
	}
}

// same compares what was told with a record, but for the time of a dead letter.
func same(topic string, r SpoolRecord, got testenv.Record) bool {
	if got.Topic != topic || !bytes.Equal(got.Value, r.Value) || !bytes.Equal(got.Key, r.Key) || len(got.Headers) != len(r.Headers) {
		return false
	}
	for i, h := range r.Headers {
		if got.Headers[i].Name != h.Key || string(got.Headers[i].Value) != h.Value && h.Key != headerTime {
			return false
		}
	}
	return true
}
