package sender

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"sluice/ingest/signature"
)

// Request is a POST of a body as Customer.io makes it, signed as of now; key "" is no signature. A request is for one
// attempt: receivers refuse timestamps that are old.
func Request(ctx context.Context, url, key string, now time.Time, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		timestamp := strconv.FormatInt(now.Unix(), 10)
		req.Header.Set("X-CIO-Timestamp", timestamp)
		req.Header.Set("X-CIO-Signature", signature.Sign(key, timestamp, body))
	}
	return req, nil
}

// NewTransport makes connections for so many posts at a time, of which as many are kept.
func NewTransport(posts int) *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{}).DialContext, // the post's deadline bounds it
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: posts,
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true,
	}
}

// NewClient follows no redirects: a POST that is redirected may arrive as something else, and elsewhere.
func NewClient(transport http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// maxAnswer is how much of an answer is read, in bytes; a connection with a longer one isn't used again.
const maxAnswer = 64 << 10

// Do sends a request and reads the answer, whose header is nil if there was none.
func Do(client *http.Client, req *http.Request) (Answer, http.Header) {
	began := time.Now()
	res, err := client.Do(req) //nolint:gosec // where to post is its user's to say
	if err != nil {
		return Answer{Err: err, Took: time.Since(began)}, nil
	}
	defer func() { _ = res.Body.Close() }() // the answer has been read
	a := Answer{Code: res.StatusCode}
	// The code is the answer; a body that breaks off changes nothing about it.
	text, _ := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	a.Took = time.Since(began)
	if a.Acknowledged() {
		a.Status = statusIn(text)
	}
	return a, res.Header
}
