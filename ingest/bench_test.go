package ingest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
)

// bareWriter is a response writer that costs nothing.
type bareWriter struct {
	header http.Header
	code   int
}

func (w *bareWriter) Header() http.Header           { return w.header }
func (w *bareWriter) Write(p []byte) (int, error)   { return len(p), nil }
func (w *bareWriter) WriteHeader(code int)          { w.code = code }
func (*bareWriter) SetReadDeadline(time.Time) error { return nil }

// stillBody is a body that can be read again.
type stillBody struct{ strings.Reader }

func (*stillBody) Close() error { return nil }

// hotBody is an event of 450 bytes.
func hotBody() string {
	return fmt.Sprintf(`{"event_id":"01JZEWN0TC4N5PZ1Y8P956JWD7","object_type":"email","metric":"sent","timestamp":1767225600,"data":{"delivery_id":"D1","identifiers":{"id":"u1"},"subject":%q}}`,
		strings.Repeat("s", 290))
}

// hotHandler is a handler whose claims are won and whose records are kept, with doubles that allocate nothing.
func hotHandler(t testing.TB) http.Handler {
	t.Helper()
	f := newFixture(t, nil)
	claim := won{}
	f.deduper.claim = func(context.Context, *Delivery) (Claim, error) { return claim, nil }
	f.publisher.publish = func(_ context.Context, _ *Delivery, c Claim) (Outcome, error) {
		c.Settle(Published)
		return Published, nil
	}
	return f.handler
}

// serving answers one signed request with h, again and again, and allocates nothing itself.
func serving(t testing.TB, h http.Handler, body string) func() {
	t.Helper()
	still := new(stillBody)
	r := signedRequest(body)
	r.Body, r.ContentLength = still, int64(len(body))
	w := &bareWriter{header: make(http.Header)}
	return func() {
		still.Reset(body)
		clear(w.header)
		h.ServeHTTP(w, r)
		if w.code != http.StatusOK {
			t.Fatalf("answer %d", w.code)
		}
	}
}

// BenchmarkHandler is everything between net/http and the adapters: a signed
// event of 450 bytes, with a claim that is won and a record that is kept.
// noop is an Echo handler that reads the body and answers, for comparison.
func BenchmarkHandler(b *testing.B) {
	noop := echo.New()
	noop.POST(Path, func(c echo.Context) error {
		if _, err := io.ReadAll(io.LimitReader(c.Request().Body, DefaultMaxBodyBytes)); err != nil {
			return err
		}
		return c.JSONBlob(http.StatusOK, []byte(`{"status":"published"}`))
	})
	for _, bench := range []struct {
		name string
		h    http.Handler
	}{{"sluice", hotHandler(b)}, {"noop", noop}} {
		b.Run(bench.name, func(b *testing.B) {
			serve := serving(b, bench.h, hotBody())
			b.ReportAllocs()
			for b.Loop() {
				serve()
			}
		})
	}
}

// won is a claim that records nothing.
type won struct{}

func (won) Verdict() Verdict { return Won }
func (won) Live() bool       { return true }
func (won) Settle(Outcome)   {}
