package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/zap/zapcore"
)

// The sender waits an hour after these: they may only answer what will be
// wrong in an hour too.
func TestCodesAreKindToTheSender(t *testing.T) {
	hour := map[int]bool{400: true, 401: true, 402: true, 403: true, 404: true, 405: true, 410: true, 429: true, 500: true, 502: true, 521: true}
	permanent := map[string]bool{
		"missing_signature": true, "malformed_signature": true, "stale_timestamp": true, "signature_mismatch": true,
		"not_found": true, "method_not_allowed": true,
	}
	seen := make(map[string]bool)
	for _, r := range refusals {
		if hour[r.status] != permanent[r.reason] {
			t.Errorf("%s is answered %d", r.reason, r.status)
		}
		if seen[r.reason] {
			t.Errorf("%s stands twice in the table", r.reason)
		}
		seen[r.reason] = true
		if got := refusalOf(fmt.Errorf("wrapped: %w", r.err)); got.reason != r.reason {
			t.Errorf("%v is refused as %s, want %s", r.err, got.reason, r.reason)
		}
	}
}

func TestOneLineARefusal(t *testing.T) {
	f := newFixture(t, nil)
	f.deduper.claim = func(context.Context, *Delivery) (Claim, error) { return nil, errors.New("redis says no") }
	r := signedRequest(testEvent)
	r.Header.Set("X-Request-Id", "proxy-7")
	r.RemoteAddr = "203.0.113.9:999"
	f.do(t, r)
	lines := f.logs.All()
	if len(lines) != 1 {
		t.Fatalf("%d lines, want 1: %v", len(lines), lines)
	}
	got := lines[0].ContextMap()
	want := map[string]any{"reason": "claim_failed", "request_id": "proxy-7", "status": int64(503), "error": "claiming: redis says no"}
	if fmt.Sprint(got) != fmt.Sprint(want) || lines[0].Level != zapcore.WarnLevel {
		t.Errorf("logged %v at %v, want %v", got, lines[0].Level, want)
	}
}

func TestLogHoldsNothingOfTheRequest(t *testing.T) {
	f := newFixture(t, nil)
	signed := signedRequest(testEvent)
	signature := signed.Header.Get("X-Cio-Signature")
	for _, change := range []func(*http.Request){
		func(r *http.Request) { r.Header.Set("X-CIO-Signature", "v0="+signature) },
		func(r *http.Request) { r.Header.Set("X-CIO-Timestamp", "1") },
		func(r *http.Request) { r.URL.Path = "/person@example.com" },
		func(r *http.Request) { r.Method = "PERSON" },
		func(r *http.Request) { r.Header.Set("X-Request-Id", "person@example.com "+testKey) },
	} {
		r := signedRequest(testEvent)
		r.RemoteAddr = "203.0.113.9:999"
		r.Header.Set("User-Agent", "person@example.com")
		change(r)
		f.do(t, r)
	}
	for _, line := range f.logs.All() {
		text := line.Message + fmt.Sprint(line.ContextMap())
		for _, secret := range []string{signature, "person", "PERSON", "203.0.113.9", testKey, "01E", "D1"} {
			if strings.Contains(text, secret) {
				t.Errorf("logged %q: %s", secret, text)
			}
		}
	}
}

// A flood of one reason leaves room for the others.
func TestLogIsSampledByReason(t *testing.T) {
	f := newFixture(t, nil)
	for range 3 * logsPerTick {
		r := signedRequest(testEvent)
		r.Header.Del("X-Cio-Signature")
		f.do(t, r)
	}
	r := signedRequest(testEvent)
	r.Method = http.MethodGet
	f.do(t, r)
	// Twice as many if the minute changed on the way.
	if n := f.logs.FilterMessageSnippet("missing_signature").Len(); n < logsPerTick || n > 2*logsPerTick {
		t.Errorf("%d lines for %d refusals, want %d", n, 3*logsPerTick, logsPerTick)
	}
	if n := f.logs.FilterMessageSnippet("method_not_allowed").Len(); n != 1 {
		t.Errorf("%d lines for the other reason, want 1", n)
	}
	if got := f.counter(t, "sluice_refused_total{missing_signature}"); got != 3*logsPerTick {
		t.Errorf("refused_total = %v, want %v", got, 3*logsPerTick)
	}
}
