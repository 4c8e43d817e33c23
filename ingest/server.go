package ingest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"
)

// The defaults of [ServerOptions].
const (
	DefaultReadHeaderTimeout = 10 * time.Second
	// DefaultIdleTimeout is longer than a reverse proxy keeps its side (75 s in
	// nginx's examples), so that the proxy is the one that closes and never
	// sends into a closing connection.
	DefaultIdleTimeout = 120 * time.Second
	DefaultIdleGrace   = 2 * time.Second
	// DefaultSharedIdleGrace is the IdleGrace of a Server with a Listener of the
	// caller's. It is shorter because new connections wait in the socket's queue
	// for whoever comes next, and their clients give up after a few seconds.
	DefaultSharedIdleGrace = 500 * time.Millisecond
	DefaultMaxHeaderBytes  = 64 << 10
)

// writeSlack is what the writing of an answer may take beyond the longest time
// that a handler needs, so that a sender that doesn't read can't hold a
// goroutine for ever.
const writeSlack = 5 * time.Second

// ServerOptions are what a [Server] is made of. Zero numbers and durations mean
// the defaults above.
type ServerOptions struct {
	// Addr is where to listen, as in net.Listen; ":0" picks a free port.
	Addr string
	// Listener, if not nil, is used instead of Addr. It belongs to the Server
	// from then on, but its socket may be shared with other processes: a drain
	// closes this process's descriptor, changes nothing about the socket, and
	// leaves the connections in its queue to whoever accepts there next.
	Listener net.Listener
	// Handler and Log are required.
	Handler *Handler
	Log     *zap.Logger

	// ReadHeaderTimeout is how long a request's headers may take to arrive.
	ReadHeaderTimeout time.Duration
	// IdleTimeout is how long a connection is kept open between requests.
	IdleTimeout time.Duration
	// IdleGrace is how long a drain leaves idle connections open for one more
	// request, before it tells them to go. The default is DefaultIdleGrace, with
	// a Listener DefaultSharedIdleGrace.
	IdleGrace time.Duration
	// MaxHeaderBytes bounds a request's headers; more is answered 431.
	MaxHeaderBytes int
}

// Server accepts connections for a [Handler]. Its life is Open, Serve, and
// Drain or Close; it can't be opened again.
//
// Requests that aren't HTTP are answered 400 by net/http itself, without a
// count or a log line; what the sender sends doesn't look like that.
type Server struct {
	opts     ServerOptions
	log      *zap.Logger
	handler  *Handler
	http     *http.Server
	conns    *conns
	listener *retiringListener // nil before Open

	end     sync.Once
	endErr  error
	ended   chan struct{} // closed when Drain or Close is done
	serving chan struct{} // closed when Serve has begun
	refuses chan struct{} // closed when Serve takes no more connections
}

// NewServer makes a Server that isn't listening yet. The error names the
// options that are missing or impossible.
func NewServer(opts ServerOptions) (*Server, error) {
	setDefault(&opts.ReadHeaderTimeout, DefaultReadHeaderTimeout)
	setDefault(&opts.IdleTimeout, DefaultIdleTimeout)
	idleGrace := DefaultIdleGrace
	if opts.Listener != nil {
		idleGrace = DefaultSharedIdleGrace
	}
	setDefault(&opts.IdleGrace, idleGrace)
	setDefault(&opts.MaxHeaderBytes, DefaultMaxHeaderBytes)
	switch {
	case opts.Handler == nil:
		return nil, errors.New("ingest: ServerOptions.Handler is required")
	case opts.Log == nil:
		return nil, errors.New("ingest: ServerOptions.Log is required")
	case opts.Addr == "" && opts.Listener == nil:
		return nil, errors.New("ingest: ServerOptions.Addr or Listener is required")
	case opts.ReadHeaderTimeout < 0 || opts.IdleTimeout < 0 || opts.IdleGrace < 0 || opts.MaxHeaderBytes < 0:
		return nil, errors.New("ingest: ServerOptions: timeouts and sizes must not be negative")
	}
	s := &Server{
		opts:    opts,
		log:     opts.Log,
		handler: opts.Handler,
		conns:   newConns(),
		ended:   make(chan struct{}),
		serving: make(chan struct{}),
		refuses: make(chan struct{}),
	}
	limits := opts.Handler.opts
	errorLog, err := zap.NewStdLogAt(sampled(opts.Log), zap.WarnLevel)
	if err != nil {
		return nil, fmt.Errorf("ingest: making a log for net/http: %w", err)
	}
	s.http = &http.Server{
		Handler:                      opts.Handler,
		ReadHeaderTimeout:            opts.ReadHeaderTimeout,
		IdleTimeout:                  opts.IdleTimeout,
		MaxHeaderBytes:               opts.MaxHeaderBytes,
		WriteTimeout:                 limits.BodyTimeout + limits.DiscardTimeout + limits.RequestTimeout + writeSlack,
		ConnState:                    s.conns.track,
		DisableGeneralOptionsHandler: true,
		// net/http has errors of Accept to tell, such as too many open files.
		ErrorLog: errorLog,
	}
	return s, nil
}

// Open listens. When it returns without an error, connections are taken and
// wait for Serve.
func (s *Server) Open(ctx context.Context) error {
	inner, shared := s.opts.Listener, true
	if inner == nil {
		var config net.ListenConfig
		// Go listens for Multipath TCP by default. Proxies and senders don't
		// speak it, and such a socket takes no filter (see refuseHandshakes).
		config.SetMultipathTCP(false)
		var err error
		if inner, err = config.Listen(ctx, "tcp", s.opts.Addr); err != nil {
			return fmt.Errorf("ingest: %w", err)
		}
		shared = false
	}
	s.listener = newRetiringListener(inner, shared)
	return nil
}

// URL is the base URL of the opened server, with the real port and without a
// slash at the end. A server that listens everywhere is named by its loopback
// address, one on a Unix socket as nginx writes it (http://unix:/path:). It is
// "" before Open.
func (s *Server) URL() string {
	if s.listener == nil {
		return ""
	}
	addr, ok := s.listener.Addr().(*net.TCPAddr)
	if !ok {
		return "http://unix:" + s.listener.Addr().String() + ":"
	}
	host := addr.IP.String()
	if addr.IP == nil || addr.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, fmt.Sprint(addr.Port))
}

// Serve accepts connections until Drain or Close has finished, and then returns
// nil. Any other end is an error.
func (s *Server) Serve() error {
	if s.listener == nil {
		return errors.New("ingest: Serve before Open")
	}
	close(s.serving)
	err := s.http.Serve(s.listener)
	close(s.refuses)
	if s.handler.closing.Load() {
		<-s.ended
		return nil
	}
	return fmt.Errorf("ingest: serving: %w", err)
}

// Close ends the server at once. Requests in progress see their connections
// cut; Drain is the gentle way.
func (s *Server) Close() error {
	s.end.Do(func() {
		s.handler.closing.Store(true)
		s.endErr = s.closeNow()
		close(s.ended)
	})
	return s.endErr
}

func (s *Server) closeNow() error {
	if s.listener == nil {
		return nil
	}
	err := errors.Join(s.listener.Close(), s.http.Close())
	if err != nil {
		return fmt.Errorf("ingest: closing: %w", err)
	}
	return nil
}
