package testenv

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"
)

// Mode is how a proxy treats its connections.
type Mode int

// The modes of a proxy.
const (
	Pass      Mode = iota // forward everything
	BlackHole             // accept, forward nothing either way; what was held back follows when the mode ends
	Refuse                // no listener: a dial is refused. Connections there were are cut
)

// TCPProxy stands before one server and makes its network fail. Its methods may be called from any goroutine.
type TCPProxy struct {
	opts proxyOptions
	port *port
	wg   sync.WaitGroup // the accept loop and every link

	mu       sync.Mutex // guards what follows
	target   string
	mode     Mode
	delay    time.Duration
	changed  chan struct{} // closed and replaced at every change of mode
	listener net.Listener  // nil while refusing
	links    map[*link]struct{}
	fault    *Fault // nil when none is injected
	left     int    // exchanges that the fault may still hit; below 0: without end
	lost     int
	closed   bool
}

// proxyOptions is what the options add up to.
type proxyOptions struct {
	frames bool
}

// ProxyOption changes how Proxy forwards.
type ProxyOption func(*proxyOptions)

// Frames makes the proxy forward whole Kafka messages, each with its 4-byte size, so that a Fault sees one request
// at a time and hits exactly the response that belongs to it. It is for plain connections: not for TLS.
func Frames() ProxyOption { return func(o *proxyOptions) { o.frames = true } }

// Proxy starts a proxy before target (host:port) on a port of its own. It starts in mode Pass and ends with the test.
func Proxy(t testing.TB, target string, opts ...ProxyOption) *TCPProxy {
	t.Helper()
	var o proxyOptions
	for _, opt := range opts {
		opt(&o)
	}
	p, err := newProxy(target, o)
	if err != nil {
		t.Fatalf("starting a proxy: %v", err)
	}
	t.Cleanup(p.close)
	return p
}

// newProxy starts a proxy that the caller closes.
func newProxy(target string, o proxyOptions) (*TCPProxy, error) {
	reserved, err := reservePort()
	if err != nil {
		return nil, err
	}
	p := &TCPProxy{opts: o, port: reserved, target: target, links: map[*link]struct{}{}, changed: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.listen(); err != nil {
		reserved.release()
		return nil, err
	}
	return p, nil
}

// Addr is where the proxy listens.
func (p *TCPProxy) Addr() string { return p.port.addr() }

// SetTarget makes new connections go to another address; those there are stay.
func (p *TCPProxy) SetTarget(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = addr
}

// SetDelay holds back whatever comes from the server by d, piece by piece. 0 ends it.
func (p *TCPProxy) SetDelay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Set changes the mode, for the connections there are as well.
func (p *TCPProxy) Set(t testing.TB, mode Mode) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = mode
	close(p.changed)
	p.changed = make(chan struct{})
	switch {
	case mode == Refuse && p.listener != nil:
		_ = p.listener.Close() // the accept loop ends by it
		p.listener = nil
		p.cut()
	case mode != Refuse && p.listener == nil:
		if err := p.listen(); err != nil {
			t.Fatalf("letting the proxy listen again: %v", err)
		}
	}
}

// Cut resets every connection there is. New ones are treated as the mode says.
func (p *TCPProxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut()
}

// Connections is how many connections there are now.
func (p *TCPProxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// listen opens the listener and starts its accept loop. p.mu is held.
func (p *TCPProxy) listen() error {
	ln, err := net.Listen("tcp4", p.port.addr())
	if err != nil {
		return fmt.Errorf("listening on %s: %w", p.port.addr(), err)
	}
	p.listener = ln
	p.wg.Add(1)
	go p.accept(ln)
	return nil
}

// cut closes every link. p.mu is held.
func (p *TCPProxy) cut() {
	for l := range p.links {
		l.cut()
	}
}

// close ends the proxy and waits for its goroutines. Twice is no error.
func (p *TCPProxy) close() {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		if p.listener != nil {
			_ = p.listener.Close()
		}
		p.cut()
		p.port.release()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

// accept makes a link of every connection until the listener is closed.
func (p *TCPProxy) accept(ln net.Listener) {
	defer p.wg.Done()
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		l := &link{proxy: p, client: conn, done: make(chan struct{}), lose: map[int32]bool{}}
		p.mu.Lock()
		if p.closed || p.mode == Refuse {
			p.mu.Unlock()
			l.cut()
			continue
		}
		p.links[l] = struct{}{}
		p.wg.Add(1)
		p.mu.Unlock()
		go l.run()
	}
}

// state is the mode, the delay of replies and the channel that the next change of mode closes.
func (p *TCPProxy) state() (Mode, time.Duration, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mode, p.delay, p.changed
}

// link is one connection through the proxy: two goroutines, one a direction.
type link struct {
	proxy  *TCPProxy
	client net.Conn
	once   sync.Once
	done   chan struct{} // closed by cut

	mu     sync.Mutex // guards what follows
	server net.Conn   // nil until dialled
	lose   map[int32]bool
	deaf   bool // every reply is lost from now on
	hangUp bool // cut when a reply is lost
}

// run dials the server and forwards until either side ends.
func (l *link) run() {
	p := l.proxy
	defer p.wg.Done()
	defer func() {
		l.cut()
		p.mu.Lock()
		delete(p.links, l)
		p.mu.Unlock()
	}()
	if !l.pass() {
		return
	}
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var dialer net.Dialer
	server, err := dialer.DialContext(ctx, "tcp", target)
	if err != nil {
		return // the client sees a connection that is cut at once, as behind any proxy
	}
	l.mu.Lock()
	l.server = server
	l.mu.Unlock()
	select {
	case <-l.done: // cut while dialling
		_ = server.Close()
		return
	default:
	}
	down := make(chan struct{})
	go func() {
		defer close(down)
		l.pump(server, l.client, l.reply)
	}()
	l.pump(l.client, server, l.request)
	<-down
}

// pass waits while the mode is BlackHole; false: the link was cut meanwhile.
func (l *link) pass() bool {
	for {
		mode, _, changed := l.proxy.state()
		if mode != BlackHole {
			break
		}
		select {
		case <-changed:
		case <-l.done:
			return false
		}
	}
	select {
	case <-l.done:
		return false
	default:
		return true
	}
}

// pump forwards from one side to the other what keep lets through, and cuts the link at the first error.
func (l *link) pump(from, to net.Conn, keep func([]byte) (bool, error)) {
	defer l.cut()
	in := bufio.NewReaderSize(from, 64<<10)
	for {
		piece, err := l.proxy.read(in)
		if err != nil || !l.pass() {
			return
		}
		forward, err := keep(piece)
		if err != nil {
			return
		}
		if !forward {
			continue
		}
		if _, err := to.Write(piece); err != nil {
			return
		}
	}
}

// errCut ends a link whose fault says so.
var errCut = errors.New("cut by the proxy's fault")

// cut resets both sides: the peers see a reset, not an orderly end.
func (l *link) cut() {
	l.once.Do(func() {
		close(l.done)
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, conn := range []net.Conn{l.client, l.server} {
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0) // a close with linger 0 sends a reset
				_ = tcp.Close()
			}
		}
	})
}
