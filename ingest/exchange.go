package ingest

import (
	"encoding/hex"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
)

// exchange is one request and its answer. It is the http.ResponseWriter that
// Echo sees, because after a panic somebody has to know whether an answer has
// begun.
type exchange struct {
	http.ResponseWriter
	request *http.Request
	id      string    // request id
	began   time.Time // when the handler got the request, its headers read

	webhook  bool  // routed to the webhook, so it counts in the stages
	reserved int64 // bytes taken from limits for the body
	reading  bool  // the body was begun to be read, so "100 Continue" was sent if it was asked for
	broken   bool  // reading the body failed, so there's nothing left to discard
	answered bool

	buf []byte // the answer is built here
}

// WriteHeader implements http.ResponseWriter.
func (x *exchange) WriteHeader(status int) {
	x.answered = true
	x.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (x *exchange) Write(p []byte) (int, error) {
	x.answered = true
	return x.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController find the connection.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// setReadDeadline bounds the reading of the body. A writer without deadlines
// (a recorder in a test) is left alone.
func (x *exchange) setReadDeadline(t time.Time) {
	_ = http.NewResponseController(x.ResponseWriter).SetReadDeadline(t)
}

// exchangeOf finds the exchange that ServeHTTP gave to Echo.
func exchangeOf(c echo.Context) *exchange { return c.Response().Writer.(*exchange) }

// exchangePool spares the allocation. Nothing outside the handler keeps an
// exchange.
type exchangePool struct{ pool sync.Pool }

func (p *exchangePool) get(w http.ResponseWriter, r *http.Request) *exchange {
	x, _ := p.pool.Get().(*exchange)
	if x == nil {
		x = new(exchange)
	}
	*x = exchange{ResponseWriter: w, request: r, id: requestID(r.Header), began: time.Now(), buf: x.buf[:0]}
	return x
}

// maxPooledAnswer keeps a rare large answer from staying in memory.
const maxPooledAnswer = 4 << 10

func (p *exchangePool) put(x *exchange) {
	buf := x.buf
	if cap(buf) > maxPooledAnswer {
		buf = nil
	}
	*x = exchange{buf: buf}
	p.pool.Put(x)
}

// requestID is the caller's if it is sane, so that a proxy's log and this one
// can be joined; else 32 random hex digits.
func requestID(h http.Header) string {
	if id := first(h, headerRequestID); saneRequestID(id) {
		return id
	}
	var b [16]byte
	high, low := rand.Uint64(), rand.Uint64()
	for i := range 8 {
		b[i], b[8+i] = byte(high>>(8*i)), byte(low>>(8*i))
	}
	return hex.EncodeToString(b[:])
}
