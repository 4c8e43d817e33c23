package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/zap"

	"sluice/publisher/balance"
)

var (
	since  = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	things = []Dependency{
		{Name: "kafka", Up: true, Since: since},
		{Name: "redis", Up: false, Detail: `dial <b>"refused"</b>`},
	}
)

// newRegistry holds what ingest would have counted.
func newRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	counter := func(name, label string, values map[string]float64) {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: "x"}, []string{label})
		reg.MustRegister(c)
		for l, v := range values {
			c.WithLabelValues(l).Add(v)
		}
	}
	single := func(name string, v float64) {
		c := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: "x"})
		reg.MustRegister(c)
		c.Set(v)
	}
	single(receivedTotal, 1234567)
	single(inFlightRequests, 12)
	single(inFlightBytes, 3<<20)
	single(processStart, float64(since.Unix()))
	counter(publishedTotal, "event_type", map[string]float64{"email_sent": 1000, "email_opened": 234, "sms_sent": 0})
	counter(refusedTotal, "reason", map[string]float64{"<script>": 2, "stale_timestamp": 2, "not_found": 5})
	counter(verifiedTotal, "key", map[string]float64{"main": 1})
	return reg
}

func options() Options {
	return Options{
		Addr:         "127.0.0.1:0",
		Gatherer:     newRegistry(),
		AsyncAPI:     []byte("asyncapi: 3.0.0\n"),
		Dependencies: func() []Dependency { return things },
		Balance: func() balance.Balance {
			return balance.Balance{Accepted: 1234500, Recovered: 40, Published: 1233456, Duplicate: 1000, DeadLettered: 2, Refused: 6, Lost: 1, Spooled: 70, InFlight: 5}
		},
		Log:     zap.NewNop(),
		Version: "1.2.3",
	}
}

func start(t *testing.T, opts Options) *Server {
	t.Helper()
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s
}

// request returns the answer with its body read.
func request(t *testing.T, s *Server, method, path string) (*http.Response, string) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func TestPaths(t *testing.T) {
	s := start(t, options())
	s.SetReady()
	tests := []struct {
		method, path, contentType, contains string
		code                                int
	}{
		{"GET", "/livez", "text/plain; charset=utf-8", "ok\n", 200},
		{"HEAD", "/livez", "text/plain; charset=utf-8", "", 200},
		{"GET", "/readyz", "application/json", `"state": "ready"`, 200},
		{"GET", "/asyncapi.yaml", "application/yaml", "asyncapi: 3.0.0\n", 200},
		{"GET", "/metrics", "text/plain; version=0.0.4; charset=utf-8; escaping=underscores", "sluice_received_total 1.234567e+06\n", 200},
		{"GET", "/", "text/html; charset=utf-8", "<!DOCTYPE html>", 200},
		{"GET", "/webhook", "text/plain; charset=utf-8", "404", 404},
		{"GET", "/debug/pprof/", "text/plain; charset=utf-8", "404", 404},
		{"POST", "/readyz", "text/plain; charset=utf-8", "Method Not Allowed", 405},
		{"POST", "/", "text/plain; charset=utf-8", "Method Not Allowed", 405},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			resp, body := request(t, s, tt.method, tt.path)
			if resp.StatusCode != tt.code || resp.Header.Get("Content-Type") != tt.contentType || !strings.Contains(body, tt.contains) {
				t.Errorf("%d %s %.200q", resp.StatusCode, resp.Header.Get("Content-Type"), body)
			}
			if resp.Header.Get("X-Content-Type-Options") != "nosniff" || resp.Header.Get("Content-Security-Policy") == "" {
				t.Error("without the headers that keep a browser harmless")
			}
		})
	}
}

func TestReadiness(t *testing.T) {
	s := start(t, options())
	expect := func(state string, code int) {
		t.Helper()
		resp, body := request(t, s, "GET", "/readyz")
		var got health
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		want := health{State: state, Dependencies: []dependencyHealth{
			{Name: "kafka", Up: true, Since: &since},
			{Name: "redis", Detail: `dial <b>"refused"</b>`},
		}, Balance: options().Balance()}
		if resp.StatusCode != code || !reflect.DeepEqual(got, want) {
			t.Errorf("%d %+v, want %d %+v", resp.StatusCode, got, code, want)
		}
		if resp, _ := request(t, s, "GET", "/livez"); resp.StatusCode != 200 {
			t.Errorf("livez is %d while %s", resp.StatusCode, state)
		}
	}
	expect("starting", 503)
	s.SetReady()
	expect("ready", 200) // though Redis is down
	s.SetDraining()
	expect("draining", 503)
	s.SetReady()
	expect("draining", 503)
}

func TestOpen(t *testing.T) {
	s := start(t, options())
	second, err := New(options())
	if err != nil {
		t.Fatal(err)
	}
	second.opts.Addr = strings.TrimPrefix(s.URL(), "http://")
	if err := second.Open(t.Context()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("Open = %v, want %v", err, syscall.EADDRINUSE)
	}
	if second.URL() != "" {
		t.Errorf("URL before Open is %s", second.URL())
	}
	if err := second.Serve(); err == nil {
		t.Error("Serve before Open gave no error")
	}
	if err := second.Close(t.Context()); err != nil {
		t.Errorf("Close before Open: %v", err)
	}

	everywhere := options()
	everywhere.Addr = ":0"
	if got := start(t, everywhere).URL(); !strings.HasPrefix(got, "http://127.0.0.1:") {
		t.Errorf("URL %s, want loopback", got)
	}
}

// Close without Serve lets the port go.
func TestCloseWithoutServe(t *testing.T) {
	s, err := New(options())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "http://")); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dialing: %v, want %v", err, syscall.ECONNREFUSED)
	}
	if err := s.Serve(); err != nil {
		t.Errorf("Serve after Close: %v", err)
	}
}

// A reader that hangs on can't hold the shutdown beyond its bound.
func TestCloseIsBounded(t *testing.T) {
	opts := options()
	asked, proceed := make(chan struct{}), make(chan struct{})
	opts.Dependencies = func() []Dependency { close(asked); <-proceed; return nil }
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-asked
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close = %v, want %v", err, context.DeadlineExceeded)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	close(proceed)
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	_, err := New(Options{})
	if err == nil {
		t.Fatal("no error")
	}
	for _, name := range []string{"Addr", "Gatherer", "AsyncAPI", "Dependencies", "Balance", "Log"} {
		if !strings.Contains(err.Error(), "Options."+name) {
			t.Errorf("%q doesn't name %s", err, name)
		}
	}
}

func TestBrokenCollector(t *testing.T) {
	opts := options()
	inner := opts.Gatherer
	opts.Gatherer = prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		families, _ := inner.Gather()
		return families, errors.New("a collector broke")
	})
	s := start(t, opts)
	if resp, body := request(t, s, "GET", "/metrics"); resp.StatusCode != 200 || !strings.Contains(body, receivedTotal) {
		t.Errorf("metrics: %d, the healthy ones are missing", resp.StatusCode)
	}
	if _, body := request(t, s, "GET", "/"); !strings.Contains(body, "Some metrics could not be read") || !strings.Contains(body, "1,234,567") {
		t.Error("the page doesn't say that it is incomplete, or hides what there is")
	}
}
