package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"sluice/ingest/signature"
)

const (
	testKey   = "cio-test-signing-key-0001"
	testEvent = `{"event_id":"01E","object_type":"email","metric":"sent","timestamp":1767225600,"data":{"delivery_id":"D1"}}`
)

// fakeDeduper and fakePublisher are structs of function fields. nil fields
// mean: a won claim, a published record.
type fakeDeduper struct {
	claim func(ctx context.Context, d *Delivery) (Claim, error)
}

func (f *fakeDeduper) Claim(ctx context.Context, d *Delivery) (Claim, error) { return f.claim(ctx, d) }

type fakePublisher struct {
	publish func(ctx context.Context, d *Delivery, c Claim) (Outcome, error)
}

func (f *fakePublisher) Publish(ctx context.Context, d *Delivery, c Claim) (Outcome, error) {
	return f.publish(ctx, d, c)
}

// fakeClaim records how it is settled.
type fakeClaim struct {
	verdict func() Verdict

	mu      sync.Mutex
	settled []Outcome
}

func claimOf(v Verdict) *fakeClaim { return &fakeClaim{verdict: func() Verdict { return v }} }

func (c *fakeClaim) Verdict() Verdict { return c.verdict() }
func (c *fakeClaim) Live() bool       { return true }
func (c *fakeClaim) Settle(o Outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settled = append(c.settled, o)
}

func (c *fakeClaim) outcomes() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprint(c.settled)
}

// fixture is a handler with its surroundings.
type fixture struct {
	handler   *Handler
	registry  *prometheus.Registry
	logs      *observer.ObservedLogs
	deduper   *fakeDeduper
	publisher *fakePublisher

	mu         sync.Mutex
	deliveries []*Delivery // everything that Publish was given
}

// newFixture makes a handler whose deduper says Won and whose publisher says
// Published; adjust changes its options.
func newFixture(t testing.TB, adjust func(*Options)) *fixture {
	t.Helper()
	f := &fixture{registry: prometheus.NewRegistry()}
	f.deduper = &fakeDeduper{claim: func(context.Context, *Delivery) (Claim, error) { return claimOf(Won), nil }}
	f.publisher = &fakePublisher{publish: func(_ context.Context, d *Delivery, c Claim) (Outcome, error) {
		f.mu.Lock()
		f.deliveries = append(f.deliveries, d)
		f.mu.Unlock()
		outcome := Published
		if d.Reject != "" {
			outcome = DeadLettered
		}
		c.Settle(outcome)
		return outcome, nil
	}}
	verifier, err := signature.New([]signature.Key{{Name: "old", Secret: "retired"}, {Name: "main", Secret: testKey}}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zapcore.DebugLevel)
	f.logs = logs
	opts := Options{
		Verifier:   verifier,
		Deduper:    f.deduper,
		Publisher:  f.publisher,
		Log:        zap.New(core),
		Registerer: f.registry,
	}
	if adjust != nil {
		adjust(&opts)
	}
	if f.handler, err = New(opts); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) published() []*Delivery {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*Delivery(nil), f.deliveries...)
}

// sign adds a valid signature over body, made now.
func sign(r *http.Request, body string) *http.Request {
	timestamp := strconv.FormatInt(time.Now().Unix(), 10)
	r.Header.Set("X-CIO-Timestamp", timestamp)
	r.Header.Set("X-CIO-Signature", signature.Sign(testKey, timestamp, []byte(body)))
	return r
}

func signedRequest(body string) *http.Request {
	return sign(httptest.NewRequest(http.MethodPost, "/webhook", strings.NewReader(body)), body)
}

// answer is any JSON answer.
type answer struct {
	Status    string `json:"status"`
	Reason    string `json:"reason"`
	EventID   string `json:"event_id"`
	EventType string `json:"event_type"`
	RequestID string `json:"request_id"`

	code   int
	header http.Header
}

func decode(t testing.TB, code int, header http.Header, body []byte) answer {
	t.Helper()
	a := answer{code: code, header: header}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		t.Fatalf("answer %d %q: %v", code, body, err)
	}
	if got := header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q, want application/json", got)
	}
	if (code == http.StatusServiceUnavailable) != (header.Get("Retry-After") == RetryAfter) {
		t.Errorf("answer %d has Retry-After %q", code, header.Get("Retry-After"))
	}
	return a
}

// do runs a request through the handler without a socket.
func (f *fixture) do(t testing.TB, r *http.Request) answer {
	t.Helper()
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, r)
	return decode(t, w.Code, w.Header(), w.Body.Bytes())
}

// expect fails the test unless the answer has this code and this status or
// reason.
func (a answer) expect(t testing.TB, code int, word string) {
	t.Helper()
	got := a.Status
	if a.Status == "refused" {
		got = a.Reason
	}
	if a.code != code || got != word {
		t.Errorf("answer %d %s, want %d %s", a.code, got, code, word)
	}
	if a.RequestID == "" {
		t.Error("answer without a request id")
	}
}

// counter reads one counter or gauge: name{label values joined with commas}.
func (f *fixture) counter(t testing.TB, series string) float64 {
	t.Helper()
	families, err := f.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			name := family.GetName()
			if len(labels) > 0 {
				name += "{" + strings.Join(labels, ",") + "}"
			}
			if name != series {
				continue
			}
			switch {
			case m.Counter != nil:
				return m.GetCounter().GetValue()
			case m.Gauge != nil:
				return m.GetGauge().GetValue()
			case m.Histogram != nil:
				return float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	t.Fatalf("no series %s", series)
	return 0
}

// expectIdle checks that every place and byte was given back.
func (f *fixture) expectIdle(t testing.TB) {
	t.Helper()
	l := f.handler.limits
	if r, b, d := l.requests.Load(), l.bytes.Load(), l.discards.Load(); r != 0 || b != 0 || d != 0 {
		t.Errorf("in flight after the answers: %d requests, %d bytes, %d discards", r, b, d)
	}
}

// listen serves the handler on a socket until the test ends.
func (f *fixture) listen(t testing.TB, adjust func(*ServerOptions)) *Server {
	t.Helper()
	opts := ServerOptions{Addr: "127.0.0.1:0", Handler: f.handler, Log: zap.NewNop()}
	if adjust != nil {
		adjust(&opts)
	}
	s, err := NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		eventually(t, "all connections end", func() bool { return s.conns.count() == 0 })
	})
	return s
}

// newClient is an HTTP client of its own connections.
func newClient(t testing.TB) *http.Client {
	transport := &http.Transport{ExpectContinueTimeout: 10 * time.Second}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}
}

// post sends a signed body over a socket.
func post(t testing.TB, c *http.Client, url string, body io.Reader, prepare func(*http.Request)) (answer, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	if prepare != nil {
		prepare(r)
	}
	resp, err := c.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	return decode(t, resp.StatusCode, resp.Header, b), nil
}

// eventually polls, bounded, for what happens on another goroutine.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("timed out waiting until %s", what)
		}
	}
}
