// Package admin is the operator's side of Sluice: health, metrics, the AsyncAPI
// document and a page for people, on a port of their own.
//
//	/livez          200 as long as the process can answer at all
//	/readyz         200 if it can answer webhooks, 503 while it starts or drains;
//	                the body lists what it depends on, and the balance of events
//	/metrics        Prometheus
//	/asyncapi.yaml  what is received and what is written
//	/               a page that shows the same to people
//
// Kafka or Redis being away doesn't make the process unready: it still answers
// 503, which the sender retries soon, while a proxy without a ready backend
// answers 502, after which the sender waits an hour.
//
// The package has no authentication and changes nothing: whoever can reach the
// port reads counters and error texts. So it listens on loopback unless told
// otherwise. It knows neither Kafka nor Redis; their state is a function that
// is given to it.
package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"sluice/publisher/balance"
)

// Dependency is the state of something that events need to be kept.
type Dependency struct {
	Name   string    // "kafka", "redis"
	Up     bool      // it answered when it was last asked
	Since  time.Time // when Up last changed; zero if it never did
	Detail string    // why it isn't up; no secrets
}

// Options are what a [Server] is made of. All but Listener, Version and Insecure
// are required.
type Options struct {
	// Addr is where to listen, as in net.Listen; ":0" picks a free port.
	Addr string
	// Listener, if not nil, is used instead of Addr. It belongs to the Server from
	// then on; its socket may be shared with other processes, and stays open for
	// them.
	Listener net.Listener
	// Gatherer is what /metrics shows, and where the page reads its counters.
	Gatherer prometheus.Gatherer
	// AsyncAPI is the document, in YAML.
	AsyncAPI []byte
	// Dependencies tells the state of the dependencies. It is called for every
	// look at /readyz or the page, so it must answer from memory.
	Dependencies func() []Dependency
	// Balance tells what has become of the events.
	Balance func() balance.Balance
	Log     *zap.Logger
	// Version is shown on the page.
	Version string
	// Insecure puts a warning on the page: signatures aren't checked.
	Insecure bool
}

// The limits of the port. They are constants because a port with few readers
// needs no tuning.
const (
	headerTimeout  = 5 * time.Second
	readTimeout    = 10 * time.Second
	writeTimeout   = 30 * time.Second
	idleTimeout    = 60 * time.Second
	maxHeaderBytes = 16 << 10

	gatherTimeout = 10 * time.Second
	maxScrapes    = 4 // at once; more are answered 503
)

// state is where the process is in its life. It only moves forward.
type state int32

const (
	starting state = iota
	ready
	draining
)

func (s state) String() string {
	switch s {
	case starting:
		return "starting"
	case ready:
		return "ready"
	case draining:
		return "draining"
	}
	return "state " + strconv.Itoa(int(s))
}

// Server is the admin port. Its life is Open, Serve, Close.
type Server struct {
	opts     Options
	http     *http.Server
	listener net.Listener // nil before Open
	state    atomic.Int32 // a state
}

// New makes a Server that isn't listening yet. The error names the options that
// are missing.
func New(opts Options) (*Server, error) {
	var errs []error
	required := func(name string, present bool) {
		if !present {
			errs = append(errs, fmt.Errorf("admin: Options.%s is required", name))
		}
	}
	required("Addr", opts.Addr != "")
	required("Gatherer", opts.Gatherer != nil)
	required("AsyncAPI", len(opts.AsyncAPI) > 0)
	required("Dependencies", opts.Dependencies != nil)
	required("Balance", opts.Balance != nil)
	required("Log", opts.Log != nil)
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	errorLog, err := zap.NewStdLogAt(opts.Log, zap.WarnLevel)
	if err != nil {
		return nil, fmt.Errorf("admin: making a log for net/http: %w", err)
	}
	s := &Server{opts: opts}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", s.live)
	mux.HandleFunc("GET /readyz", s.ready)
	mux.HandleFunc("GET /asyncapi.yaml", s.asyncAPI)
	mux.HandleFunc("GET /{$}", s.page)
	mux.Handle("GET /metrics", promhttp.HandlerFor(opts.Gatherer, promhttp.HandlerOpts{
		ErrorLog: errorLog,
		// A collector that fails shouldn't hide the others.
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes,
		Timeout:             gatherTimeout,
	}))
	s.http = &http.Server{
		Handler:           harmless(mux),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          errorLog,
	}
	return s, nil
}

// harmless sets the headers that keep a browser from doing more with an answer
// than show it.
func harmless(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy",
			"default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		next.ServeHTTP(w, r)
	})
}

// SetReady makes /readyz answer 200, unless the process is draining.
func (s *Server) SetReady() { s.state.CompareAndSwap(int32(starting), int32(ready)) }

// SetDraining makes /readyz answer 503 from now on.
func (s *Server) SetDraining() { s.state.Store(int32(draining)) }

// Open listens. When it returns without an error, connections wait for Serve.
func (s *Server) Open(ctx context.Context) error {
	if s.opts.Listener != nil {
		s.listener = s.opts.Listener
		return nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", s.opts.Addr)
	if err != nil {
		return fmt.Errorf("admin: %w", err)
	}
	s.listener = l
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
	if addr.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(addr.Port))
}

// Serve answers until Close, and then returns nil. Any other end is an error.
func (s *Server) Serve() error {
	if s.listener == nil {
		return errors.New("admin: Serve before Open")
	}
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin: serving: %w", err)
	}
	return nil
}

// Close stops listening and waits for the requests in progress until ctx ends;
// then it cuts them off and returns ctx's error.
func (s *Server) Close(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = fmt.Errorf("admin: closing: %w", errors.Join(err, s.http.Close()))
	}
	if s.listener != nil {
		// net/http closes it only if Serve was called; twice does no harm.
		_ = s.listener.Close()
	}
	return err
}
