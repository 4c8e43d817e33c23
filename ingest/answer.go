package ingest

import (
	"fmt"
	"net/http"
	"unicode/utf8"
)

// status is the "status" of an answer 200.
type status string

const (
	statusPublished    status = "published"
	statusDuplicate    status = "duplicate"
	statusDeadLettered status = "dead_lettered"
	statusSpooled      status = "spooled"
)

// maxEcho is how much of a field of the event goes into an answer. Answers are
// for people who debug; an event_id may be as long as a body.
const maxEcho = 1024

// Header values are shared between requests: net/http only reads them.
//
//nolint:gochecknoglobals // constants, as far as slices can be
var (
	contentTypeJSON = []string{"application/json"}
	connectionClose = []string{"close"}
	retryAfter      = []string{RetryAfter}
	allowPost       = []string{http.MethodPost}
)

// answer sends 200. Its error is always nil; it is there for the handler to
// return.
func (h *Handler) answer(x *exchange, s status, d *Delivery) error {
	b := append(x.buf[:0], `{"status":"`...)
	b = append(b, s...)
	b = append(b, `","event_id":`...)
	b = appendString(b, d.Event.ID)
	b = append(b, `,"event_type":`...)
	b = appendString(b, d.Event.Type)
	b = append(b, `,"request_id":`...)
	b = appendString(b, x.id)
	x.buf = append(b, "}\n"...)
	h.send(x, http.StatusOK)
	return nil
}

func appendRefusal(b []byte, reason, requestID string) []byte {
	b = append(b, `{"status":"refused","reason":"`...)
	b = append(b, reason...)
	b = append(b, `","request_id":`...)
	b = appendString(b, requestID)
	return append(b, "}\n"...)
}

// send writes the answer in x.buf. While draining it is the connection's last.
func (h *Handler) send(x *exchange, code int) {
	header := x.Header()
	header["Content-Type"] = contentTypeJSON
	if h.closing.Load() {
		header["Connection"] = connectionClose
	}
	x.WriteHeader(code)
	// A sender that has left doesn't read it; there's nobody else to tell.
	_, _ = x.Write(x.buf)
}

// appendString appends s as a JSON string, cut after maxEcho bytes. Bytes that
// aren't UTF-8 become U+FFFD.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	if len(s) > maxEcho {
		end := maxEcho
		for end > maxEcho-utf8.UTFMax && !utf8.RuneStart(s[end]) {
			end--
		}
		s = s[:end]
	}
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			switch {
			case c == '"' || c == '\\':
				b = append(b, '\\', c)
			case c < ' ' || c == 0x7f:
				b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
			default:
				b = append(b, c)
			}
			i++
			continue
		}
		// DecodeRuneInString gives U+FFFD for what is broken.
		r, size := utf8.DecodeRuneInString(s[i:])
		b = utf8.AppendRune(b, r)
		i += size
	}
	return append(b, '"')
}

func typeName(v any) string { return fmt.Sprintf("%T", v) }
