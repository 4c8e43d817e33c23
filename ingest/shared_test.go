package ingest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// heldSocket is a listening socket that outlives the servers on it, as a
// supervisor holds one.
type heldSocket struct{ file *os.File }

func holdSocket(t *testing.T, network, address string) heldSocket {
	t.Helper()
	var config net.ListenConfig
	config.SetMultipathTCP(false) // or it would take no filter, and a test couldn't see one
	l, err := config.Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	file, err := l.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return heldSocket{file}
}

// share gives a server a descriptor of its own of the socket.
func (h heldSocket) share(t *testing.T) func(*ServerOptions) {
	t.Helper()
	l, err := net.FileListener(h.file)
	if err != nil {
		t.Fatal(err)
	}
	return func(o *ServerOptions) { o.Addr, o.Listener = "", l }
}

// A drain leaves a shared socket as it was: what waits in its queue, before
// and after the drain's end, is answered by the next server.
func TestDrainLeavesTheSharedSocket(t *testing.T) {
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(t.TempDir(), "s")} {
		t.Run(network, func(t *testing.T) {
			socket := holdSocket(t, network, address)
			f := newFixture(t, nil)
			arrived, proceed := make(chan struct{}), make(chan struct{})
			publish := f.publisher.publish
			f.publisher.publish = func(ctx context.Context, d *Delivery, c Claim) (Outcome, error) {
				close(arrived)
				<-proceed
				return publish(ctx, d, c)
			}
			old := f.listen(t, socket.share(t))
			begun, unused := dial(t, old), dial(t, old)
			begun.write(t, "%s", signedText(testEvent))
			<-arrived
			eventually(t, "both are accepted", func() bool { return old.conns.count() == 2 })

			result := drainer(t, old, 20*time.Second)
			eventually(t, "nothing more is accepted", func() bool {
				select {
				case <-old.refuses:
					return true
				default:
					return false
				}
			})
			during := dial(t, old)
			during.write(t, "%s", signedText(testEvent))
			if code, _, _ := unused.readCode(t); code != http.StatusRequestTimeout || !unused.lastClose {
				t.Errorf("goodbye %d, close %v; want 408, true", code, unused.lastClose)
			}
			unused.close()
			close(proceed)
			begun.read(t).expect(t, http.StatusOK, "published")
			if !begun.lastClose {
				t.Error("the answer doesn't say Connection: close")
			}
			begun.expectClosed(t)
			if err := <-result; err != nil {
				t.Errorf("Drain: %v", err)
			}
			after := dial(t, old)
			after.write(t, "%s", signedText(testEvent))
			if n := len(f.published()); n != 1 {
				t.Errorf("the old server has published %d events, want 1", n)
			}

			heir := newFixture(t, nil).listen(t, socket.share(t))
			for _, c := range []*wire{during, after, dial(t, heir)} {
				if c != during && c != after {
					c.write(t, "%s", signedText(testEvent))
				}
				c.read(t).expect(t, http.StatusOK, "published")
			}
		})
	}
}

// A body that doesn't come holds up those who wait for the next server only
// for a part of the time for which a sender waits.
func TestDrainOfASharedSocketEndsSlowBodiesSoon(t *testing.T) {
	f := newFixture(t, nil)
	s := f.listen(t, holdSocket(t, "tcp", "127.0.0.1:0").share(t))
	c := dial(t, s)
	c.write(t, "POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
	eventually(t, "the body is waited for", func() bool { return f.counter(t, "sluice_in_flight_requests") == 1 })
	result := drainer(t, s, 10*time.Minute) // far beyond the deadlines of the connection and the body
	c.read(t).expect(t, http.StatusRequestTimeout, "body_timeout")
	c.expectClosed(t)
	if err := <-result; err != nil {
		t.Errorf("Drain: %v", err)
	}
}

// Servers follow each other on one socket under load: no client sees an error
// of any kind, and nothing is handled twice.
func TestHandOverUnderLoad(t *testing.T) {
	servers, clients := 30, 16
	if testing.Short() {
		servers = 5
	}
	socket := holdSocket(t, "tcp", "127.0.0.1:0")
	f := newFixture(t, nil)
	s := f.listen(t, socket.share(t))
	url := s.URL() + Path
	header := sign(&http.Request{Header: make(http.Header)}, testEvent).Header
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var answered atomic.Int64
	failures := make(chan error, clients)
	var wg sync.WaitGroup
	for i := range clients {
		client := newClient(t)
		client.Transport.(*http.Transport).DisableKeepAlives = i%2 == 0
		wg.Go(func() {
			for ctx.Err() == nil {
				a, err := post(t, client, url, strings.NewReader(testEvent), func(r *http.Request) { r.Header = header.Clone() })
				if err != nil || a.code != http.StatusOK {
					failures <- errors.Join(errors.New(a.Reason), err)
					return
				}
				answered.Add(1)
			}
		})
	}
	published := 0
	for range servers {
		enough := answered.Load() + int64(4*clients)
		eventually(t, "the load runs", func() bool { return answered.Load() > enough || len(failures) > 0 })
		if err := <-drainer(t, s, 10*time.Second); err != nil {
			t.Errorf("Drain: %v", err)
		}
		published += len(f.published())
		f = newFixture(t, nil)
		s = f.listen(t, socket.share(t))
	}
	cancel()
	wg.Wait()
	published += len(f.published())
	close(failures)
	for err := range failures {
		t.Errorf("a client saw: %v", err)
	}
	if n := int(answered.Load()); n != published {
		t.Errorf("%d answers for %d records", n, published)
	}
	t.Logf("%d requests over %d servers", answered.Load(), servers+1)
}
