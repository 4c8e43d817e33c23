package ingest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/event"
)

func TestPublished(t *testing.T) {
	f := newFixture(t, nil)
	r := signedRequest(testEvent)
	r.Header.Set("X-Request-Id", "proxy-7")
	a := f.do(t, r)
	a.expect(t, http.StatusOK, "published")
	if a.EventID != "01E" || a.EventType != "email_sent" || a.RequestID != "proxy-7" {
		t.Errorf("answer %+v", a)
	}
	for series, want := range map[string]float64{
		"sluice_received_total":                           1,
		"sluice_published_total{email_sent}":              1,
		"sluice_published_total{other}":                   0,
		"sluice_verified_total{main}":                     1,
		"sluice_verified_total{old}":                      0,
		"sluice_duplicates_total{email_sent}":             0,
		"sluice_duplicates_total{other}":                  0,
		"sluice_in_flight_requests":                       0,
		"sluice_in_flight_bytes":                          0,
		"sluice_stage_duration_seconds{read}":             1,
		"sluice_stage_duration_seconds{verify}":           1,
		"sluice_stage_duration_seconds{parse}":            1,
		"sluice_stage_duration_seconds{claim}":            1,
		"sluice_stage_duration_seconds{publish}":          1,
		"sluice_stage_duration_seconds{total}":            1,
		"sluice_refused_total{signature_mismatch}":        0,
		"sluice_dead_lettered_total{not_json}":            0,
		"sluice_dead_lettered_total{" + "publisher" + "}": 0,
	} {
		if got := f.counter(t, series); got != want {
			t.Errorf("%s = %v, want %v", series, got, want)
		}
	}
	f.expectIdle(t)
}

func TestDeliveryIsComplete(t *testing.T) {
	received := time.Now().Add(3 * time.Second)
	f := newFixture(t, func(o *Options) { o.Now = func() time.Time { return received } })
	body := "\t" + testEvent + "\r\n"
	r := signedRequest(body)
	r.Header.Set("Content-Type", "text/plain") // no reason to refuse
	r.Header.Set("X-CIO-Delivery-ID", "D1")
	r.Header.Add("X-CIO-Future", "b")
	r.Header.Add("X-CIO-Future", "a")
	r.Header.Set("Traceparent", "00-4bf9-00f0-01")
	r.Header.Set("Tracestate", "a=1")
	r.Header.Set("Authorization", "secret")
	r.Header.Set("X-Request-Id", "not sane")
	f.do(t, r).expect(t, http.StatusOK, "published")

	d := f.published()[0]
	if string(d.Body) != body {
		t.Errorf("body %q", d.Body)
	}
	want := []Header{
		{"Traceparent", "00-4bf9-00f0-01"},
		{"Tracestate", "a=1"},
		{"X-Cio-Delivery-Id", "D1"},
		{"X-Cio-Future", "b"},
		{"X-Cio-Future", "a"},
		{"X-Cio-Signature", r.Header.Get("X-Cio-Signature")},
		{"X-Cio-Timestamp", r.Header.Get("X-Cio-Timestamp")},
	}
	if !reflect.DeepEqual(d.Headers, want) {
		t.Errorf("headers %v, want %v", d.Headers, want)
	}
	if d.KeyName != "main" || !d.Received.Equal(received) || d.CIODeliveryID != "D1" || d.DedupeSkipped || d.Reject != "" || d.RejectCause != nil {
		t.Errorf("delivery %+v", d)
	}
	if len(d.RequestID) != 32 {
		t.Errorf("request id %q, want 32 digits made here", d.RequestID)
	}
	if d.Event.ID != "01E" || d.Event.Type != "email_sent" || d.Event.DeliveryID != "D1" {
		t.Errorf("event %+v", d.Event)
	}
}

func TestDeadLetters(t *testing.T) {
	tests := []struct {
		name, body string
		want       event.Reason
		eventID    string
	}{
		{"empty", "", event.ReasonNotJSON, ""},
		{"cut off", `{"event_id":"01E",`, event.ReasonNotJSON, "01E"},
		{"array", `[` + testEvent + `]`, event.ReasonNotObject, ""},
		{"no type", `{"event_id":"01E"}`, event.ReasonNoType, "01E"},
		{"bad type", `{"event_id":"01E","object_type":"a/b","metric":"c"}`, event.ReasonBadType, "01E"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, nil)
			a := f.do(t, signedRequest(tt.body))
			a.expect(t, http.StatusOK, "dead_lettered")
			if a.EventID != tt.eventID {
				t.Errorf("event id %q, want %q", a.EventID, tt.eventID)
			}
			d := f.published()[0]
			if d.Reject != tt.want || d.RejectCause == nil || string(d.Body) != tt.body {
				t.Errorf("delivery rejected for %q (%v), want %q", d.Reject, d.RejectCause, tt.want)
			}
			if got := f.counter(t, "sluice_dead_lettered_total{"+string(tt.want)+"}"); got != 1 {
				t.Errorf("dead_lettered_total = %v, want 1", got)
			}
			if f.logs.FilterMessageSnippet("dead letter").Len() != 1 {
				t.Error("no line in the log")
			}
		})
	}

	t.Run("by the publisher", func(t *testing.T) {
		f := newFixture(t, nil)
		f.publisher.publish = func(_ context.Context, _ *Delivery, c Claim) (Outcome, error) {
			c.Settle(DeadLettered)
			return DeadLettered, nil
		}
		f.do(t, signedRequest(testEvent)).expect(t, http.StatusOK, "dead_lettered")
		if got := f.counter(t, "sluice_dead_lettered_total{publisher}"); got != 1 {
			t.Errorf("dead_lettered_total = %v, want 1", got)
		}
	})
}

func TestUndocumentedTypesAreOneLabel(t *testing.T) {
	f := newFixture(t, nil)
	for _, metric := range []string{"fancied", "rejoiced"} {
		f.do(t, signedRequest(`{"object_type":"pigeon","metric":"`+metric+`"}`)).expect(t, http.StatusOK, "published")
	}
	if got := f.counter(t, "sluice_published_total{other}"); got != 2 {
		t.Errorf("published_total{other} = %v, want 2", got)
	}
}

func TestSignatureRefused(t *testing.T) {
	tests := []struct {
		name   string
		change func(http.Header)
		want   string
	}{
		{"no signature", func(h http.Header) { h.Del("X-CIO-Signature") }, "missing_signature"},
		{"no timestamp", func(h http.Header) { h.Del("X-CIO-Timestamp") }, "missing_signature"},
		{"prefixed", func(h http.Header) { h.Set("X-CIO-Signature", "v0="+h.Get("X-CIO-Signature")) }, "malformed_signature"},
		{"a float", func(h http.Header) { h.Set("X-CIO-Timestamp", h.Get("X-CIO-Timestamp")+".5") }, "malformed_signature"},
		{"old", func(h http.Header) { h.Set("X-CIO-Timestamp", "1000000000") }, "stale_timestamp"},
		{"another body's", func(h http.Header) { sign(&http.Request{Header: h}, "x") }, "signature_mismatch"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, nil)
			f.deduper.claim = func(context.Context, *Delivery) (Claim, error) {
				t.Error("claimed")
				return claimOf(Won), nil
			}
			r := signedRequest(testEvent)
			tt.change(r.Header)
			f.do(t, r).expect(t, http.StatusUnauthorized, tt.want)
			if got := f.counter(t, "sluice_refused_total{"+tt.want+"}"); got != 1 {
				t.Errorf("refused_total = %v, want 1", got)
			}
			if len(f.published()) != 0 {
				t.Error("published")
			}
			f.expectIdle(t)
		})
	}
}

func TestInsecureMode(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Verifier = nil })
	r := httptest.NewRequest(http.MethodPost, "/webhook", strings.NewReader(testEvent))
	f.do(t, r).expect(t, http.StatusOK, "published")
	if d := f.published()[0]; d.KeyName != "" {
		t.Errorf("key name %q, want none", d.KeyName)
	}
}

func TestRoutes(t *testing.T) {
	tests := []struct {
		method, target string
		code           int
		word           string
	}{
		{"POST", "/webhook", 200, "published"},
		{"POST", "/webhook/", 200, "published"},
		{"POST", "/webhook?source=x&y=%zz", 200, "published"},
		{"GET", "/webhook", 405, "method_not_allowed"},
		{"HEAD", "/webhook", 405, "method_not_allowed"},
		{"PUT", "/webhook/", 405, "method_not_allowed"},
		{"OPTIONS", "/webhook", 405, "method_not_allowed"},
		{"BREW", "/webhook", 405, "method_not_allowed"},
		{"POST", "/", 404, "not_found"},
		{"GET", "/", 404, "not_found"},
		{"POST", "/Webhook", 404, "not_found"},
		{"POST", "/webhook/x", 404, "not_found"},
		{"POST", "//webhook", 404, "not_found"},
		{"GET", "/metrics", 404, "not_found"},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.target, func(t *testing.T) {
			f := newFixture(t, nil)
			r := sign(httptest.NewRequest(tt.method, tt.target, strings.NewReader(testEvent)), testEvent)
			a := f.do(t, r)
			a.expect(t, tt.code, tt.word)
			if got := a.header.Get("Allow"); (tt.code == 405) != (got == "POST") {
				t.Errorf("Allow %q", got)
			}
			want := 0.0
			if tt.code == 200 {
				want = 1
			}
			if got := f.counter(t, "sluice_received_total"); got != want {
				t.Errorf("received_total = %v, want %v", got, want)
			}
		})
	}
}

func TestVerdicts(t *testing.T) {
	tests := []struct {
		name    string
		verdict Verdict
		code    int
		word    string
		settled string
		skipped bool
	}{
		{"won", Won, 200, "published", "[1]", false},
		{"skipped", Skipped, 200, "published", "[1]", true},
		{"duplicate", Duplicate, 200, "duplicate", "[]", false},
		{"duplicate of a dead letter", DuplicateDeadLetter, 200, "duplicate", "[]", false},
		{"none", 0, 503, "claim_failed", "[3]", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, nil)
			claim := claimOf(tt.verdict)
			f.deduper.claim = func(context.Context, *Delivery) (Claim, error) { return claim, nil }
			f.do(t, signedRequest(testEvent)).expect(t, tt.code, tt.word)
			if got := claim.outcomes(); got != tt.settled {
				t.Errorf("settled %s, want %s", got, tt.settled)
			}
			published := f.published()
			if (len(published) == 1) != (tt.word == "published") {
				t.Errorf("published %d times", len(published))
			}
			if len(published) == 1 && published[0].DedupeSkipped != tt.skipped {
				t.Errorf("DedupeSkipped = %v", published[0].DedupeSkipped)
			}
			if want := map[bool]float64{true: 1}[tt.word == "duplicate"]; f.counter(t, "sluice_duplicates_total{email_sent}") != want {
				t.Errorf("duplicates_total isn't %v", want)
			}
		})
	}
}

func TestClaimFails(t *testing.T) {
	f := newFixture(t, nil)
	f.deduper.claim = func(context.Context, *Delivery) (Claim, error) { return nil, errors.New("redis says no") }
	f.do(t, signedRequest(testEvent)).expect(t, http.StatusServiceUnavailable, "claim_failed")
	f.deduper.claim = func(context.Context, *Delivery) (Claim, error) { return nil, nil }
	f.do(t, signedRequest(testEvent)).expect(t, http.StatusServiceUnavailable, "claim_failed")
	if len(f.published()) != 0 {
		t.Error("published")
	}
	f.expectIdle(t)
}

// What the publisher says decides; the claim is the publisher's affair.
func TestOutcomes(t *testing.T) {
	failed := errors.New("broker says no")
	tests := []struct {
		name    string
		outcome Outcome
		err     error
		code    int
		word    string
	}{
		{"published", Published, nil, 200, "published"},
		{"dead letter", DeadLettered, nil, 200, "dead_lettered"},
		{"not kept", NotKept, failed, 503, "not_kept"},
		{"not kept, no error", NotKept, nil, 503, "not_kept"},
		{"unknown", Unknown, context.DeadlineExceeded, 503, "outcome_unknown"},
		{"unknown, no error", Unknown, nil, 503, "outcome_unknown"},
		{"published with an error", Published, failed, 503, "outcome_unknown"},
		{"no outcome", 0, nil, 503, "outcome_unknown"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, nil)
			claim := claimOf(Won)
			f.deduper.claim = func(context.Context, *Delivery) (Claim, error) { return claim, nil }
			handed := make(chan Claim, 1)
			f.publisher.publish = func(_ context.Context, _ *Delivery, c Claim) (Outcome, error) {
				handed <- c
				return tt.outcome, tt.err
			}
			f.do(t, signedRequest(testEvent)).expect(t, tt.code, tt.word)
			if got := claim.outcomes(); got != "[]" {
				t.Errorf("the handler settled %s", got)
			}
			// The publisher may settle later, and only its first word counts.
			c := <-handed
			c.Settle(Published)
			c.Settle(NotKept)
			if got := claim.outcomes(); got != "[1]" {
				t.Errorf("settled %s, want [1]", got)
			}
			f.expectIdle(t)
		})
	}
}

// One deadline covers claim and publish, counted from the complete body.
func TestRequestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, func(o *Options) { o.RequestTimeout = 1500 * time.Millisecond })
		f.deduper.claim = func(ctx context.Context, _ *Delivery) (Claim, error) {
			timer := time.NewTimer(time.Second)
			defer timer.Stop()
			select {
			case <-timer.C:
				return claimOf(Won), nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		f.publisher.publish = func(ctx context.Context, _ *Delivery, c Claim) (Outcome, error) {
			<-ctx.Done()
			c.Settle(Unknown)
			return Unknown, ctx.Err()
		}
		r := signedRequest(testEvent)
		r.Body = io.NopCloser(io.MultiReader(pause(2*time.Second), r.Body))
		began := time.Now()
		f.do(t, r).expect(t, http.StatusServiceUnavailable, "outcome_unknown")
		if took := time.Since(began); took != 3500*time.Millisecond {
			t.Errorf("answered after %v, want 2s for the body and 1.5s from then on", took)
		}
	})
}

// pause is an empty reader that takes its time.
type pause time.Duration

func (p pause) Read([]byte) (int, error) {
	<-time.After(time.Duration(p))
	return 0, io.EOF
}

// A sender that hangs up cancels the request's context, but not the work.
func TestSenderLeaving(t *testing.T) {
	f := newFixture(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	f.deduper.claim = func(work context.Context, _ *Delivery) (Claim, error) {
		cancel()
		return claimOf(Won), work.Err()
	}
	publish := f.publisher.publish
	f.publisher.publish = func(work context.Context, d *Delivery, c Claim) (Outcome, error) {
		if err := work.Err(); err != nil {
			return NotKept, err
		}
		if _, ok := work.Deadline(); !ok {
			t.Error("no deadline")
		}
		return publish(work, d, c)
	}
	f.do(t, signedRequest(testEvent).WithContext(ctx)).expect(t, http.StatusOK, "published")
}

func TestTooManyRequests(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.MaxInFlightRequests = 2 })
	arrived, proceed := make(chan struct{}), make(chan struct{})
	publish := f.publisher.publish
	f.publisher.publish = func(ctx context.Context, d *Delivery, c Claim) (Outcome, error) {
		arrived <- struct{}{}
		<-proceed
		return publish(ctx, d, c)
	}
	codes := make(chan int)
	for range 2 {
		go func() {
			w := httptest.NewRecorder()
			f.handler.ServeHTTP(w, signedRequest(testEvent))
			codes <- w.Code
		}()
		<-arrived
	}
	if got := f.counter(t, "sluice_in_flight_requests"); got != 2 {
		t.Errorf("in_flight_requests = %v, want 2", got)
	}
	f.do(t, signedRequest(testEvent)).expect(t, http.StatusServiceUnavailable, "too_many_requests")
	close(proceed)
	for range 2 {
		if code := <-codes; code != http.StatusOK {
			t.Errorf("answer %d, want 200", code)
		}
	}
	go func() { <-arrived }()
	f.do(t, signedRequest(testEvent)).expect(t, http.StatusOK, "published")
	f.expectIdle(t)
}

func TestNewNamesWhatIsWrong(t *testing.T) {
	_, err := New(Options{MaxBodyBytes: 100, MaxInFlightBytes: 199, RequestTimeout: -1})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"Deduper", "Publisher", "Log", "Registerer", "MaxInFlightBytes", "RequestTimeout"} {
		if !strings.Contains(err.Error(), "Options."+want) {
			t.Errorf("%q doesn't name %s", err, want)
		}
	}
	f := newFixture(t, nil)
	if _, err := New(f.handler.opts); err == nil {
		t.Error("metrics registered twice without an error")
	}
}
