package ingest

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// reader hides the length of a body, so that it travels chunked.
type reader struct{ io.Reader }

func TestBodySizes(t *testing.T) {
	const limit = 300_000
	f := newFixture(t, func(o *Options) { o.MaxBodyBytes, o.MaxInFlightBytes = limit, 2*limit })
	s := f.listen(t, nil)
	c := newClient(t)
	for _, size := range []int{
		0, 1, firstChunked - 1, firstChunked, firstChunked + 1, firstRead - 1, firstRead, firstRead + 1, 2 * firstRead, 2*firstRead + 1,
		limit - 1, limit, limit + 1, limit + 2, 2 * limit, 3 * limit,
	} {
		for _, chunked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d chunked=%v", size, chunked), func(t *testing.T) {
				body := testBody(size)
				var r io.Reader = strings.NewReader(body)
				if chunked {
					r = reader{r}
				}
				before := len(f.published())
				a, err := post(t, c, s.URL()+"/webhook", r, func(r *http.Request) { sign(r, body) })
				if err != nil {
					t.Fatal(err)
				}
				if size > limit {
					a.expect(t, http.StatusRequestEntityTooLarge, "body_too_large")
				} else {
					a.expect(t, http.StatusOK, "dead_lettered")
					d := f.published()
					if len(d) != before+1 || string(d[before].Body) != body {
						t.Fatal("the body isn't what was sent")
					}
					if got := cap(d[before].Body); !chunked && got != size {
						t.Errorf("a buffer of %d bytes for a declared length of %d", got, size)
					}
				}
				f.expectIdle(t)
			})
		}
	}
}

// testBody is not periodic, so that parts in the wrong place show.
func testBody(size int) string {
	var b strings.Builder
	b.Grow(size + 16)
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "%x,", i*i)
	}
	return b.String()[:size]
}

// A limit that the first buffer already reaches.
func TestSmallLimit(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.MaxBodyBytes, o.MaxInFlightBytes = 10, 20 })
	s := f.listen(t, nil)
	c := newClient(t)
	for size, code := range map[int]int{0: 200, 9: 200, 10: 200, 11: 413, 5000: 413} {
		for _, r := range []io.Reader{strings.NewReader(testBody(size)), reader{strings.NewReader(testBody(size))}} {
			a, err := post(t, c, s.URL()+"/webhook", r, func(r *http.Request) { sign(r, testBody(size)) })
			if err != nil || a.code != code {
				t.Errorf("%d bytes: answer %d, %v; want %d", size, a.code, err, code)
			}
		}
	}
	f.expectIdle(t)
}

// The signature is over the bytes on the wire, compressed or not.
func TestContentEncodingIsNotUndone(t *testing.T) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, testEvent); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, nil)
	s := f.listen(t, nil)
	a, err := post(t, newClient(t), s.URL()+"/webhook", bytes.NewReader(b.Bytes()), func(r *http.Request) {
		sign(r, b.String()).Header.Set("Content-Encoding", "gzip")
	})
	if err != nil {
		t.Fatal(err)
	}
	a.expect(t, http.StatusOK, "dead_lettered")
	if !bytes.Equal(f.published()[0].Body, b.Bytes()) {
		t.Error("the body isn't what was sent")
	}
}

// early are the answers that are decided before the body is read.
func early(t *testing.T) map[string]func() (f *fixture, s *Server, path string, code int) {
	const limit = 1 << 20
	small := func(o *Options) { o.MaxBodyBytes, o.MaxInFlightBytes = limit, 2*limit }
	large := func(o *Options) { o.MaxBodyBytes, o.MaxInFlightBytes = 8<<20, 16<<20 }
	return map[string]func() (*fixture, *Server, string, int){
		"over the limit": func() (*fixture, *Server, string, int) {
			// 8 MiB is beyond what is discarded at a limit of 1 MiB, so this
			// one has a limit under which it isn't.
			f := newFixture(t, func(o *Options) { o.MaxBodyBytes, o.MaxInFlightBytes = 4<<20, 8<<20 })
			return f, f.listen(t, nil), "/webhook", 413
		},
		"no such path": func() (*fixture, *Server, string, int) {
			f := newFixture(t, large)
			return f, f.listen(t, nil), "/elsewhere", 404
		},
		"too many requests": func() (*fixture, *Server, string, int) {
			f := newFixture(t, large)
			if !take(&f.handler.limits.requests, DefaultMaxInFlightRequests, DefaultMaxInFlightRequests) {
				t.Fatal("can't fill up")
			}
			t.Cleanup(func() { f.handler.limits.requests.Store(0) })
			return f, f.listen(t, nil), "/webhook", 503
		},
		"too many bytes": func() (*fixture, *Server, string, int) {
			f := newFixture(t, large)
			if !f.handler.limits.reserve(16<<20 - 1<<20) { // fails half way through the body
				t.Fatal("can't fill up")
			}
			t.Cleanup(func() { f.handler.limits.release(16<<20 - 1<<20) })
			return f, f.listen(t, nil), "/webhook", 503
		},
		"panic": func() (*fixture, *Server, string, int) {
			f := newFixture(t, large)
			f.deduper.claim = func(context.Context, *Delivery) (Claim, error) { panic("claim") }
			return f, f.listen(t, nil), "/webhook", 503
		},
		"beyond the discard's bound": func() (*fixture, *Server, string, int) {
			f := newFixture(t, small)
			return f, f.listen(t, nil), "/webhook", 413
		},
	}
}

// Clients that send 8 MiB get the early answer, every time, and not a broken
// pipe.
func TestEarlyAnswersToGoClients(t *testing.T) {
	body := strings.Repeat("x", 8<<20)
	for name, setUp := range early(t) {
		t.Run(name, func(t *testing.T) {
			f, s, path, code := setUp()
			c := newClient(t)
			header := sign(&http.Request{Header: make(http.Header)}, body).Header
			for i := range 20 {
				var r io.Reader = strings.NewReader(body)
				if i%2 == 1 {
					r = reader{r}
				}
				a, err := post(t, c, s.URL()+path, r, func(r *http.Request) { r.Header = header.Clone() })
				if err != nil {
					t.Fatalf("request %d of 20: %v", i+1, err)
				}
				if a.code != code {
					t.Fatalf("answer %d, want %d", a.code, code)
				}
			}
			eventually(t, "discards end", func() bool { return f.handler.limits.discards.Load() == 0 })
		})
	}
}

// A client that writes everything before it reads anything.
func TestEarlyAnswersToBluntClients(t *testing.T) {
	body := strings.Repeat("x", 8<<20)
	for name, setUp := range early(t) {
		if name == "beyond the discard's bound" {
			continue // that much isn't promised
		}
		t.Run(name, func(t *testing.T) {
			_, s, path, code := setUp()
			lines := signatureLines(body)
			for i := range 20 {
				c := dial(t, s)
				c.write(t, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n", path, len(body), lines)
				c.write(t, "%s", body)
				if a := c.read(t); a.code != code {
					t.Fatalf("request %d of 20: answer %d, want %d", i+1, a.code, code)
				}
				// All of the body was read away, so the connection goes on.
				c.write(t, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
				if a := c.read(t); a.code != 404 {
					t.Fatalf("the next answer is %d, want 404", a.code)
				}
				c.close()
			}
		})
	}
}

func TestMalformedChunks(t *testing.T) {
	for _, body := range []string{"5\r\nhelloX", "zz\r\n", "-1\r\n", "5\r\nhello\r\n5"} {
		f := newFixture(t, nil)
		c := dial(t, f.listen(t, nil))
		c.write(t, "POST /webhook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%s", body)
		c.closeWrite(t)
		c.read(t).expect(t, http.StatusRequestTimeout, "body_read")
		c.expectClosed(t)
		f.expectIdle(t)
	}
}

func TestBodyThatEndsEarly(t *testing.T) {
	f := newFixture(t, nil)
	s := f.listen(t, nil)
	c := dial(t, s)
	c.write(t, "POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
	c.closeWrite(t)
	c.read(t).expect(t, http.StatusRequestTimeout, "body_read")

	c = dial(t, s)
	c.write(t, "POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
	c.close()
	eventually(t, "the vanished client is counted", func() bool {
		return f.counter(t, "sluice_refused_total{body_read}") == 2
	})
	for _, line := range f.logs.All() {
		if strings.Contains(fmt.Sprint(line.ContextMap()), "127.0.0.1") {
			t.Errorf("an address in the log: %v", line.ContextMap())
		}
	}
}

func TestSlowBody(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.BodyTimeout = 50 * time.Millisecond })
	s := f.listen(t, nil)
	for _, head := range []string{"Content-Length: 100", "Transfer-Encoding: chunked"} {
		c := dial(t, s)
		c.write(t, "POST /webhook HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n4\r\n", head)
		a := c.read(t)
		a.expect(t, http.StatusRequestTimeout, "body_timeout")
		if !c.lastClose {
			t.Error("the answer doesn't say Connection: close")
		}
		c.write(t, "late") // must not reset what hasn't been read yet
		c.expectClosed(t)
	}
	f.expectIdle(t)
}

// A refused body that doesn't come holds its place for the discard's time
// only.
func TestSlowDiscard(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.DiscardTimeout = 50 * time.Millisecond })
	c := dial(t, f.listen(t, nil))
	c.write(t, "POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
	c.read(t).expect(t, http.StatusNotFound, "not_found")
	c.expectClosed(t)
	f.expectIdle(t)
}

// Lengths are cheap to declare: memory is taken as bytes come.
func TestDeclaredLengthBuysNoMemory(t *testing.T) {
	f := newFixture(t, nil)
	s := f.listen(t, nil)
	for range 10 {
		c := dial(t, s)
		c.write(t, "POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\nfew", DefaultMaxBodyBytes)
	}
	eventually(t, "ten bodies are waited for", func() bool { return f.counter(t, "sluice_in_flight_requests") == 10 })
	eventually(t, "their buffers count", func() bool { return f.counter(t, "sluice_in_flight_bytes") == 10*firstRead })
}

func TestExpectContinue(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.MaxBodyBytes, o.MaxInFlightBytes = 1000, 2000 })
	s := f.listen(t, nil)

	t.Run("wanted", func(t *testing.T) {
		c := dial(t, s)
		c.write(t, "POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nExpect: 100-continue\r\n%s\r\n",
			len(testEvent), signatureLines(testEvent))
		if line := c.readLine(t); line != "HTTP/1.1 100 Continue" {
			t.Fatalf("got %q", line)
		}
		c.readLine(t) // the empty line
		c.write(t, "%s", testEvent)
		c.read(t).expect(t, http.StatusOK, "published")
	})
	t.Run("unwanted", func(t *testing.T) {
		c := dial(t, s)
		c.write(t, "POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n")
		c.read(t).expect(t, http.StatusRequestEntityTooLarge, "body_too_large")
		if !c.lastClose {
			t.Error("the answer doesn't say Connection: close, though the body may follow")
		}
		c.expectClosed(t)
	})
}
