package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// echo is a server that sends back what it gets; got is what has reached it so far.
type echo struct {
	ln  net.Listener
	wg  sync.WaitGroup
	mu  sync.Mutex // guards got
	got bytes.Buffer
}

func startEcho(t *testing.T) *echo {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &echo{ln: ln}
	t.Cleanup(func() { _ = ln.Close(); e.wg.Wait() })
	e.wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			e.wg.Go(func() {
				defer func() { _ = conn.Close() }()
				_, _ = io.Copy(io.MultiWriter(conn, e), conn)
			})
		}
	})
	return e
}

func (e *echo) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.got.Write(b)
}

func (e *echo) received() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.got.String()
}

// dial connects through the proxy.
func dial(t *testing.T, p *TCPProxy) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// send writes text, and answer reads as many bytes within a time.
func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func answer(t *testing.T, conn net.Conn, n int, within time.Duration) (string, error) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, n)
	read, err := io.ReadFull(conn, got)
	return string(got[:read]), err
}

// wantEcho sends text and wants it back.
func wantEcho(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	send(t, conn, text)
	if got, err := answer(t, conn, len(text), testWait); err != nil || got != text {
		t.Fatalf("sent %q, got %q, %v", text, got, err)
	}
}

// silence is how long a test waits to see that nothing comes.
const silence = 100 * time.Millisecond

// wantSilence wants no answer and an open connection.
func wantSilence(t *testing.T, conn net.Conn) {
	t.Helper()
	if got, err := answer(t, conn, 1, silence); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %q, %v; want silence", got, err)
	}
}

// wantCut wants the connection to end.
func wantCut(t *testing.T, conn net.Conn) {
	t.Helper()
	if got, err := answer(t, conn, 1, testWait); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %q, %v; want a connection that is cut", got, err)
	}
}

func TestProxyPass(t *testing.T) {
	p := Proxy(t, startEcho(t).ln.Addr().String())
	wantEcho(t, dial(t, p), "hello")
}

func TestProxyCut(t *testing.T) {
	p := Proxy(t, startEcho(t).ln.Addr().String())
	conn := dial(t, p)
	wantEcho(t, conn, "hello")
	p.Cut()
	wantCut(t, conn)
	wantEcho(t, dial(t, p), "a new connection works")
	Eventually(t, testWait, func() error {
		if n := p.Connections(); n != 1 {
			return errors.New("the cut connection is still counted")
		}
		return nil
	})
}

func TestProxyBlackHole(t *testing.T) {
	server := startEcho(t)
	p := Proxy(t, server.ln.Addr().String())
	old := dial(t, p)
	wantEcho(t, old, "before.")
	p.Set(t, BlackHole)
	send(t, old, "old.")
	wantSilence(t, old)
	young := dial(t, p)
	send(t, young, "young.")
	wantSilence(t, young)
	if got := server.received(); got != "before." {
		t.Errorf("the server has got %q from a black hole", got)
	}
	p.Set(t, Pass)
	for conn, want := range map[net.Conn]string{old: "old.", young: "young."} {
		if got, err := answer(t, conn, len(want), testWait); err != nil || got != want {
			t.Errorf("after the black hole: %q, %v; want %q", got, err, want)
		}
	}
}

func TestProxyRefuse(t *testing.T) {
	p := Proxy(t, startEcho(t).ln.Addr().String())
	conn := dial(t, p)
	wantEcho(t, conn, "hello")
	p.Set(t, Refuse)
	wantCut(t, conn)
	if refused, err := net.Dial("tcp", p.Addr()); err == nil {
		_ = refused.Close()
		t.Error("a proxy that refuses has accepted")
	}
	p.Set(t, Pass)
	wantEcho(t, dial(t, p), "again")
}

func TestProxySetTarget(t *testing.T) {
	one, two := startEcho(t), startEcho(t)
	p := Proxy(t, one.ln.Addr().String())
	wantEcho(t, dial(t, p), "one")
	p.SetTarget(two.ln.Addr().String())
	wantEcho(t, dial(t, p), "two")
	Eventually(t, testWait, func() error { // a server notes what it has answered
		if one.received() != "one" || two.received() != "two" {
			return fmt.Errorf("the servers have got %q and %q", one.received(), two.received())
		}
		return nil
	})
}

func TestProxyDelay(t *testing.T) {
	p := Proxy(t, startEcho(t).ln.Addr().String())
	conn := dial(t, p)
	p.SetDelay(2 * silence)
	send(t, conn, "slow")
	wantSilence(t, conn)
	if got, err := answer(t, conn, 4, testWait); err != nil || got != "slow" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestProxyFault(t *testing.T) {
	bad := func(request []byte) bool { return bytes.Contains(request, []byte("bad")) }
	for name, c := range map[string]struct {
		fault   Fault
		reaches bool
		cut     bool
	}{
		"reply lost, waiting":   {Fault{Match: bad, Count: 1}, true, false},
		"reply lost, cut":       {Fault{Match: bad, Count: 1, Cut: true}, true, true},
		"request lost, waiting": {Fault{Match: bad, Count: 1, LoseRequest: true}, false, false},
		"request lost, cut":     {Fault{Match: bad, Count: 1, LoseRequest: true, Cut: true}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			server := startEcho(t)
			p := Proxy(t, server.ln.Addr().String())
			conn := dial(t, p)
			p.Inject(c.fault)
			wantEcho(t, conn, "good")
			send(t, conn, "bad")
			Eventually(t, testWait, func() error {
				if p.Lost() != 1 {
					return errors.New("nothing was lost")
				}
				return nil
			})
			if c.cut {
				wantCut(t, conn)
			} else {
				wantSilence(t, conn)
			}
			Eventually(t, testWait, func() error {
				if want := map[bool]string{true: "goodbad", false: "good"}[c.reaches]; server.received() != want {
					return fmt.Errorf("the server has got %q, want %q", server.received(), want)
				}
				return nil
			})
			wantEcho(t, dial(t, p), "bad, but the fault is used up")
			p.Inject(Fault{})
			send(t, dial(t, p), "x")
			Eventually(t, testWait, func() error {
				if p.Lost() != 2 {
					return errors.New("the second fault has hit nothing")
				}
				return nil
			})
			p.Clear()
			wantEcho(t, dial(t, p), "bad again")
		})
	}
}

// TestProxyFrames loses exactly the reply to one produce request out of several kinds on one connection, on kfake.
func TestProxyFrames(t *testing.T) {
	fake := Kfake(t)
	fake.CreateTopic(t, "framed", 1, nil)
	p := Proxy(t, fake.Bootstrap()[0], Frames())
	// kfake advertises itself, so the client's dialer goes through the proxy.
	through := dialVia(func() string { return p.Addr() })
	p.Inject(Fault{Match: KafkaRequest(APIProduce), Count: 1, Cut: true})
	produce(t, fake.Bootstrap(), through, numbered("framed", 1)...)
	if got := p.Lost(); got != 1 {
		t.Errorf("%d replies lost, want 1", got)
	}
	// The client is idempotent: it sent the batch again, and the cluster knew it.
	wantRecords(t, fake.Consume(t, "framed"), numbered("framed", 1))
}

func TestProxyFramesRefusesOthers(t *testing.T) {
	p := Proxy(t, startEcho(t).ln.Addr().String(), Frames())
	conn := dial(t, p)
	send(t, conn, "GET / HTTP/1.1\r\n\r\n")
	wantCut(t, conn)
}

// dialVia is a franz-go dialer that connects to another address than the one asked for.
func dialVia(addr func() string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, addr())
	}
}
