package main

import (
	"bufio"
	"bytes"
	"errors"
	"strings"
	"testing"
)

func bytesReader(b []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(b)) }

func TestReadAnswer(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 22\r\nDate: x\r\n\r\n{\"status\":\"published\"}"
	cases := []struct {
		name, answer string
		outcome      outcome
		size         int
		err          error
	}{
		{"published", ok, published, len(ok), nil},
		{"duplicate", strings.Replace(ok, "published", "duplicate", 1), 200, len(ok), nil},
		{"refused", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n{}", 503, 57, nil},
		{"body under way", ok[:len(ok)-20], 200, len(ok), nil},
		{"head under way", "HTTP/1.1 200 OK\r\nContent-Le", noAnswer, 0, nil},
		{"nothing yet", "", noAnswer, 0, nil},
		{"no length", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", noAnswer, 0, errNotHTTP},
		{"length is no number", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", noAnswer, 0, errNotHTTP},
		{"other protocol", "SMTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", noAnswer, 0, errNotHTTP},
		{"no code", "HTTP/1.1 OK \r\nContent-Length: 2\r\n\r\n", noAnswer, 0, errNotHTTP},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o, size, err := readAnswer([]byte(c.answer))
			if o != c.outcome || size != c.size || !errors.Is(err, c.err) {
				t.Errorf("got %d, %d bytes, %v; want %d, %d, %v", o, size, err, c.outcome, c.size, c.err)
			}
		})
	}
}
