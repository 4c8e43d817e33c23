package ingest

import (
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// goodbye is what an idle connection gets before it is closed. RFC 9110 (15.5.9)
// gives 408 that meaning: the server won't wait longer for a request, and one
// that is in transit may be repeated.
const goodbye = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

// conns knows the state of every open connection. net/http keeps the same
// table but acts on it in one way only, which is to close.
type conns struct {
	changed chan struct{} // holds a token after a connection has gone

	mu    sync.Mutex
	table map[net.Conn]*connState // guarded by mu
}

type connState struct {
	http.ConnState
	ended time.Time // when the connection was told to go
}

func newConns() *conns {
	return &conns{changed: make(chan struct{}, 1), table: make(map[net.Conn]*connState)}
}

// track is the server's ConnState hook.
func (c *conns) track(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		c.table[conn] = &connState{ConnState: state}
	case http.StateActive, http.StateIdle:
		if s := c.table[conn]; s != nil {
			s.ConnState = state
		}
	case http.StateClosed, http.StateHijacked:
		delete(c.table, conn)
		select {
		case c.changed <- struct{}{}:
		default:
		}
	}
}

// count is the number of open connections. A connection leaves the count only
// after its handler has returned.
func (c *conns) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.table)
}

// active is the number of connections with a request in progress.
func (c *conns) active() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, s := range c.table {
		if s.ConnState == http.StateActive {
			n++
		}
	}
	return n
}

// endIdle tells the connections without a request to go, and closes those
// that were told a while ago. One that becomes active at this very moment
// reads the goodbye as its answer.
func (c *conns) endIdle(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn, s := range c.table {
		switch {
		case s.ConnState == http.StateActive:
		case s.ended.IsZero():
			s.ended = now
			sayGoodbye(conn)
		case now.Sub(s.ended) > farewell:
			// net/http's goroutine notices and cleans up.
			_ = conn.Close()
		}
	}
}

// sayGoodbye can't block: nothing was written to an idle connection since its
// last answer was read, so the socket's buffer has room. The deadline is there
// for connections that aren't sockets. It must not pass while this goroutine
// waits for a processor: the peer would see the end without the goodbye.
func sayGoodbye(conn net.Conn) {
	_ = conn.SetWriteDeadline(time.Now().Add(writeSlack))
	_, _ = io.WriteString(conn, goodbye)
	// Ending our side only: closing would reset the connection if a request is
	// on its way, and the reset would overtake the goodbye.
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// stopReading makes the handlers that are waiting for a body see a timeout.
func (c *conns) stopReading() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn, s := range c.table {
		if s.ConnState == http.StateActive {
			_ = conn.SetReadDeadline(time.Unix(1, 0))
		}
	}
}
