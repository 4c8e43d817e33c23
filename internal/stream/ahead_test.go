package stream

import (
	"context"
	"errors"
	"testing"
	"time"
)

// A flow waits when too many records of a partition aren't kept, and only for those.
func TestAhead(t *testing.T) {
	var ts tickets
	ts.begin(nil)
	give := func(topic string, offset int64) (Ticket, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		r := &Record{Topic: topic, Offset: offset}
		if err := ts.room(ctx, r, 3); err != nil {
			return Ticket{}, err
		}
		return ts.issue(r), nil
	}
	var given []Ticket
	for offset := range int64(3) {
		ticket, err := give("a", offset)
		if err != nil {
			t.Fatal(err)
		}
		given = append(given, ticket)
	}
	if _, err := give("a", 3); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a fourth record: %v", err)
	}
	if _, err := give("b", 0); err != nil {
		t.Errorf("another partition: %v", err)
	}
	given[1].Kept() // not the first
	if _, err := give("a", 3); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a fourth record, when the second is kept: %v", err)
	}
	time.AfterFunc(time.Millisecond, given[0].Kept)
	r := &Record{Topic: "a", Offset: 3}
	if err := ts.room(t.Context(), r, 3); err != nil {
		t.Errorf("a fourth record, when the first is kept: %v", err)
	}
}

// A partition that begins anew has nothing to do with tickets of the past.
func TestTicketsAnew(t *testing.T) {
	var ts tickets
	ts.begin(nil)
	p := Partition{Topic: "a"}
	old := ts.issue(&Record{Topic: "a", Offset: 7})
	fresh := ts.issue(&Record{Topic: "a", Offset: 0})
	if next := ts.next()[p]; next != 0 {
		t.Errorf("next is %d, want 0", next)
	}
	old.Kept()
	if next := ts.next()[p]; next != 0 {
		t.Errorf("next is %d after a ticket of the past, want 0", next)
	}
	fresh.Kept()
	if next := ts.next()[p]; next != 1 {
		t.Errorf("next is %d, want 1", next)
	}
}
