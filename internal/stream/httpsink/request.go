package httpsink

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sluice/internal/sender"
	"sluice/internal/stream"
)

const userAgent = "sluice"

// post makes one attempt.
func (s *Sink) post(ctx context.Context, r *stream.Record) (sender.Answer, http.Header) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	req, err := s.request(ctx, r)
	if err != nil {
		return sender.Answer{Err: err}, nil
	}
	return sender.Do(s.client, req)
}

// request signs the record's value as of now.
func (s *Sink) request(ctx context.Context, r *stream.Record) (*http.Request, error) {
	req, err := sender.Request(ctx, s.opts.URL, s.opts.SigningKey, time.Now(), r.Value)
	if err != nil {
		return nil, err
	}
	setHeaders(req.Header, r)
	if s.opts.Headers != nil {
		s.opts.Headers(r, req.Header)
	}
	return req, nil
}

// setHeaders gives a post what the record says beside its value: the headers that Customer.io sent, but for the
// signature, which is a new one; the CloudEvents attributes as the HTTP binding spells them; the trace; what Sluice has
// noted; and where the record is.
func setHeaders(h http.Header, r *stream.Record) {
	h.Set("User-Agent", userAgent)
	for _, x := range r.Headers {
		name := strings.ToLower(x.Key)
		value := string(x.Value)
		attribute, cloudEvent := strings.CutPrefix(name, "ce_")
		switch {
		case cloudEvent && isToken(attribute):
			h.Set("ce-"+attribute, percentEncoded(value))
		case !isToken(name) || !isText(value):
		case name == "x-cio-timestamp" || name == "x-cio-signature":
		case name == "x-cio-delivery-id":
			h["X-CIO-Delivery-ID"] = []string{value} // spelt as Customer.io does
		case name == "content-type", name == "traceparent", name == "tracestate",
			strings.HasPrefix(name, "x-cio-"), strings.HasPrefix(name, "sluice-"):
			h.Set(name, value)
		}
	}
	h.Set("Sluice-Topic", r.Topic)
	h.Set("Sluice-Partition", strconv.Itoa(r.Partition))
	h.Set("Sluice-Offset", strconv.FormatInt(r.Offset, 10))
}

// isToken reports whether text may be a header's name: RFC 9110, section 5.6.2, without the odd ones.
func isToken(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_'
	})
}

// isText reports whether a header can carry the text unchanged.
func isText(text string) bool {
	return strings.TrimSpace(text) == text && !strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c > '~' })
}

// percentEncoded is an attribute's value in a header: CloudEvents' HTTP protocol binding 1.0, section 3.1.3.2.
func percentEncoded(text string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; c > ' ' && c <= '~' && c != '"' && c != '%' {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

// retryAfter is the pause that an answer asks for, 0 for none: seconds or a date (RFC 9110, section 10.2.3).
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if text == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}
