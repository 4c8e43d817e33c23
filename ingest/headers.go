package ingest

import (
	"net/http"
	"slices"
	"strings"
)

// The request headers that mean something here, in canonical form.
const (
	headerSignature   = "X-Cio-Signature"
	headerTimestamp   = "X-Cio-Timestamp"
	headerDeliveryID  = "X-Cio-Delivery-Id"
	headerRequestID   = "X-Request-Id"
	headerTraceparent = "Traceparent"
	headerTracestate  = "Tracestate"

	senderPrefix = "X-Cio-"
)

// maxRequestID is the length up to which a caller's request id is taken.
const maxRequestID = 64

// first is the first value of a header whose name is in canonical form.
func first(h http.Header, name string) string {
	if values := h[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// forwarded collects the headers that travel with the record: all of the
// sender's own, known today or not, and the trace context. They are sorted, so
// that equal requests make equal records. Their size is bounded by the
// server's header limit.
func forwarded(h http.Header) []Header {
	headers := make([]Header, 0, 4)
	for name, values := range h {
		if !strings.HasPrefix(name, senderPrefix) && name != headerTraceparent && name != headerTracestate {
			continue
		}
		for _, value := range values {
			headers = append(headers, Header{Name: name, Value: value})
		}
	}
	// Stable: values of one name keep their order.
	slices.SortStableFunc(headers, func(a, b Header) int { return strings.Compare(a.Name, b.Name) })
	return headers
}

// saneRequestID accepts what can be logged and echoed without a thought:
// printable ASCII without spaces, of a sensible length.
func saneRequestID(id string) bool {
	if id == "" || len(id) > maxRequestID {
		return false
	}
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			return false
		}
	}
	return true
}
