package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// answering is a server that answers as f says.
func answering(t *testing.T, f http.HandlerFunc) (addr string) {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func keep(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"status":"published"}`)) }

func prepared(t *testing.T, addr string, conns, n int) ([]*client, *requests) {
	t.Helper()
	all, err := clients(t.Context(), addr, conns, time.Now().Add(30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { hangUp(all) })
	r := new(requests)
	r.fill(newEvents(allTypes), 0, n)
	return all, r
}

func TestClosedLoop(t *testing.T) {
	var asked atomic.Int64
	addr := answering(t, func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1)%10 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		keep(w, r)
	})
	all, r := prepared(t, addr, 4, 1000)
	got, err := closedLoop(t.Context(), all, r, true, 100*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	n := int(asked.Load())
	if got.published != n-n/10 || got.elapsed < 100*time.Millisecond || n < 4 {
		t.Errorf("%+v of %d requests", got, n)
	}
}

func TestClosedLoopEnds(t *testing.T) {
	t.Run("out of requests", func(t *testing.T) {
		all, r := prepared(t, answering(t, keep), 2, 10)
		got, err := closedLoop(t.Context(), all, r, false, time.Minute)
		if !errors.Is(err, errNoRequestsLeft) || got.published != 10 {
			t.Errorf("%+v, %v", got, err)
		}
		if slices.ContainsFunc(r.outcomes, func(o outcome) bool { return o != published }) {
			t.Errorf("outcomes %v", r.outcomes)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		all, r := prepared(t, answering(t, keep), 2, 10)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Millisecond, cancel)
		if _, err := closedLoop(ctx, all, r, true, time.Minute); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("broken connection", func(t *testing.T) {
		all, r := prepared(t, answering(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), 2, 10)
		if _, err := closedLoop(t.Context(), all, r, true, time.Minute); err == nil {
			t.Error("no error")
		}
		if r.outcomes[0] != noAnswer {
			t.Errorf("outcomes %v", r.outcomes)
		}
	})
}

// TestArrivals has a server stall: with one connection, everything that was due meanwhile must show the wait.
func TestArrivals(t *testing.T) {
	const (
		n, rate = 50, 500
		stalled = 100 * time.Millisecond
	)
	var asked atomic.Int64
	addr := answering(t, func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			timer := time.NewTimer(stalled)
			defer timer.Stop()
			<-timer.C
		}
		keep(w, r)
	})
	all, r := prepared(t, addr, 1, n)
	arrivals, err := arrive(t.Context(), all, r, rate)
	if err != nil || len(arrivals) != n {
		t.Fatalf("%d arrivals, %v", len(arrivals), err)
	}
	for i, a := range arrivals {
		due := time.Duration(i) * time.Second / rate
		if a.delay < 0 || a.latency < a.delay || a.latency < stalled-due || (i > 0 && a.delay < stalled-due) {
			t.Errorf("arrival %d: %+v", i, a)
		}
	}
}
