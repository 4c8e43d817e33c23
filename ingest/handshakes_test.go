package ingest

import (
	"errors"
	"net"
	"runtime"
	"testing"
	"time"
)

// The filter stops new connections and nothing else.
func TestRefuseHandshakes(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux's socket filters")
	}
	s := newFixture(t, nil).listen(t, nil)
	before := idle(t, s)
	if err := refuseHandshakes(s.listener.Listener); err != nil {
		t.Fatal(err)
	}
	before.write(t, "%s", signedText(testEvent))
	before.read(t).expect(t, 200, "published")

	d := net.Dialer{Timeout: 100 * time.Millisecond}
	conn, err := d.DialContext(t.Context(), "tcp", s.listener.Addr().String())
	var netErr net.Error
	if !errors.As(err, &netErr) || !netErr.Timeout() {
		t.Errorf("dialing gave %v, %v; want a timeout", conn, err)
	}
	if err := refuseHandshakes(&memoryListener{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("not a socket: %v, want %v", err, errors.ErrUnsupported)
	}
}

// What stands in the queue when the listener retires is still accepted.
func TestRetireAcceptsTheQueue(t *testing.T) {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	inner, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newRetiringListener(inner, false)
	const queued = 20
	for range queued {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	if err := l.retire(); err != nil && runtime.GOOS == "linux" {
		t.Fatal(err)
	}
	n := 0
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		n++
		_ = conn.Close()
	}
	if n != queued {
		t.Errorf("accepted %d of %d", n, queued)
	}
	if err := l.Close(); err != nil {
		t.Errorf("the second Close: %v", err)
	}
}
