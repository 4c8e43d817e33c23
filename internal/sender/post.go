package sender

import (
	"context"
	"encoding/json"
)

// userAgent is the sender's of the past, marked as an imitation.
const userAgent = "Customer.io Web Hooks 1.0 (sluice send)"

// post sends the event once. Once begun it runs to its end, whatever happens to ctx: an answer that nobody waits for
// would leave open whether the event is kept.
func (s *Sender) post(ctx context.Context, e *Event) Answer {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.options.Timeout)
	defer cancel()
	req, err := Request(ctx, s.options.URL, s.options.Key, s.options.Now(), e.Body)
	if err != nil {
		return Answer{Err: err}
	}
	req.Header.Set("User-Agent", userAgent)
	if e.DeliveryID != "" {
		req.Header.Set("X-CIO-Delivery-ID", e.DeliveryID)
	}
	a, _ := Do(s.client, req)
	return a
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
