package ingest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// wire is a client that writes and reads a connection byte by byte, to show
// what well-behaved clients never do. Every step is bounded.
type wire struct {
	net.Conn
	r         *bufio.Reader
	lastClose bool // the last answer said Connection: close
}

func dial(t testing.TB, s *Server) *wire {
	t.Helper()
	addr := s.listener.Addr()
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(t.Context(), addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &wire{Conn: conn, r: bufio.NewReader(conn)}
}

func (w *wire) write(t testing.TB, format string, args ...any) {
	t.Helper()
	if _, err := fmt.Fprintf(w.Conn, format, args...); err != nil {
		t.Fatalf("writing: %v", err)
	}
}

func (w *wire) readLine(t testing.TB) string {
	t.Helper()
	line, err := w.r.ReadString('\n')
	if err != nil {
		t.Fatalf("reading a line: %v", err)
	}
	return strings.TrimRight(line, "\r\n")
}

// readCode reads an answer of any kind.
func (w *wire) readCode(t testing.TB) (code int, header http.Header, body string) {
	t.Helper()
	resp, err := http.ReadResponse(w.r, nil)
	if err != nil {
		t.Fatalf("reading the answer: %v", err)
	}
	defer resp.Body.Close()
	w.lastClose = resp.Close
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("reading the answer's body: %v", err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

// read reads one of the handler's answers.
func (w *wire) read(t testing.TB) answer {
	t.Helper()
	code, header, body := w.readCode(t)
	return decode(t, code, header, []byte(body))
}

// expectClosed waits for the server's orderly end: EOF, not a reset.
func (w *wire) expectClosed(t testing.TB) {
	t.Helper()
	if b, err := w.r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("read %q, %v; want EOF", b, err)
	}
}

func (w *wire) closeWrite(t testing.TB) {
	t.Helper()
	if err := w.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

func (w *wire) close() { _ = w.Conn.Close() }

// signatureLines are the header lines of a signed body.
func signatureLines(body string) string {
	r := sign(&http.Request{Header: make(http.Header)}, body)
	return fmt.Sprintf("X-CIO-Timestamp: %s\r\nX-CIO-Signature: %s\r\n",
		r.Header.Get("X-CIO-Timestamp"), r.Header.Get("X-CIO-Signature"))
}

// event is a whole signed request.
func signedText(body string) string {
	return fmt.Sprintf("POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n%s", len(body), signatureLines(body), body)
}
