package publisher

import (
	"testing"
	"time"

	"sluice/event"
)

// hotMessage is an event of 450 bytes with the headers that Customer.io's requests carry.
func hotMessage(t testing.TB) *Message {
	t.Helper()
	body := []byte(`{"event_id":"01K3M8Q4C7V5W9Z2X6Y1B0N8RT","object_type":"email","metric":"delivered","timestamp":1767225603,` +
		`"data":{"action_id":204,"campaign_id":17,"content_id":3310,"customer_id":"p-52881","delivery_id":"dgOa8wYAAZq4kT0eWb7nQ2sLx==",` +
		`"identifiers":{"id":"p-52881","email":"noor@example.net","cio_id":"a31c0600b0e2"},"journey_id":"01K3M8PZ6V6HXW1J8Q2RS5T9AB",` +
		`"parent_action_id":188,"subject":"Your order is on its way","recipient":"noor@example.net"}}`)
	m := &Message{
		Body: body, KeyName: "main",
		Headers: []Header{
			{"X-Cio-Delivery-Id", "dgOa8wYAAZq4kT0eWb7nQ2sLx=="},
			{"X-Cio-Signature", "a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90"},
			{"X-Cio-Timestamp", "1767225603"},
		},
		Live: func() bool { return true },
	}
	var err error
	if m.Event, err = event.Parse(body); err != nil {
		t.Fatal(err)
	}
	m.DedupeID = func() string { return m.Event.ID }
	return m
}

func BenchmarkRecord(b *testing.B) {
	m := hotMessage(b)
	dead := *m
	_, dead.RejectCause = event.Parse(m.Body[:100])
	dead.Reject = event.ReasonNotJSON
	at := time.Unix(1767225604, 0)
	for _, bench := range []struct {
		name string
		m    *Message
	}{{"event", m}, {"dead-letter", &dead}} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Record(bench.m, KeyCustomer, at)
			}
		})
	}
}
