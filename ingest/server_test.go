package ingest

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
)

func TestOpen(t *testing.T) {
	f := newFixture(t, nil)
	s := f.listen(t, nil)
	if !strings.HasPrefix(s.URL(), "http://127.0.0.1:") || strings.HasSuffix(s.URL(), ":0") {
		t.Errorf("URL %s", s.URL())
	}
	t.Run("taken address", func(t *testing.T) {
		second, err := NewServer(ServerOptions{Addr: strings.TrimPrefix(s.URL(), "http://"), Handler: f.handler, Log: zap.NewNop()})
		if err != nil {
			t.Fatal(err)
		}
		if err := second.Open(t.Context()); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("Open = %v, want %v", err, syscall.EADDRINUSE)
		}
		if got := second.URL(); got != "" {
			t.Errorf("URL before Open is %s", got)
		}
		if err := second.Serve(); err == nil {
			t.Error("Serve before Open gave no error")
		}
		if err := second.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	t.Run("everywhere", func(t *testing.T) {
		s := newFixture(t, nil).listen(t, func(o *ServerOptions) { o.Addr = ":0" })
		a, err := post(t, newClient(t), s.URL()+"/webhook", strings.NewReader(testEvent), func(r *http.Request) { sign(r, testEvent) })
		if err != nil {
			t.Fatal(err)
		}
		a.expect(t, http.StatusOK, "published")
	})
}

// Connections wait from Open on, before Serve.
func TestConnectionsWaitForServe(t *testing.T) {
	f := newFixture(t, nil)
	s, err := NewServer(ServerOptions{Addr: "127.0.0.1:0", Handler: f.handler, Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := dial(t, s)
	c.write(t, "%s", signedText(testEvent))
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	c.read(t).expect(t, http.StatusOK, "published")
	c.close()
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestNewServerNamesWhatIsWrong(t *testing.T) {
	f := newFixture(t, nil)
	good := ServerOptions{Addr: ":0", Handler: f.handler, Log: zap.NewNop()}
	for want, spoil := range map[string]func(*ServerOptions){
		"Handler":           func(o *ServerOptions) { o.Handler = nil },
		"Log":               func(o *ServerOptions) { o.Log = nil },
		"Addr or Listener":  func(o *ServerOptions) { o.Addr = "" },
		"timeouts and size": func(o *ServerOptions) { o.IdleGrace = -1 },
	} {
		opts := good
		spoil(&opts)
		if _, err := NewServer(opts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("NewServer = %v, want an error that names %s", err, want)
		}
	}
}

// net/http answers these by itself, and they get no further.
func TestNotHTTP(t *testing.T) {
	f := newFixture(t, nil)
	s := f.listen(t, nil)
	tests := []struct {
		name, text string
		code       int
	}{
		{"no HTTP", "hello\r\n\r\n", 400},
		{"no host", "POST /webhook HTTP/1.1\r\n\r\n", 400},
		{"two lengths", "POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
		{"negative length", "POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400},
		{"unknown coding", "POST /webhook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: rot13\r\n\r\n", 501},
		{"large headers", "POST /webhook HTTP/1.1\r\nHost: x\r\nX-Large: " + strings.Repeat("x", 80<<10) + "\r\n\r\n", 431},
		{"asterisk", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := dial(t, s)
			c.write(t, "%s", tt.text)
			if code, _, _ := c.readCode(t); code != tt.code {
				t.Errorf("answer %d, want %d", code, tt.code)
			}
		})
	}
	if got := f.counter(t, "sluice_received_total"); got != 0 {
		t.Errorf("received_total = %v, want 0", got)
	}
}

// Clients that take without giving lose the connection, each by its own
// timeout.
func TestStalledConnections(t *testing.T) {
	const short = 50 * time.Millisecond
	tests := []struct {
		name   string
		adjust func(*ServerOptions)
		say    string
		code   int // of an answer, 0 if there is none
	}{
		{"nothing sent", func(o *ServerOptions) { o.ReadHeaderTimeout = short }, "", 0},
		// net/http takes what it has for all there is.
		{"half a request line", func(o *ServerOptions) { o.ReadHeaderTimeout = short }, "POST /web", 400},
		{"half a header", func(o *ServerOptions) { o.ReadHeaderTimeout = short }, "POST /webhook HTTP/1.1\r\nHo", 400},
		{"idle after a request", func(o *ServerOptions) { o.IdleTimeout = short }, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 404},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := dial(t, newFixture(t, nil).listen(t, tt.adjust))
			c.write(t, "%s", tt.say)
			if tt.code != 0 {
				if code, _, _ := c.readCode(t); code != tt.code {
					t.Errorf("answer %d, want %d", code, tt.code)
				}
			}
			c.expectClosed(t)
		})
	}
}

// A client that sends requests and never reads answers can't hold a goroutine
// for ever.
func TestClientThatDoesNotRead(t *testing.T) {
	f := newFixture(t, nil)
	s, err := NewServer(ServerOptions{Addr: "127.0.0.1:0", Handler: f.handler, Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	if s.http.WriteTimeout < f.handler.opts.BodyTimeout+f.handler.opts.RequestTimeout {
		t.Errorf("WriteTimeout %v would cut slow requests off", s.http.WriteTimeout)
	}
	s.http.WriteTimeout = 50 * time.Millisecond
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
	})
	c := dial(t, s)
	requests := strings.Repeat("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1000)
	for {
		// Written until the server has had enough; the connection's own
		// deadline makes a server that never does fail the test.
		if _, err := io.WriteString(c.Conn, requests); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the server still waits for its answers to be read")
			}
			break
		}
	}
	eventually(t, "the connection ends", func() bool { return s.conns.count() == 0 })
}

// memoryListener is a listener that isn't a TCP socket.
type memoryListener struct {
	net.Listener
	closed chan struct{}
}

func (l *memoryListener) Accept() (net.Conn, error) { <-l.closed; return nil, net.ErrClosed }
func (l *memoryListener) Close() error              { close(l.closed); return nil }
func (l *memoryListener) Addr() net.Addr            { return &net.UnixAddr{Name: "memory", Net: "unix"} }

func TestGivenListener(t *testing.T) {
	l := &memoryListener{closed: make(chan struct{})}
	s := newFixture(t, nil).listen(t, func(o *ServerOptions) { o.Addr, o.Listener = "", l })
	if got := s.URL(); got != "http://unix:memory:" {
		t.Errorf("URL %s", got)
	}
	<-s.serving
	if err := s.Drain(t.Context()); err != nil {
		t.Errorf("Drain: %v", err)
	}
	<-l.closed
}
