package ingest

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"sluice/ingest/signature"
)

// The defaults of [Options].
const (
	DefaultMaxBodyBytes        = 8 << 20
	DefaultMaxInFlightRequests = 16384
	DefaultMaxInFlightBytes    = 256 << 20
	DefaultBodyTimeout         = 10 * time.Second
	DefaultDiscardTimeout      = 2 * time.Second
	DefaultRequestTimeout      = 1500 * time.Millisecond
)

// Options are what a [Handler] is made of. Zero numbers and durations mean the
// defaults above.
type Options struct {
	// Verifier checks signatures. nil accepts every request unsigned; that is
	// for trying things out, and the caller has to say so to the operator.
	Verifier *signature.Verifier
	// Deduper and Publisher are required.
	Deduper   Deduper
	Publisher Publisher
	// Log is required. It gets one line a refused request, sampled by reason.
	Log *zap.Logger
	// Registerer is required.
	Registerer prometheus.Registerer
	// Now is the wall clock against which signatures are judged. nil means
	// time.Now.
	Now func() time.Time

	// MaxBodyBytes is the largest body that is read; a larger one is answered
	// 413.
	MaxBodyBytes int64
	// MaxInFlightRequests and MaxInFlightBytes cap the webhooks being worked on
	// and the memory of their bodies, from the first byte read to the answer.
	// Beyond them the answer is 503. The bytes must be at least twice
	// MaxBodyBytes, because a growing body is held twice while it is copied.
	MaxInFlightRequests int64
	MaxInFlightBytes    int64
	// BodyTimeout is how long a body may take to arrive.
	BodyTimeout time.Duration
	// DiscardTimeout is how long the rest of a refused body is read and thrown
	// away, so that its sender reads the answer instead of a broken pipe.
	DiscardTimeout time.Duration
	// RequestTimeout is the one deadline of claim and publish together, counted
	// from the moment the body is complete. The sender gives up after 4 s.
	RequestTimeout time.Duration
}

// withDefaults fills in what was left out.
func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	setDefault(&o.MaxBodyBytes, DefaultMaxBodyBytes)
	setDefault(&o.MaxInFlightRequests, DefaultMaxInFlightRequests)
	setDefault(&o.MaxInFlightBytes, DefaultMaxInFlightBytes)
	setDefault(&o.BodyTimeout, DefaultBodyTimeout)
	setDefault(&o.DiscardTimeout, DefaultDiscardTimeout)
	setDefault(&o.RequestTimeout, DefaultRequestTimeout)
	return o
}

// validate names every field that is missing or impossible.
func (o *Options) validate() error {
	var errs []error
	required := func(name string, present bool) {
		if !present {
			errs = append(errs, fmt.Errorf("ingest: Options.%s is required", name))
		}
	}
	required("Deduper", o.Deduper != nil)
	required("Publisher", o.Publisher != nil)
	required("Log", o.Log != nil)
	required("Registerer", o.Registerer != nil)

	positive := func(name string, value int64) {
		if value <= 0 {
			errs = append(errs, fmt.Errorf("ingest: Options.%s must be positive", name))
		}
	}
	positive("MaxBodyBytes", o.MaxBodyBytes)
	positive("MaxInFlightRequests", o.MaxInFlightRequests)
	positive("BodyTimeout", int64(o.BodyTimeout))
	positive("DiscardTimeout", int64(o.DiscardTimeout))
	positive("RequestTimeout", int64(o.RequestTimeout))
	if o.MaxInFlightBytes/2 < o.MaxBodyBytes {
		errs = append(errs, fmt.Errorf("ingest: Options.MaxInFlightBytes is %d, it must be at least twice MaxBodyBytes (%d)",
			o.MaxInFlightBytes, o.MaxBodyBytes))
	}
	return errors.Join(errs...)
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
