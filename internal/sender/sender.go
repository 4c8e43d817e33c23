package sender

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/time/rate"
)

// Sender sends events once: see [Sender.Run].
type Sender struct {
	options Options
	client  *http.Client
	limiter *rate.Limiter
	started atomic.Bool
	tally   tally

	results, failures sync.Mutex // one each, held during the hook's call
}

// New checks the options. Its errors name what is wrong.
func New(o Options) (*Sender, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("sender: %w", err)
	}
	o.fill()
	s := &Sender{options: o, limiter: rate.NewLimiter(rate.Inf, 1)}
	if o.Rate > 0 {
		// Timers are late by up to a few milliseconds; a burst of 10 ms makes up for it.
		s.limiter = rate.NewLimiter(rate.Limit(o.Rate), 1+int(min(o.Rate/100, math.MaxInt32)))
	}
	s.client = NewClient(o.Transport)
	return s, nil
}

// ErrUsed says that a Sender's Run was called twice.
var ErrUsed = errors.New("sender: it has been run before")

// Run sends events until there are no more, Duration is over or ctx ends, and returns when the last post has its answer.
// When ctx ends nothing is begun or retried any more; posts under way still get their answers, within Timeout.
//
// The error is the one that events yielded, which ends the sending as an end of the events does. That events weren't
// acknowledged is no error: the Summary tells. Where reading the next event can't be interrupted, as with a terminal, it
// is left to itself when ctx ends.
func (s *Sender) Run(ctx context.Context, events iter.Seq2[Event, error]) (Summary, error) {
	if s.started.Swap(true) {
		return Summary{}, ErrUsed
	}
	s.tally.begin(s.options.Now())
	taking, stop := context.WithCancel(ctx)
	if s.options.Duration > 0 {
		taking, stop = context.WithTimeout(ctx, s.options.Duration)
	}
	defer stop()

	jobs := make(chan job)
	fed := make(chan error, 1)
	go func() {
		err := s.feed(taking, events, jobs)
		fed <- err
		close(jobs)
	}()
	var workers sync.WaitGroup
	for range s.options.Concurrency {
		workers.Go(func() { s.work(ctx, taking, jobs) })
	}
	workers.Wait()
	s.client.CloseIdleConnections()

	var err error
	select {
	case err = <-fed: // always, unless taking has ended
	default:
	}
	return s.tally.summary(s.options.Now()), err
}

// Progress is how far Run has come. It may be called at any time.
func (s *Sender) Progress() Progress { return s.tally.progress() }

// job is an event and what is to be done with it beyond need.
type job struct {
	event  Event
	repeat repeat
}

type repeat int

const (
	never repeat = iota
	atOnce
	later
)

// feed hands out the events at the rate.
func (s *Sender) feed(ctx context.Context, events iter.Seq2[Event, error], jobs chan<- job) error {
	number := 0
	for e, err := range events {
		if err != nil {
			return err
		}
		if s.limiter.Wait(ctx) != nil {
			return nil // the time is over, or will be before this event's turn
		}
		number++
		select {
		case jobs <- job{e, s.repeat(number)}:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// repeat decides about an event by its number, counted from 1, so that the share is kept exactly.
func (s *Sender) repeat(number int) repeat {
	const slack = 1e-9 // a tenth isn't one in binary
	due := func(n int) int { return int(float64(n)*s.options.Duplicates + slack) }
	switch n := due(number); {
	case n == due(number-1):
		return never
	case n%2 == 1:
		return atOnce
	}
	return later
}

// work sends events one after the other until there are no more.
func (s *Sender) work(ctx, taking context.Context, jobs <-chan job) {
	var kept queue
	for {
		j, more := next(taking, jobs)
		if !more || ctx.Err() != nil {
			break
		}
		r := s.deliver(ctx, &j)
		s.tally.done(&r)
		s.report(r)
		if j.repeat == later && r.Acknowledged {
			kept.add(j.event)
		}
		for kept.full() {
			s.again(ctx, kept.take())
		}
		kept.next()
	}
	for kept.len() > 0 && ctx.Err() == nil {
		s.again(ctx, kept.take())
	}
}

// next waits for a job, and reports false if there are no more or ctx has ended.
func next(ctx context.Context, jobs <-chan job) (job, bool) {
	select {
	case j, more := <-jobs:
		return j, more
	case <-ctx.Done():
		return job{}, false
	}
}

// deliver posts an event until it is acknowledged or given up.
func (s *Sender) deliver(ctx context.Context, j *job) Result {
	s.tally.begun()
	r := Result{Event: j.event, First: s.options.Now()}
	waits := backoff.NewExponentialBackOff()
	waits.InitialInterval, waits.MaxInterval, waits.Multiplier = s.options.FirstWait, s.options.MaxWait, 2
	attempt := func() (struct{}, error) {
		answers := make([]Answer, 1, 2)
		if first := r.Posts == 0; first && j.repeat == atOnce {
			answers = s.twice(ctx, &j.event)
		} else {
			answers[0] = s.count(ctx, &j.event, first, false)
		}
		for _, a := range answers {
			r.add(a, s.options.Now())
		}
		if r.Acknowledged {
			return struct{}{}, nil
		}
		return struct{}{}, errAgain
	}
	// Its error repeats what r says.
	_, _ = backoff.Retry(ctx, attempt, backoff.WithBackOff(waits), backoff.WithMaxElapsedTime(s.options.RetryFor))
	return r
}

// errAgain tells backoff that an event isn't acknowledged.
var errAgain = errors.New("not acknowledged")

// twice posts the event two times at the same moment.
func (s *Sender) twice(ctx context.Context, e *Event) []Answer {
	answers := make([]Answer, 2)
	var second sync.WaitGroup
	second.Go(func() { answers[1] = s.count(ctx, e, false, true) })
	answers[0] = s.count(ctx, e, true, false)
	second.Wait()
	return answers
}

// again posts an event that is acknowledged already. Nobody retries that.
func (s *Sender) again(ctx context.Context, e Event) {
	if ctx.Err() == nil {
		s.count(ctx, &e, false, true)
	}
}

// count posts the event and takes the answer into the figures.
func (s *Sender) count(ctx context.Context, e *Event, first, repeated bool) Answer {
	a := s.post(ctx, e)
	s.tally.post(a, len(e.Body), first, repeated)
	if !a.Acknowledged() {
		s.failures.Lock()
		defer s.failures.Unlock()
		s.options.Failures(a)
	}
	return a
}

func (s *Sender) report(r Result) {
	s.results.Lock()
	defer s.results.Unlock()
	s.options.Results(r)
}
