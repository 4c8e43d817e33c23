package sender

import (
	"context"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sluice/ingest/signature"
)

const testKey = "sender-test-key-0001"

// receiver answers with what respond says about the nth post, counted from 1, of a body.
func receiver(t *testing.T, respond func(w http.ResponseWriter, r *http.Request, body string, n int)) string {
	t.Helper()
	var mu sync.Mutex
	seen := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		seen[string(body)]++
		n := seen[string(body)]
		mu.Unlock()
		respond(w, r, string(body), n)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// kept answers as Sluice does.
func kept(w http.ResponseWriter, n int) {
	status := "published"
	if n > 1 {
		status = "duplicate"
	}
	_, _ = io.WriteString(w, `{"status":"`+status+`"}`)
}

// numbered are events with the bodies 1, 2, ….
func numbered(n int) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for i := range n {
			if text := strconv.Itoa(i + 1); !yield(Event{Body: []byte(text), ID: "e" + text}, nil) {
				return
			}
		}
	}
}

// send runs a Sender with short waits.
func send(t *testing.T, o Options, events iter.Seq2[Event, error]) (Summary, []Result) {
	t.Helper()
	var results []Result
	o.Results = func(r Result) { results = append(results, r) }
	if o.FirstWait == 0 {
		o.FirstWait, o.MaxWait = time.Millisecond, 2*time.Millisecond
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	summary, err := s.Run(t.Context(), events)
	if err != nil {
		t.Fatal(err)
	}
	return summary, results
}

func TestRetriesUntilAcknowledged(t *testing.T) {
	for name, x := range map[string]struct {
		timeout time.Duration
		fail    func(w http.ResponseWriter) // nil: no answer
		label   string
	}{
		"503":      {0, func(w http.ResponseWriter) { w.WriteHeader(503) }, "503"},
		"413":      {0, func(w http.ResponseWriter) { w.WriteHeader(413) }, "413"},
		"redirect": {0, func(w http.ResponseWriter) { w.Header().Set("Location", "/"); w.WriteHeader(302) }, "302"},
		"reset":    {0, func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, LabelConnection},
		"timeout":  {300 * time.Millisecond, nil, LabelTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			tested := make(chan struct{})
			url := receiver(t, func(w http.ResponseWriter, _ *http.Request, _ string, n int) {
				switch {
				case n > 1:
					kept(w, n-1)
				case x.fail == nil:
					<-tested
				default:
					x.fail(w)
				}
			})
			defer close(tested)
			var failures []string
			sum, results := send(t, Options{
				URL: url, Timeout: x.timeout,
				Failures: func(a Answer) { failures = append(failures, a.Label()) },
			}, numbered(1))
			if sum.Events != 1 || sum.Acknowledged != 1 || sum.NotAcknowledged != 0 || sum.Posts != 2 || sum.Retries != 1 || sum.Repeats != 0 || sum.Bytes != 2 {
				t.Errorf("%+v", sum)
			}
			if sum.Answers[x.label] != 1 || sum.Answers["published"] != 1 || len(sum.Answers) != 2 {
				t.Errorf("answers %v", sum.Answers)
			}
			r := results[0]
			if !r.Acknowledged || r.Status != StatusPublished || r.Code != 200 || r.Err != nil || r.Posts != 2 || len(r.Latencies) != 2 || r.Last.Before(r.First) {
				t.Errorf("%+v", r)
			}
			if !slices.Equal(failures, []string{x.label}) {
				t.Errorf("failures %v", failures)
			}
		})
	}
}

// TestQueueStandsStill: with one worker nothing overtakes an event that fails.
func TestQueueStandsStill(t *testing.T) {
	var order []string
	url := receiver(t, func(w http.ResponseWriter, _ *http.Request, body string, n int) {
		order = append(order, body)
		if body == "2" && n <= 3 {
			w.WriteHeader(503)
		}
	})
	sum, _ := send(t, Options{URL: url}, numbered(3))
	if want := []string{"1", "2", "2", "2", "2", "3"}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
	if sum.Answers["200"] != 3 { // a 2xx without a status acknowledges too
		t.Errorf("answers %v", sum.Answers)
	}
}

func TestGivesUp(t *testing.T) {
	url := receiver(t, func(w http.ResponseWriter, _ *http.Request, _ string, _ int) { w.WriteHeader(401) })
	sum, results := send(t, Options{URL: url, RetryFor: 5 * time.Millisecond}, numbered(7))
	if sum.Events != 7 || sum.Acknowledged != 0 || sum.NotAcknowledged != 7 || sum.Answers["401"] != sum.Posts {
		t.Errorf("%+v", sum)
	}
	if !slices.Equal(sum.Unacknowledged, []string{"e1", "e2", "e3", "e4", "e5"}) {
		t.Errorf("names %v", sum.Unacknowledged)
	}
	if r := results[6]; r.Acknowledged || r.Code != 401 || r.Label() != "401" {
		t.Errorf("%+v", r)
	}
}

func TestNobodyListens(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	sum, results := send(t, Options{URL: server.URL, RetryFor: time.Millisecond}, numbered(1))
	if sum.Answers[LabelConnection] != sum.Posts || !errors.Is(results[0].Err, syscall.ECONNREFUSED) {
		t.Errorf("%+v, %v", sum, results[0].Err)
	}
}

func TestRequest(t *testing.T) {
	verifier, err := signature.New([]signature.Key{{Name: "k", Secret: testKey}}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{testKey, ""} {
		// The clock goes on between attempts, further than the tolerance.
		var clock atomic.Int64
		clock.Store(1_767_225_600)
		var problems []string
		url := receiver(t, func(w http.ResponseWriter, r *http.Request, body string, n int) {
			h := r.Header
			now := time.Unix(clock.Load(), 0)
			clock.Add(3600)
			_, err := verifier.Verify(h.Get("X-CIO-Timestamp"), h.Get("X-CIO-Signature"), []byte(body), now)
			if (err == nil) != (key != "") {
				problems = append(problems, "signature")
			}
			want := ""
			if body == "with" {
				want = "D 1"
			}
			if h.Get("X-CIO-Delivery-ID") != want || h.Get("Content-Type") != "application/json" || h.Get("User-Agent") == "" || r.Method != http.MethodPost {
				problems = append(problems, "headers")
			}
			if n == 1 {
				w.WriteHeader(503)
			}
		})
		send(t, Options{URL: url, Key: key, Now: func() time.Time { return time.Unix(clock.Load(), 0) }}, func(yield func(Event, error) bool) {
			_ = yield(Event{Body: []byte("with"), DeliveryID: "D 1"}, nil) && yield(Event{Body: []byte("without")}, nil)
		})
		if len(problems) > 0 {
			t.Errorf("key %q: %v", key, problems)
		}
	}
}

// TestDuplicates counts what arrives: the first repeat and each second one after it come together with the first post.
func TestDuplicates(t *testing.T) {
	for _, x := range []struct {
		share   float64
		workers int
		again   int
	}{{0, 1, 0}, {0.1, 1, 10}, {0.25, 4, 25}, {1, 3, 100}} {
		var posts, pairs atomic.Int64
		url := receiver(t, func(w http.ResponseWriter, _ *http.Request, _ string, n int) {
			posts.Add(1)
			kept(w, n)
		})
		sum, results := send(t, Options{URL: url, Duplicates: x.share, Concurrency: x.workers}, numbered(100))
		for _, r := range results {
			if r.Status != StatusPublished {
				t.Errorf("share %v: %s is %q", x.share, r.Event.ID, r.Status)
			}
			if r.Posts == 2 && r.Duplicates == 1 {
				pairs.Add(1)
			}
		}
		if int(posts.Load()) != 100+x.again || int(sum.Repeats) != x.again || sum.Retries != 0 || int(sum.Answers["duplicate"]) != x.again || sum.Acknowledged != 100 {
			t.Errorf("share %v: %d posts, %+v", x.share, posts.Load(), sum)
		}
		if int(pairs.Load()) != (x.again+1)/2 {
			t.Errorf("share %v: %d pairs", x.share, pairs.Load())
		}
	}
}

// TestTwiceAtOnce: neither post of a pair is answered before both are there.
func TestTwiceAtOnce(t *testing.T) {
	both := make(chan struct{})
	url := receiver(t, func(w http.ResponseWriter, _ *http.Request, _ string, n int) {
		if n == 2 {
			close(both)
		}
		<-both
		kept(w, n)
	})
	if sum, results := send(t, Options{URL: url, Duplicates: 1}, numbered(1)); sum.Posts != 2 || results[0].Posts != 2 {
		t.Errorf("%+v", sum)
	}
}

// roundTrip is a receiver without a network, for tests under a clock of their own.
type roundTrip func(*http.Request) int

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: f(r), Body: http.NoBody, Request: r}, nil
}

func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		sum, _ := send(t, Options{URL: "http://x", Rate: 2, Transport: roundTrip(func(*http.Request) int { return 200 })}, numbered(21))
		if took := time.Since(began); took != 10*time.Second || sum.Acknowledged != 21 {
			t.Errorf("%s for %d events", took, sum.Acknowledged)
		}
	})
}

func TestDuration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sum, _ := send(t, Options{
			URL: "http://x", Rate: 10, Duration: 2*time.Second - time.Millisecond,
			Transport: roundTrip(func(*http.Request) int { return 200 }),
		}, numbered(1000))
		if sum.Events != 20 || sum.Acknowledged != 20 {
			t.Errorf("%+v", sum)
		}
	})
}

// TestRetriesPause looks at the pauses: each about twice the one before, none much longer than MaxWait.
func TestRetriesPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Time
		send(t, Options{
			URL: "http://x", FirstWait: time.Second, MaxWait: 4 * time.Second, RetryFor: 30 * time.Second,
			Transport: roundTrip(func(*http.Request) int { at = append(at, time.Now()); return 503 }),
		}, numbered(1))
		want := time.Second
		for i := 1; i < len(at); i++ {
			if pause := at[i].Sub(at[i-1]); pause < want/2 || pause > want*3/2+1 {
				t.Errorf("pause %d is %s", i, pause)
			}
			want = min(2*want, 4*time.Second)
		}
		if total := at[len(at)-1].Sub(at[0]); len(at) < 6 || total > 30*time.Second {
			t.Errorf("%d posts within %s", len(at), total)
		}
	})
}

// TestInterrupted: the post under way gets its answer, and nothing is begun or retried any more.
func TestInterrupted(t *testing.T) {
	for name, code := range map[string]int{"acknowledged": 200, "refused": 503} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			var posts atomic.Int64
			url := receiver(t, func(w http.ResponseWriter, _ *http.Request, _ string, _ int) {
				posts.Add(1)
				cancel()
				w.WriteHeader(code)
			})
			var results []Result
			s, err := New(Options{URL: url, Duplicates: 0, FirstWait: time.Millisecond, Results: func(r Result) { results = append(results, r) }})
			if err != nil {
				t.Fatal(err)
			}
			sum, err := s.Run(ctx, numbered(1000))
			acknowledged := int64(0)
			if code == 200 {
				acknowledged = 1
			}
			if err != nil || posts.Load() != 1 || sum.Events != 1 || sum.Acknowledged != acknowledged || sum.NotAcknowledged != 1-acknowledged || len(results) != 1 || results[0].Code != code {
				t.Errorf("%d posts, %+v, %v", posts.Load(), sum, err)
			}
		})
	}
}

// TestInputThatBlocks: an interrupt ends the run also while the next event is waited for.
func TestInputThatBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		never := make(chan struct{})
		s, err := New(Options{URL: "http://x", Results: func(Result) { cancel() }, Transport: roundTrip(func(*http.Request) int { return 200 })})
		if err != nil {
			t.Fatal(err)
		}
		sum, err := s.Run(ctx, func(yield func(Event, error) bool) {
			if yield(Event{Body: []byte("1")}, nil) {
				<-never
			}
		})
		close(never)
		if err != nil || sum.Acknowledged != 1 {
			t.Errorf("%+v, %v", sum, err)
		}
	})
}

func TestInputFails(t *testing.T) {
	url := receiver(t, func(w http.ResponseWriter, _ *http.Request, _ string, n int) { kept(w, n) })
	s, err := New(Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	events := func(yield func(Event, error) bool) {
		if yield(Event{Body: []byte("1")}, nil) {
			yield(Event{}, io.ErrUnexpectedEOF)
		}
	}
	if sum, err := s.Run(t.Context(), events); !errors.Is(err, io.ErrUnexpectedEOF) || sum.Acknowledged != 1 {
		t.Errorf("%+v, %v", sum, err)
	}
	if _, err := s.Run(t.Context(), events); !errors.Is(err, ErrUsed) {
		t.Errorf("run again: %v", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for name, o := range map[string]Options{
		"no url": {}, "no host": {URL: "http:///webhook"}, "scheme": {URL: "ftp://x"}, "not a url": {URL: "http://x:y"},
		"share": {URL: "http://x", Duplicates: 1.1}, "rate": {URL: "http://x", Rate: -1}, "time": {URL: "http://x", Timeout: -1},
		"workers": {URL: "http://x", Concurrency: -1},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestSummaryText(t *testing.T) {
	sum := Summary{
		Events: 1234567, Acknowledged: 1234000, NotAcknowledged: 567, Answers: map[string]int64{"dead_lettered": 1000, "503": 7},
		Seconds: 1.5, Latency: Latency{P50: 1500},
	}
	var b strings.Builder
	if err := sum.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1,234,567 sent, 1,234,000 acknowledged, 567 not", "503 7, dead lettered 1,000", "p50 1.5ms", "1.5s"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
}
