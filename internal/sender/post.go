package sender

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"

	"sluice/ingest/signature"
)

// userAgent is the sender's of the past, marked as an imitation.
const userAgent = "Customer.io Web Hooks 1.0 (sluice send)"

// maxAnswer is how much of an answer is read, in bytes; a connection with a longer one isn't used again.
const maxAnswer = 64 << 10

// post sends the event once. Once begun it runs to its end, whatever happens to ctx: an answer that nobody waits for
// would leave open whether the event is kept.
func (s *Sender) post(ctx context.Context, e *Event) Answer {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.options.Timeout)
	defer cancel()
	began := time.Now()
	req, err := s.request(ctx, e)
	if err != nil {
		return Answer{Err: err}
	}
	res, err := s.client.Do(req)
	if err != nil {
		return Answer{Err: err, Took: time.Since(began)}
	}
	defer func() { _ = res.Body.Close() }() // the answer has been read
	a := Answer{Code: res.StatusCode}
	// The code is the answer; a body that breaks off changes nothing about it.
	text, _ := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	a.Took = time.Since(began)
	if a.Acknowledged() {
		a.Status = statusIn(text)
	}
	return a
}

// request signs the event with the current time.
func (s *Sender) request(ctx context.Context, e *Event) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.options.URL, bytes.NewReader(e.Body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", userAgent)
	if e.DeliveryID != "" {
		req.Header.Set("X-CIO-Delivery-ID", e.DeliveryID)
	}
	if s.options.Key != "" {
		timestamp := strconv.FormatInt(s.options.Now().Unix(), 10)
		req.Header.Set("X-CIO-Timestamp", timestamp)
		req.Header.Set("X-CIO-Signature", signature.Sign(s.options.Key, timestamp, e.Body))
	}
	return req, nil
}

// statusIn finds the status in an answer's body, and "" in a body of anyone but Sluice.
func statusIn(text []byte) Status {
	var body struct {
		Status Status `json:"status"`
	}
	if json.Unmarshal(text, &body) != nil {
		return ""
	}
	switch body.Status {
	case StatusPublished, StatusDuplicate, StatusDeadLettered, StatusSpooled:
		return body.Status
	}
	return ""
}
