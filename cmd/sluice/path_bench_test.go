package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"sluice/config"
	"sluice/ingest"
	"sluice/ingest/signature"
	"sluice/internal/testenv"
)

// wholePath is all that an event passes from its body to its answer: the parts of "sluice serve", wired as there, without
// net/http and its sockets. Kafka and Redis are fakes in a process of their own.
type wholePath struct {
	flights  []*flight      // one a caller
	underway sync.WaitGroup // of them
	sent     int            // events so far
}

// flight is a request that can be made again and again, and what is done with its answer.
type flight struct {
	start     chan struct{}
	request   *http.Request
	body      bytes.Reader
	header    http.Header // of the answer
	published bool        // is what it says
}

// What the handler needs of an http.ResponseWriter and of a body.
func (f *flight) Header() http.Header { return f.header }

func (f *flight) Write(p []byte) (int, error) {
	f.published = bytes.HasPrefix(p, []byte(`{"status":"published"`))
	return len(p), nil
}
func (*flight) WriteHeader(int)                 {}
func (*flight) SetReadDeadline(time.Time) error { return nil }
func (f *flight) Read(p []byte) (int, error)    { return f.body.Read(p) }
func (*flight) Close() error                    { return nil }

// openPath starts the parts, with a spool, and as many callers as shall post together.
func openPath(t testing.TB, together int) *wholePath {
	t.Helper()
	brokers, redis := testenv.Apart(t)
	var conf config.Config
	if _, err := config.Load(&conf, config.Sources{Environ: []string{
		"SLUICE_LISTEN=127.0.0.1:0", "SLUICE_ADMIN_LISTEN=127.0.0.1:0", "SLUICE_SIGNING_KEYS=main=" + testKey,
		"SLUICE_KAFKA_BROKERS=" + brokers[0], "SLUICE_REDIS_URL=" + redis,
		"SLUICE_SPOOL_DIR=" + t.TempDir(), "SLUICE_INSTANCE=one",
		// A Redis without data is repaired, at the cost of this process; and a machine that stands still is no trouble of Kafka's.
		"SLUICE_DEDUPE_REPAIR=false", "SLUICE_REQUEST_TIMEOUT=3.5s", "SLUICE_SPOOL_AFTER=3s", "SLUICE_REDIS_TIMEOUT=2s", "SLUICE_CLAIM_TIMEOUT=2s",
	}}); err != nil {
		t.Fatal(err)
	}
	s, err := open(t.Context(), &conf, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.closeAll)
	p := new(wholePath)
	var callers sync.WaitGroup
	for range together {
		f := &flight{
			start: make(chan struct{}), header: http.Header{},
			request: &http.Request{Method: http.MethodPost, URL: &url.URL{Path: ingest.Path}},
		}
		f.request.Body = f
		p.flights = append(p.flights, f)
		callers.Go(func() { // there before anything is counted
			for range f.start {
				s.handler.ServeHTTP(f, f.request)
				p.underway.Done()
			}
		})
	}
	t.Cleanup(func() {
		for _, f := range p.flights {
			close(f.start)
		}
		callers.Wait()
	})
	// Once events have passed, the topics are there, and connections to all.
	testenv.Eventually(t, 30*time.Second, p.wave)
	return p
}

// pathTypes are the types of the events in turn.
var pathTypes = []string{"sent", "delivered", "opened", "clicked"}

// prepare gives each caller an event of 450 bytes that was never there before.
func (p *wholePath) prepare() {
	timestamp := strconv.FormatInt(time.Now().Unix(), 10)
	for _, f := range p.flights {
		p.sent++
		body := fmt.Appendf(nil, `{"event_id":"01K3M8Q4C7%016d","object_type":"email","metric":%q,"timestamp":%s,"data":{"customer_id":"p-%d",`+
			`"delivery_id":"dgOa8wYAAZq4kT0eWb7nQ2sLx==","identifiers":{"id":"p-%d","email":"noor@example.net","cio_id":"a31c0600b0e2"},"subject":%q,"recipient":"noor@example.net"}}`,
			p.sent, pathTypes[p.sent%len(pathTypes)], timestamp, p.sent%1000, p.sent%1000, strings.Repeat("s", 170))
		f.body.Reset(body)
		f.request.ContentLength = int64(len(body))
		f.request.Header = http.Header{
			"Content-Type": {"application/json"}, "X-Cio-Timestamp": {timestamp}, "X-Cio-Signature": {signature.Sign(testKey, timestamp, body)},
		}
		clear(f.header)
		f.published = false
	}
}

// wave is prepare and fly.
func (p *wholePath) wave() error {
	p.prepare()
	return p.fly()
}

var errNotPublished = errors.New("an event wasn't published at once")

// fly has all callers post at once and waits for all answers.
func (p *wholePath) fly() error {
	p.underway.Add(len(p.flights))
	for _, f := range p.flights {
		f.start <- struct{}{}
	}
	p.underway.Wait()
	for _, f := range p.flights {
		if !f.published {
			return errNotPublished
		}
	}
	return nil
}

// BenchmarkPath is the whole path of 1, 64 and 256 events that arrive together: an op is all of them, ns/event a single
// one's share.
func BenchmarkPath(b *testing.B) {
	for _, callers := range []int{1, 64, 256} {
		b.Run(strconv.Itoa(callers), func(b *testing.B) {
			p := openPath(b, callers)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				p.prepare()
				b.StartTimer()
				if err := p.fly(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*callers), "ns/event")
		})
	}
}
