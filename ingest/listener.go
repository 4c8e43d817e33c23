package ingest

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// handshakeGrace is how long connections are accepted after new ones have
	// been stopped: a round trip to the far side of the world, for handshakes
	// whose last packet is on its way.
	handshakeGrace = 250 * time.Millisecond
	// queueQuiet is how long the queue of connections must stay empty before
	// the socket is closed, and queueBound when it is closed all the same.
	queueQuiet = 5 * time.Millisecond
	queueBound = 100 * time.Millisecond
)

// retiringListener ends without dropping connections whose handshake is done:
// the kernel resets whatever waits in the queue of a listening socket when that
// is closed, although those clients have been told that they are connected and
// may have sent a request.
type retiringListener struct {
	net.Listener
	shared bool // other processes hold the same socket, now or later

	closing  sync.Once
	closeErr error

	until    atomic.Pointer[time.Time] // set by retire: end of handshakeGrace
	sweeping bool                      // Accept's goroutine only: the grace is over, empty the queue
}

func newRetiringListener(inner net.Listener, shared bool) *retiringListener {
	return &retiringListener{Listener: inner, shared: shared}
}

// retire makes Accept take what is still coming and then fail with
// net.ErrClosed, within handshakeGrace and queueBound. It doesn't wait for
// that. A shared listener is closed at once, which closes this process's
// descriptor and nothing more: what is in the queue belongs to the socket's
// other holders, and a filter would stay on their socket too. A connection that
// Accept has taken by then is still returned. The error says that new
// connections can't be held off, so that some may be reset in the instant of
// closing.
func (l *retiringListener) retire() error {
	deadliner, ok := l.Listener.(interface{ SetDeadline(time.Time) error })
	if l.shared || !ok {
		return l.Close()
	}
	// Without this the queue may never be empty. With it, new clients repeat
	// their first packet a second later, and are refused then.
	refused := refuseHandshakes(l.Listener)
	until := time.Now().Add(handshakeGrace)
	l.until.Store(&until)
	if err := deadliner.SetDeadline(until); err != nil {
		return errors.Join(refused, err, l.Close())
	}
	return refused
}

// Accept implements net.Listener.
func (l *retiringListener) Accept() (net.Conn, error) {
	for {
		if l.sweeping && !l.extend() {
			_ = l.Close()
			return nil, net.ErrClosed
		}
		conn, err := l.Listener.Accept()
		if err == nil {
			return conn, nil
		}
		if l.until.Load() == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, err
		}
		if l.sweeping { // nothing came for queueQuiet
			_ = l.Close()
			return nil, net.ErrClosed
		}
		l.sweeping = true
	}
}

// extend gives the next Accept queueQuiet to find a connection, until
// queueBound is over.
func (l *retiringListener) extend() bool {
	now := time.Now()
	if now.After(l.until.Load().Add(queueBound)) {
		return false
	}
	return l.Listener.(interface{ SetDeadline(time.Time) error }).SetDeadline(now.Add(queueQuiet)) == nil
}

// Close implements net.Listener. It may be called more than once.
func (l *retiringListener) Close() error {
	l.closing.Do(func() { l.closeErr = l.Listener.Close() })
	return l.closeErr
}
