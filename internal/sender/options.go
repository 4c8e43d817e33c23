package sender

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// Options say how to send. Only URL is required.
type Options struct {
	// URL is where to post, http or https.
	URL string
	// Key is the signing key, "" for posts without a signature.
	Key string
	// Timeout is how long a post waits for its answer. 0: 4 s, as long as Customer.io does.
	Timeout time.Duration
	// Concurrency is how many events are under way at a time. 0: 1.
	Concurrency int
	// Rate is the most events begun a second, without retries and repeats. 0: no limit.
	Rate float64
	// Duplicates is the share of events that are posted again although nothing asks for it, from 0 to 1: one half of them
	// twice at the same moment, the other half some events after they have been acknowledged.
	Duplicates float64
	// FirstWait is the pause before the first retry, and MaxWait the longest; each doubles the one before and is then
	// changed at random by up to a half. 0: 500 ms and 30 s.
	FirstWait, MaxWait time.Duration
	// RetryFor is how long after its first post an event may still be retried. 0: without end.
	RetryFor time.Duration
	// Duration is how long new events are taken. 0: as long as there are any.
	Duration time.Duration

	// Results is told the end of each event before its worker begins another, Failures of each post that isn't
	// acknowledged. Neither is called by two goroutines at once, but one may be called during the other.
	Results  func(Result)
	Failures func(Answer)

	// Transport carries the requests. nil: connections of the Sender's own, which Run closes.
	Transport http.RoundTripper
	// Now is the clock of the signatures and results. nil: time.Now.
	Now func() time.Time
}

// Defaults of [Options].
const (
	DefaultTimeout   = 4 * time.Second
	DefaultFirstWait = 500 * time.Millisecond
	DefaultMaxWait   = 30 * time.Second
)

func (o *Options) check() error {
	u, err := url.Parse(o.URL)
	if err != nil {
		return fmt.Errorf("url: %w", err)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return fmt.Errorf("url %q: want http://HOST:PORT/PATH or https://…", o.URL)
	case o.Timeout < 0, o.FirstWait < 0, o.MaxWait < 0, o.RetryFor < 0, o.Duration < 0:
		return errors.New("a time is negative")
	case o.Concurrency < 0:
		return errors.New("concurrency is negative")
	case !(o.Rate >= 0): // not a number neither
		return errors.New("rate is negative")
	case !(o.Duplicates >= 0 && o.Duplicates <= 1):
		return fmt.Errorf("duplicates %v: want a share from 0 to 1", o.Duplicates)
	}
	return nil
}

func (o *Options) fill() {
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Concurrency == 0 {
		o.Concurrency = 1
	}
	if o.FirstWait == 0 {
		o.FirstWait = DefaultFirstWait
	}
	if o.MaxWait == 0 {
		o.MaxWait = DefaultMaxWait
	}
	o.MaxWait = max(o.MaxWait, o.FirstWait)
	if o.Results == nil {
		o.Results = func(Result) {}
	}
	if o.Failures == nil {
		o.Failures = func(Answer) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Transport == nil {
		o.Transport = NewTransport(2 * o.Concurrency) // each worker may post twice at once
	}
}
