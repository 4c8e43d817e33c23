package httpsink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"sluice/ingest/signature"
	"sluice/internal/stream"
)

const testWait = 30 * time.Second

// handler counts and judges posts.
type handler struct {
	*httptest.Server
	mu       sync.Mutex
	accepted map[string][]string // bodies, by the key in their first word
}

// newHandler answers with the code that judge returns.
func newHandler(t *testing.T, judge func(r *http.Request, body string) int) *handler {
	t.Helper()
	h := &handler{accepted: make(map[string][]string)}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		code := judge(r, string(body))
		if code/100 == 2 {
			key, _, _ := strings.Cut(string(body), " ")
			h.mu.Lock()
			h.accepted[key] = append(h.accepted[key], string(body))
			h.mu.Unlock()
		}
		w.WriteHeader(code)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *handler) count() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, bodies := range h.accepted {
		n += len(bodies)
	}
	return n
}

func record(key string, offset int64) *stream.Record {
	return &stream.Record{Topic: "t", Offset: offset, Key: []byte(key), Value: fmt.Appendf(nil, "%s %d", key, offset)}
}

func newSink(t *testing.T, o Options) *Sink {
	t.Helper()
	o.Log = zaptest.NewLogger(t)
	if o.FirstWait == 0 {
		o.FirstWait = time.Millisecond
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testWait)
	t.Cleanup(cancel)
	return ctx
}

func write(t *testing.T, s *Sink, records ...*stream.Record) {
	t.Helper()
	for _, r := range records {
		if err := s.Write(within(t), r, stream.Ticket{}); err != nil {
			t.Fatal(err)
		}
	}
}

func settle(t *testing.T, s *Sink) {
	t.Helper()
	if err := s.Settle(within(t)); err != nil {
		t.Fatal(err)
	}
}

func TestOrderOfEachKey(t *testing.T) {
	var under, most atomic.Int64
	h := newHandler(t, func(*http.Request, string) int {
		n := under.Add(1)
		defer under.Add(-1)
		for {
			if old := most.Load(); n <= old || most.CompareAndSwap(old, n) {
				break
			}
		}
		if rand.N(5) == 0 {
			return []int{500, 503, 400, 410, 429, 302}[rand.N(6)]
		}
		return 200
	})
	s := newSink(t, Options{URL: h.URL, Concurrency: 6, MaxWait: 5 * time.Millisecond})
	const keys, each = 20, 25
	for i := range int64(keys * each) {
		write(t, s, record(fmt.Sprint("k", i%keys), i))
	}
	settle(t, s)
	for k := range keys {
		var want []string
		for n := range each {
			want = append(want, fmt.Sprintf("k%d %d", k, k+n*keys))
		}
		if got := h.accepted[fmt.Sprint("k", k)]; !slices.Equal(got, want) {
			t.Errorf("key %d: %q", k, got)
		}
	}
	if c := s.Counts(); c.Accepted != keys*each || c.Failed == 0 {
		t.Errorf("counts %+v", c)
	}
	if most.Load() > 6 {
		t.Errorf("%d posts at a time", most.Load())
	}
}

// A key that fails, or hangs, must not keep the others waiting as long as there is room.
func TestOtherKeysGoOn(t *testing.T) {
	hang := make(chan struct{})
	h := newHandler(t, func(_ *http.Request, body string) int {
		switch {
		case strings.HasPrefix(body, "bad"):
			return 500
		case strings.HasPrefix(body, "slow"):
			<-hang
		}
		return 200
	})
	defer close(hang)
	s := newSink(t, Options{URL: h.URL, Concurrency: 2, MaxRecords: 100})
	write(t, s, record("slow", 0), record("bad", 1), record("bad", 2))
	for i := range int64(200) {
		write(t, s, record(fmt.Sprint("good", i), 3+i))
	}
	// Each write beyond the bound had to wait for an earlier record.
	if n := h.count(); n < 100 {
		t.Errorf("%d events accepted", n)
	}
}

func TestBounds(t *testing.T) {
	h := newHandler(t, func(*http.Request, string) int { return 500 })
	for name, o := range map[string]Options{
		"records": {MaxRecords: 3},
		"bytes":   {MaxBytes: 3 * len("a 0a")},
	} {
		t.Run(name, func(t *testing.T) {
			o.URL = h.URL
			s := newSink(t, o)
			write(t, s, record("a", 0), record("a", 1), record("a", 2))
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			if err := s.Write(ctx, record("b", 3), stream.Ticket{}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a fourth record: %v", err)
			}
		})
	}
	s := newSink(t, Options{URL: h.URL, MaxBytes: 1})
	write(t, s, record("large", 0)) // one is always held
}

func TestGiveUp(t *testing.T) {
	var posts atomic.Int64
	h := newHandler(t, func(_ *http.Request, body string) int {
		if body == "a 0" {
			posts.Add(1)
			return 422
		}
		return 204
	})
	var given []string
	s := newSink(t, Options{URL: h.URL, Attempts: 3, GiveUp: func(_ context.Context, r *stream.Record, why Reason) error {
		given = append(given, fmt.Sprintf("%s: %d %s %s", r.Value, why.Attempts, why.Label, why))
		return nil
	}})
	write(t, s, record("a", 0), record("a", 1))
	settle(t, s)
	if want := []string{"a 0: 3 422 the handler answered 422"}; !slices.Equal(given, want) || posts.Load() != 3 {
		t.Errorf("given up: %q after %d posts", given, posts.Load())
	}
	if got := h.accepted["a"]; !slices.Equal(got, []string{"a 1"}) {
		t.Errorf("accepted: %q", got)
	}
	if c := s.Counts(); c != (Counts{Accepted: 1, GivenUp: 1, Failed: 3}) {
		t.Errorf("counts %+v", c)
	}
}

func TestFails(t *testing.T) {
	h := newHandler(t, func(*http.Request, string) int { return 500 })
	noRoom := errors.New("no room for dead letters")
	for name, x := range map[string]struct {
		o    Options
		want string
	}{
		"no GiveUp":    {Options{}, "t[0]@7 is given up after 2 attempts: the handler answered 500"},
		"GiveUp fails": {Options{GiveUp: func(context.Context, *stream.Record, Reason) error { return noRoom }}, noRoom.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			x.o.URL, x.o.Attempts = h.URL, 2
			s := newSink(t, x.o)
			write(t, s, record("a", 7))
			err := s.Settle(within(t))
			if err == nil || !strings.Contains(err.Error(), x.want) {
				t.Fatalf("settled: %v", err)
			}
			if again := s.Write(within(t), record("a", 8), stream.Ticket{}); !errors.Is(again, err) {
				t.Errorf("written after that: %v", again)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"":                              0,
		"0":                             0,
		"7":                             7 * time.Second,
		"86400":                         maxRetryAfter,
		"-1":                            0,
		"soon":                          0,
		"Fri, 02 Jan 2026 15:04:25 GMT": 20 * time.Second,
		"Fri, 02 Jan 2026 15:04:00 GMT": 0,
		"Sat, 03 Jan 2026 15:04:05 GMT": maxRetryAfter,
	} {
		if got := retryAfter(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer h.Close()
	refused := make(chan int, 1)
	s := newSink(t, Options{URL: h.URL, Refused: func(_ *stream.Record, why Reason) { refused <- why.Code }})
	write(t, s, record("a", 0))
	<-refused
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond) // many times the first pause
	defer cancel()
	if err := s.Settle(ctx); !errors.Is(err, context.DeadlineExceeded) || s.Counts().Failed != 1 {
		t.Errorf("%v, %+v", err, s.Counts())
	}
}

func TestBackoff(t *testing.T) {
	s := &Sink{opts: Options{FirstWait: time.Second, MaxWait: time.Minute}}
	for attempts, most := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 6: 32 * time.Second, 7: time.Minute, 1000: time.Minute} {
		var longest time.Duration
		for range 1000 {
			longest = max(longest, s.backoff(attempts))
		}
		if longest > most || longest < most/2 {
			t.Errorf("after %d attempts at most %s, want nearly %s", attempts, longest, most)
		}
	}
}

// Drain lets the post under way end and begins no other; Close ends what hangs.
func TestDrain(t *testing.T) {
	begun, end := make(chan string, 9), make(chan struct{})
	h := newHandler(t, func(_ *http.Request, body string) int {
		begun <- body
		<-end
		return 200
	})
	s := newSink(t, Options{URL: h.URL, Concurrency: 1})
	write(t, s, record("a", 0), record("a", 1), record("b", 2))
	<-begun
	s.Drain()
	close(end)
	if err := s.Settle(within(t)); !errors.Is(err, ErrLeft) {
		t.Errorf("settled: %v", err)
	}
	if h.count() != 1 || len(begun) != 0 {
		t.Errorf("%d accepted, %d more begun", h.count(), len(begun))
	}
}

func TestClose(t *testing.T) {
	begun, gone := make(chan struct{}), make(chan struct{})
	h := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then the server sees that the client has gone
		close(begun)
		<-r.Context().Done()
		close(gone)
	}))
	defer h.Close()
	s := newSink(t, Options{URL: h.URL, Timeout: time.Hour})
	write(t, s, record("a", 0), record("a", 1))
	<-begun
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	<-gone
}

func TestTimeout(t *testing.T) {
	end := make(chan struct{})
	h := newHandler(t, func(*http.Request, string) int {
		<-end
		return 200
	})
	defer close(end)
	var why Reason
	s := newSink(t, Options{URL: h.URL, Timeout: 20 * time.Millisecond, Attempts: 2, GiveUp: func(_ context.Context, _ *stream.Record, r Reason) error {
		why = r
		return nil
	}})
	write(t, s, record("a", 0))
	settle(t, s)
	if why.Label != "timeout" || why.Code != 0 || !errors.Is(why, context.DeadlineExceeded) {
		t.Errorf("%+v", why)
	}
}

// Only what the handler has taken, with everything before it, is behind the position that is remembered.
func TestTickets(t *testing.T) {
	h := newHandler(t, func(_ *http.Request, body string) int {
		if body == "bad 2" {
			return 500
		}
		return 200
	})
	s := newSink(t, Options{URL: h.URL})
	f := &stream.Flow{Source: source{record("a", 0), record("b", 1), record("bad", 2), record("b", 3)}, Sink: s, Checkpoint: &checkpoint{}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- f.Run(ctx, time.Millisecond) }()
	for s.Counts().Accepted < 3 {
		select {
		case <-time.After(time.Millisecond):
		case <-within(t).Done():
			t.Fatal("not accepted")
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if at := f.Checkpoint.(*checkpoint).at[stream.Partition{Topic: "t"}]; at != 2 {
		t.Errorf("to be read next: %d, want 2", at)
	}
}

func TestRequest(t *testing.T) {
	const key = "secret"
	var got *http.Request
	var body string
	h := newHandler(t, func(r *http.Request, b string) int {
		got, body = r, b
		return 200
	})
	s := newSink(t, Options{URL: h.URL + "/hook?x=1", SigningKey: key, Headers: func(r *stream.Record, h http.Header) {
		h.Set("Sluice-Replay-Id", fmt.Sprint(r.Offset))
	}})
	r := &stream.Record{Topic: "customerio_email_sent", Partition: 3, Offset: 9, Key: []byte("42"), Value: []byte(" {\"a\": \"\x00\xff\"}\n")}
	for name, value := range map[string]string{
		"ce_specversion": "1.0", "ce_id": "01ABC", "ce_source": "/customerio/a b%", "ce_subject": "é",
		"content-type": "application/octet-stream", "traceparent": "00-1-2-01", "event-type": "email_sent",
		"X-CIO-Timestamp": "1", "X-CIO-Signature": "old", "X-CIO-Delivery-ID": "d1", "X-CIO-Odd": "line\nbreak",
		"sluice-key": "main", "authorization": "x", "ce_b\r\nx": "y",
	} {
		r.Headers = append(r.Headers, stream.Header{Key: name, Value: []byte(value)})
	}
	write(t, s, r)
	settle(t, s)
	if body != string(r.Value) || got.URL.RequestURI() != "/hook?x=1" {
		t.Errorf("%q to %s", body, got.URL)
	}
	for name, want := range map[string]string{
		"Ce-Specversion": "1.0", "Ce-Id": "01ABC", "Ce-Source": "/customerio/a%20b%25", "Ce-Subject": "%C3%A9",
		"Content-Type": "application/octet-stream", "Traceparent": "00-1-2-01", "X-Cio-Delivery-Id": "d1", "X-Cio-Odd": "",
		"Sluice-Key": "main", "Sluice-Topic": "customerio_email_sent", "Sluice-Partition": "3", "Sluice-Offset": "9",
		"Sluice-Replay-Id": "9", "Authorization": "", "Event-Type": "", "User-Agent": "sluice",
	} {
		if value := got.Header.Get(name); value != want {
			t.Errorf("%s: %q, want %q", name, value, want)
		}
	}
	verifier, err := signature.New([]signature.Key{{Name: "k", Secret: key}}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verifier.Verify(got.Header.Get("X-Cio-Timestamp"), got.Header.Get("X-Cio-Signature"), []byte(body), time.Now()); err != nil {
		t.Error(err)
	}
	if at, err := strconv.ParseInt(got.Header.Get("X-Cio-Timestamp"), 10, 64); err != nil || time.Since(time.Unix(at, 0)) > testWait {
		t.Errorf("signed at %d: %v", at, err)
	}
}

// Nothing of an address or a key is told: either may be secret.
func TestReasonHidesTheAddress(t *testing.T) {
	var why Reason
	s := newSink(t, Options{URL: "http://user:pw@127.0.0.1:1/token", Attempts: 1, GiveUp: func(_ context.Context, _ *stream.Record, r Reason) error {
		why = r
		return nil
	}})
	write(t, s, record("a", 0))
	settle(t, s)
	if text := why.Error(); strings.Contains(text, "pw") || strings.Contains(text, "token") || why.Label != "connection_error" {
		t.Errorf("%s: %q", why.Label, text)
	}
	if err := (Options{URL: "http://user:pw@host:x/", Log: zaptest.NewLogger(t)}).Check(); err == nil || strings.Contains(err.Error(), "pw") {
		t.Errorf("checked: %v", err)
	}
}

// source gives out records and then waits.
type source []*stream.Record

func (s source) Run(ctx context.Context, _ stream.Positions, give func(*stream.Record) error) error {
	for _, r := range s {
		if err := give(r); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return nil
}

type checkpoint struct{ at stream.Positions }

func (c *checkpoint) Save(_ context.Context, next stream.Positions, _ json.RawMessage) error {
	c.at = next
	return nil
}
