package ingest

import (
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestGoodbyeOnABusyMachine says goodbye a second after the sweep has begun, as where other threads had the processor
// meanwhile: the peer reads 408 all the same, and not the bare end of the connection.
func TestGoodbyeOnABusyMachine(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := newConns()
	c.track(conn, http.StateNew)
	c.track(conn, http.StateIdle)
	c.endIdle(time.Now().Add(-time.Second))
	if got, err := io.ReadAll(peer); err != nil || string(got) != goodbye {
		t.Errorf("the peer reads %q, %v", got, err)
	}
}
