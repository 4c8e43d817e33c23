package main

import (
	"bytes"
	"net/http"
	"testing"
	"time"

	"sluice/event"
	"sluice/ingest/signature"
)

// TestEvents holds the generator to what the benchmark promises: about 450 bytes, every described type, known by
// number.
func TestEvents(t *testing.T) {
	e := newEvents(allTypes)
	types := make(map[string]bool)
	keys := make(map[string]bool)
	for _, first := range []uint64{0, 1 << 20, 1 << 40} {
		for n := first; n < first+200; n++ {
			body := e.appendBody(nil, n)
			if len(body) < 420 || len(body) > 480 {
				t.Fatalf("event %d has %d bytes: %s", n, len(body), body)
			}
			parsed, err := event.Parse(body)
			if err != nil || parsed.Type != e.eventType(n) || len(parsed.ID) != 26 {
				t.Fatalf("event %d is %+v, %v", n, parsed, err)
			}
			if got, err := number(body); err != nil || got != n {
				t.Fatalf("event %d is read as %d, %v", n, got, err)
			}
			types[parsed.Type] = true
			keys[parsed.Key] = true
		}
	}
	if len(types) != len(event.Described()) || len(keys) < 100 {
		t.Errorf("%d types, %d keys", len(types), len(keys))
	}
}

func TestNumberRefuses(t *testing.T) {
	for _, body := range []string{"", bodyStart, bodyStart + "00000000000U", `{"event_id":"other"}`} {
		if n, err := number([]byte(body)); err == nil {
			t.Errorf("%q is read as %d", body, n)
		}
	}
}

func TestRequests(t *testing.T) {
	r := new(requests)
	r.fill(newEvents(allTypes), 7, 3) // over the first, which is longer
	r.fill(newEvents(allTypes), 5, 2)
	if r.len() != 2 || len(r.outcomes) != 2 {
		t.Fatalf("%d requests, %d outcomes", r.len(), len(r.outcomes))
	}
	verifier, err := signature.New([]signature.Key{{Name: "k", Secret: signingKey}}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for i := range r.len() {
		req, err := http.ReadRequest(bytesReader(r.at(i)))
		if err != nil {
			t.Fatal(err)
		}
		body := new(bytes.Buffer)
		if _, err := body.ReadFrom(req.Body); err != nil {
			t.Fatal(err)
		}
		if n, err := number(body.Bytes()); err != nil || n != 5+uint64(i) {
			t.Errorf("request %d is of event %d, %v", i, n, err)
		}
		h := req.Header
		if _, err := verifier.Verify(h.Get("X-CIO-Timestamp"), h.Get("X-CIO-Signature"), body.Bytes(), time.Now()); err != nil {
			t.Error(err)
		}
	}
}
