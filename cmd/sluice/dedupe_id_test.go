package main

import (
	"strings"
	"testing"
	"time"

	"sluice/dedupe"
	"sluice/event"
	"sluice/ingest"
	"sluice/internal/stream"
	"sluice/publisher"
)

// A record tells the id that its request had, whichever part of that it has kept.
func TestIdentifyRecord(t *testing.T) {
	const (
		typed   = `{"event_type":"email_sent"}`
		withID  = `{"event_id":"01J","event_type":"email_sent"}`
		control = "{\"event_id\":\"a\\u0007b\",\"event_type\":\"email_sent\"}"
		marked  = `{"event_id":"~h00112233445566778899aabbccddeeff","event_type":"email_sent"}`
		broken  = `{"event_id":"01J","event_type":"email_sent"`
	)
	long := strings.Repeat("d", 5000)
	body := dedupe.Identify(dedupe.EventID, "", "", []byte(typed))
	both := dedupe.Identify(dedupe.EventID, "", long, []byte(typed))
	hash := dedupe.Identify(dedupe.DeliveryID, "", long, nil)
	events, deliveries := dedupe.EventID, dedupe.DeliveryID
	tests := []struct {
		name    string
		mode    dedupe.Mode
		body    string
		ceID    string
		header  []string // on the record
		request string   // what the request's header was
		untold  bool
		assumed bool
	}{
		{"event_id", events, withID, "01J", nil, "", false, false},
		{"event_id, header left out", events, withID, "01J", nil, long, false, false},
		{"event_id and header", events, withID, "01J", []string{"D"}, "D", false, false},
		{"unfit event_id", events, control, "~e00", nil, "D", false, false},
		{"event_id like a hash", events, marked, "~h00112233445566778899aabbccddeeff", nil, "", false, false},
		{"no event_id", events, typed, body, nil, "", false, false},
		{"no event_id, header", events, typed, both, []string{"D"}, "D", false, false},
		{"no event_id, two headers", events, typed, both, []string{"D", "E"}, "D", false, false},
		{"no event_id, an empty header and another", events, typed, body, []string{"E"}, "", false, false},
		{"no event_id, header left out", events, typed, both, nil, long, false, false},
		{"no event_id, header left out in the other mode", events, typed, hash, nil, long, true, false},
		{"dead letter", events, broken, "", nil, "", false, true},
		{"dead letter, header", events, broken, "", []string{"D"}, "D", false, false},
		{"delivery", deliveries, withID, "01J", []string{"D"}, "D", false, false},
		{"odd delivery", deliveries, withID, "01J", []string{"D D"}, "D D", false, false},
		{"delivery of the other mode", deliveries, typed, both, []string{"D"}, "D", false, false},
		{"delivery left out", deliveries, typed, hash, nil, long, false, false},
		{"delivery left out in the other mode", deliveries, typed, both, nil, long, true, false},
		{"no delivery", deliveries, withID, "01J", nil, "", false, true},
		{"no delivery, an id like a delivery", deliveries, marked, "~h00112233445566778899aabbccddeeff", nil, "", false, true},
		{"nothing but a body", deliveries, typed, body, nil, "", false, false},
		{"dead letter, no delivery", deliveries, broken, "", nil, "", false, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := &stream.Record{Value: []byte(test.body)}
			if test.ceID != "" {
				r.Headers = append(r.Headers, stream.Header{Key: "ce_id", Value: []byte(test.ceID)})
			}
			for _, h := range test.header {
				r.Headers = append(r.Headers, stream.Header{Key: "X-CIO-Delivery-ID", Value: []byte(h)})
			}
			d := &ingest.Delivery{Body: r.Value, CIODeliveryID: test.request}
			if d.Event, d.RejectCause = event.Parse(r.Value); d.RejectCause != nil {
				d.Reject = event.ReasonNotJSON
			}
			want := recordID{identify(test.mode, d), test.assumed}
			if test.untold {
				want = recordID{}
			}
			if got := identifyRecord(test.mode, r); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestRecordMark(t *testing.T) {
	where := publisher.TopicOptions{DeadLetter: "dl"}
	now := time.Now()
	for _, test := range []struct {
		topic string
		at    time.Time
		want  dedupe.Mark
	}{
		{"a", now.Add(-time.Hour), dedupe.Mark{ID: "x", Until: now.Add(7 * time.Hour)}},
		{"a", now.Add(time.Hour), dedupe.Mark{ID: "x", Until: now.Add(8 * time.Hour)}},
		{"dl", now, dedupe.Mark{ID: "x", DeadLetter: true, Until: now.Add(8 * time.Hour)}},
	} {
		if got := recordMark("x", &stream.Record{Topic: test.topic, Time: test.at}, where, 8*time.Hour, now); got != test.want {
			t.Errorf("got %+v, want %+v", got, test.want)
		}
	}
}
