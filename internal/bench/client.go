package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"
)

// client is one keep-alive connection with at most one request under way. It writes requests as they are and reads no
// more of an answer than status, length and the beginning of the body: the generator shares the machine with what it
// measures.
type client struct {
	conn  net.Conn
	buf   []byte
	plain bool // 200 alone is as good as "published"
}

// maxAnswer is more than any answer here has.
const maxAnswer = 4096

// clients dials n connections. All of their reads and writes must be over by the deadline.
func clients(ctx context.Context, addr string, n int, deadline time.Time) ([]*client, error) {
	all := make([]*client, 0, n)
	dialer := net.Dialer{Timeout: 5 * time.Second}
	dialer.SetMultipathTCP(false)
	for range n {
		conn, err := dialer.DialContext(ctx, "tcp", addr)
		if err == nil {
			all = append(all, &client{conn: conn, buf: make([]byte, maxAnswer)})
			err = conn.SetDeadline(deadline)
		}
		if err != nil {
			hangUp(all)
			return nil, fmt.Errorf("connecting to %s: %w", addr, err)
		}
	}
	return all, nil
}

func hangUp(all []*client) {
	for _, c := range all {
		_ = c.conn.Close() // everything has been read
	}
}

// oneOf is the first of the connections' errors, and how many there are besides.
func oneOf(errs []error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	default:
		return fmt.Errorf("%w; and %d like it", errs[0], len(errs)-1)
	}
}

// exchange sends a request and reads its answer.
func (c *client) exchange(request []byte) (outcome, error) {
	if _, err := c.conn.Write(request); err != nil {
		return noAnswer, fmt.Errorf("sending a request: %w", err)
	}
	for n := 0; ; {
		got, err := c.conn.Read(c.buf[n:])
		n += got
		o, size, perr := readAnswer(c.buf[:n])
		switch {
		case perr != nil:
			return noAnswer, perr
		case size == n && size > 0:
			if c.plain && o == 200 {
				o = published
			}
			return o, nil
		case size > 0 && n > size, n == len(c.buf):
			return noAnswer, errLongAnswer
		case err != nil:
			return noAnswer, fmt.Errorf("reading an answer: %w", err)
		}
	}
}

var (
	errLongAnswer = errors.New("more bytes than an answer has")
	errNotHTTP    = errors.New("an answer that isn't HTTP/1.1 with a Content-Length")
)

// readAnswer reads an answer, of which only a part may have come. size is that of the whole answer, 0 while its head
// isn't complete; the outcome is right once all of it is there.
func readAnswer(b []byte) (o outcome, size int, err error) {
	const (
		statusAt   = len("HTTP/1.1 ")
		lengthName = "\r\nContent-Length: "
	)
	head := bytes.Index(b, []byte("\r\n\r\n"))
	if head < 0 {
		return noAnswer, 0, nil
	}
	at := bytes.Index(b[:head], []byte(lengthName))
	if at < 0 || !bytes.HasPrefix(b, []byte("HTTP/1.1 ")) {
		return noAnswer, 0, errNotHTTP
	}
	digits, _, _ := bytes.Cut(b[at+len(lengthName):head], []byte("\r\n"))
	length, err := strconv.Atoi(string(digits))
	if err != nil {
		return noAnswer, 0, fmt.Errorf("%w: %w", errNotHTTP, err)
	}
	code, err := strconv.ParseUint(string(b[statusAt:statusAt+3]), 10, 16)
	if err != nil {
		return noAnswer, 0, fmt.Errorf("%w: %w", errNotHTTP, err)
	}
	body := b[head+4:]
	if code == 200 && bytes.HasPrefix(body, []byte(`{"status":"published"`)) {
		return published, head + 4 + length, nil
	}
	if code == 200 && bytes.HasPrefix(body, []byte(`{"status":"spooled"`)) {
		return spooled, head + 4 + length, nil
	}
	return outcome(code), head + 4 + length, nil
}
