package curlcmd

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// ParseHTTP reads a request as it stands on the wire, or as a log or a proxy
// shows it: line breaks may be LF alone, the version may be HTTP/2, and the
// body is all that follows the empty line. Where Content-Length says less, the
// rest is cut off with a note if it is only line breaks, which editors add;
// anything else that doesn't agree is a note.
func ParseHTTP(text []byte) (*Request, error) {
	text = bytes.TrimLeft(text, "\r\n")
	head, body, err := splitHead(text)
	if err != nil {
		return nil, err
	}
	parsed, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrNotHTTP, err)
	}
	defer func() { _ = parsed.Body.Close() }() // reads from memory
	r := &Request{Method: parsed.Method, URL: parsed.RequestURI, Header: parsed.Header, Body: body}
	switch {
	case len(parsed.TransferEncoding) > 0:
		whole, err := http.ReadRequest(bufio.NewReader(io.MultiReader(bytes.NewReader(head), bytes.NewReader(body))))
		if err != nil {
			return nil, fmt.Errorf("%w (%w)", ErrNotHTTP, err)
		}
		defer func() { _ = whole.Body.Close() }()
		if r.Body, err = io.ReadAll(whole.Body); err != nil {
			r.Body = body
			r.Notes = append(r.Notes, "Transfer-Encoding is chunked, but the body isn't written in chunks: it is taken as it stands.")
		}
	case parsed.Header.Get("Content-Length") != "":
		r.mindLength(parsed.ContentLength)
	}
	return r, nil
}

// splitHead returns the request line and headers in the wire's form, with the
// empty line, and what follows.
func splitHead(text []byte) (head, body []byte, err error) {
	var out bytes.Buffer
	first := true
	for len(text) > 0 {
		var current []byte
		current, text, _ = bytes.Cut(text, []byte("\n"))
		current = bytes.TrimSuffix(current, []byte("\r"))
		if first {
			if current, err = requestLine(current); err != nil {
				return nil, nil, err
			}
			first = false
		}
		out.Write(current)
		out.WriteString("\r\n")
		if len(current) == 0 {
			return out.Bytes(), text, nil
		}
	}
	if first {
		return nil, nil, ErrNotHTTP
	}
	out.WriteString("\r\n") // headers only
	return out.Bytes(), nil, nil
}

// requestLine gives a line of HTTP/2, as tools write it, the version that can
// be read.
func requestLine(text []byte) ([]byte, error) {
	words := strings.Fields(string(text))
	if len(words) != 3 || !strings.HasPrefix(words[2], "HTTP/") {
		return nil, ErrNotHTTP
	}
	if words[2] == "HTTP/2" || words[2] == "HTTP/2.0" || words[2] == "HTTP/3" {
		words[2] = "HTTP/1.1"
	}
	return []byte(strings.Join(words, " ")), nil
}

// mindLength compares the body with the Content-Length.
func (r *Request) mindLength(want int64) {
	have := int64(len(r.Body))
	switch {
	case have == want:
	case have > want && len(bytes.Trim(r.Body[want:], "\r\n")) == 0:
		r.Body = r.Body[:want]
		r.Notes = append(r.Notes, "Line breaks after the body, beyond its Content-Length, were left out.")
	default:
		r.Notes = append(r.Notes, "The body has "+strconv.FormatInt(have, 10)+" bytes and Content-Length says "+strconv.FormatInt(want, 10)+
			": one of the two was changed.")
	}
}
