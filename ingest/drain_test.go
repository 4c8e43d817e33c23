package ingest

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// drainer runs Drain beside the test.
func drainer(t *testing.T, s *Server, bound time.Duration) (result chan error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), bound)
	result = make(chan error, 1)
	go func() {
		defer cancel()
		result <- s.Drain(ctx)
	}()
	eventually(t, "the drain begins", s.handler.closing.Load)
	return result
}

func expectDrained(t *testing.T, s *Server, result chan error) {
	t.Helper()
	if err := <-result; err != nil {
		t.Errorf("Drain: %v", err)
	}
	if n := s.conns.count(); n != 0 {
		t.Errorf("%d connections left", n)
	}
	if _, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "http://")); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dialing after the drain: %v, want %v", err, syscall.ECONNREFUSED)
	}
}

func TestDrainWithoutConnections(t *testing.T) {
	s := newFixture(t, nil).listen(t, nil)
	<-s.serving
	began := time.Now()
	expectDrained(t, s, drainer(t, s, 10*time.Second))
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
	if err := s.Drain(t.Context()); err != nil {
		t.Errorf("the second Drain: %v", err)
	}
}

// The requirement: under load no request that was begun sees EOF or a reset.
func TestDrainUnderLoad(t *testing.T) {
	for _, load := range []struct {
		name  string
		close bool // a connection for every request
	}{{"64 keep-alive clients", false}, {"64 clients that dial each time", true}} {
		t.Run(load.name, func(t *testing.T) {
			f := newFixture(t, nil)
			s := f.listen(t, nil)
			const clients = 64
			var answered, after, published atomic.Int64
			publish := f.publisher.publish
			f.publisher.publish = func(ctx context.Context, d *Delivery, c Claim) (Outcome, error) {
				published.Add(1)
				return publish(ctx, d, c)
			}
			header := sign(&http.Request{Header: make(http.Header)}, testEvent).Header
			failures := make(chan error, clients)
			var wg sync.WaitGroup
			for range clients {
				client := newClient(t)
				client.Transport.(*http.Transport).DisableKeepAlives = load.close
				wg.Go(func() {
					for {
						a, err := post(t, client, s.URL()+"/webhook", strings.NewReader(testEvent), func(r *http.Request) { r.Header = header.Clone() })
						if dialFailed(err) {
							return // expected: nobody listens any more
						}
						if err != nil || a.code != http.StatusOK {
							failures <- errors.Join(errors.New(a.Reason), err)
							return
						}
						answered.Add(1)
						if f.handler.closing.Load() {
							after.Add(1)
						}
					}
				})
			}
			eventually(t, "the load runs", func() bool { return answered.Load() > 10*clients })
			expectDrained(t, s, drainer(t, s, 10*time.Second))
			wg.Wait()
			close(failures)
			n := 0
			for err := range failures {
				if n++; n <= 3 {
					t.Errorf("a request was dropped: %v", err)
				}
			}
			if n > 0 {
				t.Errorf("%d of %d clients saw a request dropped", n, clients)
			}
			if answered.Load() != published.Load() {
				t.Errorf("%d answers for %d records", answered.Load(), published.Load())
			}
			t.Logf("%d requests answered, %d of them during the drain, %d dropped", answered.Load(), after.Load(), n)
		})
	}
}

// dialFailed tells a connection that wasn't made from one that was cut.
func dialFailed(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// idle is a connection on which a request has been answered.
func idle(t *testing.T, s *Server) *wire {
	t.Helper()
	c := dial(t, s)
	c.write(t, "%s", signedText(testEvent))
	c.read(t).expect(t, http.StatusOK, "published")
	if c.lastClose {
		t.Error("Connection: close without a drain")
	}
	return c
}

// An idle connection has its grace, and its next answer is its last.
func TestDrainServesIdleConnections(t *testing.T) {
	s := newFixture(t, nil).listen(t, func(o *ServerOptions) { o.IdleGrace = 20 * time.Second })
	used, fresh := idle(t, s), dial(t, s)
	eventually(t, "both are accepted", func() bool { return s.conns.count() == 2 })
	result := drainer(t, s, 30*time.Second)
	for _, c := range []*wire{used, fresh} {
		c.write(t, "%s", signedText(testEvent))
		c.read(t).expect(t, http.StatusOK, "published")
		if !c.lastClose {
			t.Error("the answer doesn't say Connection: close")
		}
		c.expectClosed(t)
	}
	expectDrained(t, s, result)
}

// After its grace an idle connection is told to go, in words that a request
// on its way can take for its answer.
func TestDrainEndsIdleConnections(t *testing.T) {
	f := newFixture(t, nil)
	s := f.listen(t, func(o *ServerOptions) { o.IdleGrace = 20 * time.Millisecond })
	used, fresh, partial, crossing := idle(t, s), dial(t, s), dial(t, s), idle(t, s)
	partial.write(t, "POST /webhook HTTP/1.1\r\n")
	client := newClient(t)
	if _, err := post(t, client, s.URL()+"/webhook", strings.NewReader(testEvent), func(r *http.Request) { sign(r, testEvent) }); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all are accepted", func() bool { return s.conns.count() == 5 })
	result := drainer(t, s, 10*time.Second)

	// The request is written before anything is read, as if it had crossed
	// with the goodbye.
	if _, err := crossing.r.Peek(1); err != nil {
		t.Fatalf("waiting for the goodbye: %v", err)
	}
	crossing.write(t, "%s", signedText(testEvent))
	for _, c := range []*wire{used, fresh, partial, crossing} {
		if code, _, _ := c.readCode(t); code != http.StatusRequestTimeout || !c.lastClose {
			t.Errorf("goodbye %d, close %v; want 408, true", code, c.lastClose)
		}
		c.expectClosed(t)
		c.close()
	}
	expectDrained(t, s, result)

	// net/http's client takes the goodbye for a closed idle connection and
	// dials anew, which is refused.
	if _, err := post(t, client, s.URL()+"/webhook", strings.NewReader(testEvent), nil); !dialFailed(err) {
		t.Errorf("after the goodbye: %v, want a failed dial", err)
	}
}

// Requests in progress are waited for, and answered with Connection: close.
func TestDrainWaitsForRequests(t *testing.T) {
	f := newFixture(t, nil)
	arrived, proceed := make(chan struct{}), make(chan struct{})
	publish := f.publisher.publish
	f.publisher.publish = func(ctx context.Context, d *Delivery, c Claim) (Outcome, error) {
		close(arrived)
		<-proceed
		return publish(ctx, d, c)
	}
	s := f.listen(t, func(o *ServerOptions) { o.IdleGrace = 20 * time.Millisecond })
	c := dial(t, s)
	c.write(t, "%s", signedText(testEvent))
	<-arrived
	result := drainer(t, s, 20*time.Second)
	eventually(t, "the listener is closed", func() bool {
		select {
		case <-s.refuses:
			return true
		default:
			return false
		}
	})
	select {
	case err := <-result:
		t.Fatalf("drained with a request in progress: %v", err)
	default:
	}
	close(proceed)
	c.read(t).expect(t, http.StatusOK, "published")
	if !c.lastClose {
		t.Error("the answer doesn't say Connection: close")
	}
	c.expectClosed(t)
	expectDrained(t, s, result)
}

// A body that doesn't come holds the drain up to its bound, and is answered
// even then.
func TestDrainEndsSlowBodies(t *testing.T) {
	f := newFixture(t, nil)
	s := f.listen(t, nil)
	c := dial(t, s)
	c.write(t, "POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
	eventually(t, "the body is waited for", func() bool { return f.counter(t, "sluice_in_flight_requests") == 1 })
	result := drainer(t, s, 1500*time.Millisecond)
	c.read(t).expect(t, http.StatusRequestTimeout, "body_timeout")
	c.expectClosed(t)
	expectDrained(t, s, result)
}

// Only the bound cuts, and Drain says so.
func TestDrainCutsAtItsBound(t *testing.T) {
	f := newFixture(t, nil)
	arrived, proceed := make(chan struct{}), make(chan struct{})
	publish := f.publisher.publish
	f.publisher.publish = func(ctx context.Context, d *Delivery, c Claim) (Outcome, error) {
		close(arrived)
		<-proceed
		return publish(ctx, d, c)
	}
	s := f.listen(t, nil)
	c := dial(t, s)
	c.write(t, "%s", signedText(testEvent))
	<-arrived
	err := <-drainer(t, s, 300*time.Millisecond)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 requests cut off") {
		t.Errorf("Drain = %v, want one request cut off by the deadline", err)
	}
	if _, err := c.r.ReadByte(); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the connection is still open: %v", err)
	}
	close(proceed)
}

func TestCloseIsImmediate(t *testing.T) {
	s := newFixture(t, nil).listen(t, nil)
	c := idle(t, s)
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := c.r.ReadByte(); !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read: %v, want the end", err)
	}
	if err := s.Drain(t.Context()); err != nil {
		t.Errorf("Drain after Close: %v", err)
	}
}
