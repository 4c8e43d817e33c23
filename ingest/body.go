package ingest

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

const (
	// firstRead is how much of a large declared body is allocated at first: a
	// declared length alone, without the bytes, must not buy memory.
	firstRead = 64 << 10
	// firstChunked is the same for a body of undeclared length.
	firstChunked = 4 << 10
	// discardExtra is read and thrown away beyond twice the body limit.
	discardExtra = 1 << 20
)

// read returns the whole body, exactly as sent: a Content-Encoding is not
// undone, because the signature is over the encoded bytes. It takes the
// buffer's capacity from limits as it grows, and leaves in x.reserved what the
// caller has to release.
func (h *Handler) read(x *exchange) ([]byte, error) {
	declared, limit := x.request.ContentLength, h.opts.MaxBodyBytes // declared is -1 if chunked
	if declared > limit {
		return nil, errTooLarge
	}
	size := min(declared, firstRead)
	if declared < 0 {
		size = min(firstChunked, limit)
	}
	if !h.limits.reserve(size) {
		return nil, errTooManyBytes
	}
	x.reserved = size
	x.reading = true
	x.setReadDeadline(x.began.Add(h.opts.BodyTimeout))

	body := make([]byte, 0, size)
	for int64(len(body)) != declared {
		if int64(len(body)) == limit {
			return body, h.expectEnd(x)
		}
		if len(body) == cap(body) {
			var err error
			if body, err = h.grow(x, body, declared); err != nil {
				return nil, err
			}
		}
		n, err := x.request.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if errors.Is(err, io.EOF) && (declared < 0 || int64(len(body)) == declared) {
			break
		}
		if err != nil {
			return nil, x.readFailed(err)
		}
	}
	return body, nil
}

// grow doubles the buffer, up to the declared length or the limit. For the
// time of the copy both buffers count.
func (h *Handler) grow(x *exchange, body []byte, declared int64) ([]byte, error) {
	size := min(2*int64(cap(body)), h.opts.MaxBodyBytes)
	if declared >= 0 {
		size = min(size, declared)
	}
	if !h.limits.reserve(size) {
		return nil, errTooManyBytes
	}
	h.limits.release(x.reserved)
	x.reserved = size
	return append(make([]byte, 0, size), body...), nil
}

// expectEnd tells a chunked body of exactly the limit from a longer one.
func (h *Handler) expectEnd(x *exchange) error {
	probe := make([]byte, 1)
	for {
		switch n, err := x.request.Body.Read(probe); {
		case n > 0:
			return errTooLarge
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return x.readFailed(err)
		}
	}
}

// readFailed classifies a failed read. The cause goes no further: its text
// holds the sender's network address.
func (x *exchange) readFailed(err error) error {
	x.broken = true
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errBodyTimeout
	}
	return errBodyRead
}

// discard reads the rest of a refused body away, so that a sender that writes
// all of its body before it reads an answer gets to the answer. It is bounded
// in bytes, time, and the number of those that do it at once.
//
// It reports whether the connection can carry another request.
func (h *Handler) discard(x *exchange) (clean bool) {
	r := x.request
	if r.Body == nil || r.Body == http.NoBody {
		return true
	}
	if x.broken {
		return false
	}
	if !x.reading && r.Header.Get("Expect") != "" {
		// The sender is waiting to be told to go on, and reads the answer now.
		return false
	}
	if !h.limits.enterDiscard() {
		return false
	}
	defer h.limits.leaveDiscard()
	x.setReadDeadline(time.Now().Add(h.opts.DiscardTimeout))
	_, err := io.CopyN(io.Discard, r.Body, 2*h.opts.MaxBodyBytes+discardExtra)
	return errors.Is(err, io.EOF)
}

// linger makes net/http end the connection gently after this answer: it sends
// the end of its own side first and closes half a second later, since closing
// a socket with unread bytes in it makes the kernel send a reset that
// overtakes the answer. net/http does this for bodies that ran into
// http.MaxBytesReader, and offers no other way to ask for it. The deadline keeps
// it from waiting for more of the body first.
func (x *exchange) linger() {
	x.setReadDeadline(time.Unix(1, 0))
	_, _ = http.MaxBytesReader(x.ResponseWriter, io.NopCloser(endless{}), 0).Read(make([]byte, 1))
}

// endless is a body that always has one more byte.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
