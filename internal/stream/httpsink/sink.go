package httpsink

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"sluice/internal/sender"
	"sluice/internal/stream"
)

// Sink posts records. Drain and Counts may be called by any goroutine.
type Sink struct {
	opts   Options
	client *http.Client
	stop   context.CancelFunc // ends posts under way
	work   sync.WaitGroup
	freed  chan struct{} // has room for one: something that Write and Settle wait for may have changed

	mu       sync.Mutex // guards the rest
	wake     *sync.Cond // a lane is ready, or ending was set
	lanes    map[laneName]*lane
	alone    int     // lanes so far of records without a key
	ready    []*lane // whose first record is due, in this order
	posting  int
	records  int // held
	bytes    int
	draining bool // nothing more is begun
	ending   bool // the workers end
	err      error
	counts   Counts
	told     time.Time // when the log was last told of failed posts
	untold   int64     // failed posts since then
}

// Counts say what became of posts.
type Counts struct {
	Accepted int64 // records answered 2xx
	GivenUp  int64 // records
	Failed   int64 // posts that weren't answered 2xx
}

type laneName struct {
	topic, key string
	alone      int
}

// lane holds the records of one topic and key that aren't kept, in their order. Only the first is posted.
type lane struct {
	name  laneName
	items []*item
	timer *time.Timer // puts the lane among the ready ones again; nil: it is there, or is being posted
}

type item struct {
	record   stream.Record
	ticket   stream.Ticket
	attempts int // belongs to the worker that has the lane
}

// New checks the options and starts the workers, which Close ends.
func New(o Options) (*Sink, error) {
	o, err := o.validate()
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Sink{
		opts: o, client: sender.NewClient(o.Transport), stop: stop, freed: make(chan struct{}, 1),
		lanes: make(map[laneName]*lane),
	}
	s.wake = sync.NewCond(&s.mu)
	for range o.Concurrency {
		s.work.Go(func() { s.run(ctx) })
	}
	return s, nil
}

// Counts may be asked for at any time.
func (s *Sink) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

// Write takes a record over, once there is room. The error is ctx's, or that of an earlier record.
func (s *Sink) Write(ctx context.Context, r *stream.Record, t stream.Ticket) error {
	own := r.Clone() // a record that is held for long must not hold its whole fetch
	size := own.Size()
	return s.await(ctx, func() bool {
		if s.records > 0 && (s.records >= s.opts.MaxRecords || s.bytes+size > s.opts.MaxBytes) {
			return false
		}
		s.records++
		s.bytes += size
		s.add(&item{record: own, ticket: t})
		return true
	})
}

// Settle returns when everything written is kept or given up. After Drain it waits for posts under way only, and
// returns [ErrLeft] unless that was all.
func (s *Sink) Settle(ctx context.Context) error {
	left := 0
	err := s.await(ctx, func() bool {
		left = s.records
		return left == 0 || s.draining && s.posting == 0
	})
	if err == nil && left > 0 {
		return fmt.Errorf("%w: %d records", ErrLeft, left)
	}
	return err
}

// ErrLeft says that records weren't posted because the sink was drained.
var ErrLeft = errors.New("httpsink: records are left")

// Drain has nothing more begun: posts under way get their answers, and what isn't kept then is left to be read again.
func (s *Sink) Drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	s.notify()
}

// Close ends posts under way. What isn't kept is left to be read again.
func (s *Sink) Close() error {
	s.mu.Lock()
	s.draining, s.ending = true, true
	for _, l := range s.lanes {
		if l.timer != nil {
			l.timer.Stop()
		}
	}
	s.wake.Broadcast()
	s.mu.Unlock()
	s.stop()
	s.work.Wait()
	s.client.CloseIdleConnections()
	return nil
}

// await calls try until it is true. It is called with the lock, and for one goroutine at a time.
func (s *Sink) await(ctx context.Context, try func() bool) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.mu.Lock()
		err, done := s.err, false
		if err == nil {
			done = try()
		}
		s.mu.Unlock()
		if err != nil || done {
			return err
		}
		select {
		case <-s.freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// notify lets await look again. s.mu is held.
func (s *Sink) notify() {
	select {
	case s.freed <- struct{}{}:
	default:
	}
}

// add puts a record at the end of its lane. s.mu is held.
func (s *Sink) add(i *item) {
	name := laneName{topic: i.record.Topic, key: string(i.record.Key)}
	if i.record.Key == nil {
		s.alone++
		name.alone = s.alone
	}
	l := s.lanes[name]
	if l != nil {
		l.items = append(l.items, i)
		return
	}
	l = &lane{name: name, items: []*item{i}}
	s.lanes[name] = l
	s.due(l)
}

// due puts a lane among the ready ones. s.mu is held.
func (s *Sink) due(l *lane) {
	l.timer = nil
	s.ready = append(s.ready, l)
	s.wake.Signal()
}

// run is a worker.
func (s *Sink) run(ctx context.Context) {
	for {
		l, i := s.next()
		if l == nil {
			return
		}
		answer, header := s.post(ctx, &i.record)
		i.attempts++
		if answer.Acknowledged() {
			s.kept(l, i, func(c *Counts) { c.Accepted++ })
			continue
		}
		s.refused(ctx, l, i, answer, retryAfter(header, time.Now()))
	}
}

// next waits for a lane whose turn it is. Its first record stays the first until kept is called. nil is the end.
func (s *Sink) next() (*lane, *item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.ending && (s.draining || s.err != nil || len(s.ready) == 0) {
		s.wake.Wait()
	}
	if s.ending {
		return nil, nil
	}
	l := s.ready[0]
	s.ready[0] = nil
	s.ready = s.ready[1:]
	s.posting++
	return l, l.items[0]
}

// kept gives the ticket of a lane's first record back, and goes on with the next.
func (s *Sink) kept(l *lane, i *item, count func(*Counts)) {
	i.ticket.Kept()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.posting--
	s.records--
	s.bytes -= i.record.Size()
	count(&s.counts)
	l.items[0] = nil
	l.items = l.items[1:]
	if len(l.items) == 0 {
		delete(s.lanes, l.name)
	} else {
		s.due(l)
	}
	s.notify()
}

// refused decides what follows a post that wasn't acknowledged.
func (s *Sink) refused(ctx context.Context, l *lane, i *item, a sender.Answer, pause time.Duration) {
	why := Reason{Attempts: i.attempts, Code: a.Code, Err: a.Err, Label: a.Label()}
	if ctx.Err() == nil {
		s.failed(why)
		if s.opts.Refused != nil {
			s.opts.Refused(&i.record, why)
		}
		if s.opts.Attempts > 0 && i.attempts >= s.opts.Attempts {
			s.giveUp(ctx, l, i, why)
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.posting--
	if !s.ending {
		l.timer = time.AfterFunc(max(s.backoff(i.attempts), pause), func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.due(l)
		})
	}
	s.notify()
}

// backoff is the pause after so many attempts: exponential, with full jitter, so that keys which failed together don't
// come back together.
func (s *Sink) backoff(attempts int) time.Duration {
	most := s.opts.MaxWait
	if shift := attempts - 1; shift < 30 && s.opts.FirstWait<<shift < most {
		most = s.opts.FirstWait << shift
	}
	return rand.N(most) + 1
}

// giveUp hands a record to GiveUp.
func (s *Sink) giveUp(ctx context.Context, l *lane, i *item, why Reason) {
	err := error(why)
	if s.opts.GiveUp != nil {
		err = s.opts.GiveUp(ctx, &i.record, why)
	}
	if err == nil {
		s.kept(l, i, func(c *Counts) { c.GivenUp++ })
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.posting--
	if s.err == nil && ctx.Err() == nil {
		r := &i.record
		s.err = fmt.Errorf("%s[%d]@%d is given up after %d attempts: %w", r.Topic, r.Partition, r.Offset, why.Attempts, err)
	}
	s.notify()
}

// tellEvery is the pause between two words to the log about failed posts.
const tellEvery = time.Minute

// failed counts a failed post, and tells the log of the first, and then from time to time.
func (s *Sink) failed(why Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Failed++
	s.untold++
	if now := time.Now(); s.told.IsZero() || now.Sub(s.told) >= tellEvery {
		s.opts.Log.Warn("the handler didn't take an event; it is posted again", zap.Int64("posts", s.untold), zap.Error(why))
		s.told, s.untold = now, 0
	}
}
