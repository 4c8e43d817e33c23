package httpsink

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"go.uber.org/zap"

	"sluice/internal/sender"
	"sluice/internal/stream"
)

// Options say where and how to post. URL and Log are required.
type Options struct {
	// URL is where to post, http or https. A user and password in it are sent as basic authentication.
	URL string
	// SigningKey signs each post; "": posts aren't signed.
	SigningKey string
	// Concurrency is the most posts under way (default 8).
	Concurrency int
	// Timeout is how long a post waits for its whole answer (default 10 s).
	Timeout time.Duration
	// Attempts is how often a record is posted before it is given up; 0: without end.
	Attempts int
	// GiveUp is told of a record that won't be posted any more. When it returns nil the record counts as kept; with an
	// error, or without a GiveUp, the sink fails. It is called by several goroutines at once.
	GiveUp func(context.Context, *stream.Record, Reason) error

	// FirstWait is the longest pause before the second attempt (default 500 ms); each next one may be twice as long, up to
	// MaxWait (default 1 min). The pause is drawn from 0 up to that. A Retry-After beyond it is waited for, up to 10 min.
	FirstWait, MaxWait time.Duration
	// MaxRecords and MaxBytes bound what is held: posts under way, and what waits for its turn or its next attempt (defaults
	// 10,000 and 64 MiB; one record may always be held).
	MaxRecords, MaxBytes int

	// Headers may add to a post's headers or change them. nil: not wanted.
	Headers func(*stream.Record, http.Header)
	// Refused is told of each attempt that failed. It is called by several goroutines at once. nil: not wanted.
	Refused func(*stream.Record, Reason)
	// Transport carries the posts, and is not closed. nil: connections of the sink's own.
	Transport http.RoundTripper
	// Log is told of failed posts, at most once a minute.
	Log *zap.Logger
}

// maxRetryAfter bounds the pause that a handler may ask for: a mistaken header must not stop a key for a day.
const maxRetryAfter = 10 * time.Minute

// Reason is why the last attempt failed, and how many there were.
type Reason struct {
	Attempts int
	Code     int   // of HTTP, 0 if there was no answer
	Err      error // why there was none
	// Label is the code's digits, "timeout" or "connection_error".
	Label string
}

// Error makes a Reason an error.
func (r Reason) Error() string {
	switch {
	case r.Err != nil:
		return withoutURL(r.Err).Error()
	case r.Code/100 == 3:
		return fmt.Sprintf("the handler answered %d: redirects aren't followed", r.Code)
	}
	return fmt.Sprintf("the handler answered %d", r.Code)
}

// Unwrap is the error that kept an answer from coming.
func (r Reason) Unwrap() error { return r.Err }

// withoutURL leaves out what net/http puts before a cause: the address may hold secrets.
func withoutURL(err error) error {
	if outer, is := errors.AsType[*url.Error](err); is {
		return outer.Err
	}
	return err
}

// Check says what is wrong with the options; nothing is connected to.
func (o Options) Check() error {
	_, err := o.validate()
	return err
}

func (o Options) validate() (Options, error) {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil:
		return o, fmt.Errorf("httpsink: url: %w", withoutURL(err))
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return o, errors.New("httpsink: url: want http://HOST:PORT/PATH or https://…")
	case o.Log == nil:
		return o, errors.New("httpsink: Options.Log is nil")
	case o.Concurrency < 0, o.Attempts < 0, o.MaxRecords < 0, o.MaxBytes < 0:
		return o, errors.New("httpsink: a number is negative")
	case o.Timeout < 0, o.FirstWait < 0, o.MaxWait < 0:
		return o, errors.New("httpsink: a time is negative")
	}
	o.Concurrency = orDefault(o.Concurrency, 8)
	o.Timeout = orDefault(o.Timeout, 10*time.Second)
	o.FirstWait = orDefault(o.FirstWait, 500*time.Millisecond)
	o.MaxWait = max(orDefault(o.MaxWait, time.Minute), o.FirstWait)
	o.MaxRecords = orDefault(o.MaxRecords, 10_000)
	o.MaxBytes = orDefault(o.MaxBytes, 64<<20)
	if o.Transport == nil {
		o.Transport = sender.NewTransport(o.Concurrency)
	}
	return o, nil
}

func orDefault[T int | time.Duration](v, d T) T {
	if v == 0 {
		return d
	}
	return v
}
