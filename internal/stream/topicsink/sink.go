package topicsink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	kafka "github.com/segmentio/kafka-go"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"sluice/internal/stream"
	"sluice/publisher/connect"
	"sluice/publisher/idempotent"
)

// Errors of a [Sink].
var (
	// ErrOtherCluster: the brokers aren't those that the state is of. What was sent there isn't here, and what the journal
	// holds can't be sent again under its stamps.
	ErrOtherCluster = errors.New("Kafka is another cluster than the one that was written to before")
	// ErrSameTopic: a record would go to the topic that it comes from, and be read again without end.
	ErrSameTopic = errors.New("a topic can't be replayed into itself")
	// ErrNoTopic: the topic to write to isn't there.
	ErrNoTopic = errors.New("no such topic")
)

// RefusedError is about a record that its topic refuses for good, for example because it is too large.
type RefusedError struct {
	Origin string // topic[partition]@offset of the record at its source
	Topic  string // that refuses it
	Err    error
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("record %s is refused by topic %s: %v", e.Origin, e.Topic, e.Err)
}

// Unwrap gives the cause.
func (e *RefusedError) Unwrap() error { return e.Err }

// Counts are what has become of records.
type Counts struct {
	Written int64 // acknowledged, of this process's own
	Again   int64 // found in the journal as not settled: sent again under their old stamps
	Passed  int64 // given by the source, and found in the journal
}

// state is what the next process goes by.
type state struct {
	Cluster    string `json:"cluster"`
	Generation string `json:"journal"`
}

// Sink is a [stream.Resumable] that writes to topics.
type Sink struct {
	opts      Options
	prod      *idempotent.Producer
	transport *connect.Transport
	stop      context.CancelFunc // ends the connections
	journal   *journal           // nil: none
	cluster   string

	// These belong to the writing goroutine.
	topics  map[string]*target
	scratch []byte
	stated  bool // State was called since the last Write
	past    origins

	written, again, passed atomic.Int64

	mu      sync.Mutex // guards what follows
	records int        // under way
	bytes   int
	most    limit // what the writing goroutine waits for, if it does
	failed  error
	wake    chan struct{} // has room for one
}

// limit is what may be under way.
type limit struct{ records, bytes int }

var _ stream.Resumable = (*Sink)(nil)

// New waits for Kafka's answer and, where there is a state, sends again what isn't settled in its journal. Errors wrap
// [stream.ErrUnreachable], [ErrOtherCluster] and spool.ErrLocked, or are about the journal.
func New(ctx context.Context, o Options) (_ *Sink, err error) {
	if o, err = o.withDefaults(); err != nil {
		return nil, err
	}
	s := &Sink{opts: o, topics: make(map[string]*target), wake: make(chan struct{}, 1)}
	// What goes well needn't be told to whoever sits before a command.
	quiet := o.Log.WithOptions(zap.IncreaseLevel(zapcore.WarnLevel))
	batches, before, err := s.openJournal(quiet)
	if err != nil {
		return nil, err
	}
	life, stop := context.WithCancel(context.Background())
	s.stop = stop
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
		if err != nil && o.Journal != "" && o.State == nil {
			err = errors.Join(err, os.RemoveAll(o.Journal)) // nothing was sent
		}
	}()
	if s.transport, err = connect.NewTransport(life, o.Connect); err != nil {
		return nil, err
	}
	through := kafka.RoundTripper(s.transport)
	if o.transport != nil {
		through = o.transport(through)
	}
	producing := idempotent.Options{
		Transport: through, Opened: s.transport.Opened, Addr: kafka.TCP(o.Brokers...), Log: quiet, Registry: o.Registry, Sourced: true,
	}
	if s.journal != nil {
		producing.Journal = s.journal
	}
	if s.prod, err = idempotent.New(producing); err != nil {
		return nil, err
	}
	if err := s.connected(ctx); err != nil {
		return nil, err
	}
	s.cluster = s.prod.Cluster()
	if before != nil && before.Cluster != s.cluster {
		return nil, fmt.Errorf("%w: it was %s and is %s; begin anew, without the checkpoint, or connect to that one", ErrOtherCluster, before.Cluster, s.cluster)
	}
	s.restore(batches)
	return s, nil
}

// openJournal opens the journal, if there is to be one.
func (s *Sink) openJournal(log *zap.Logger) (batches []*idempotent.Restored, before *state, err error) {
	switch {
	case s.opts.Journal == "":
		return nil, nil, nil
	case s.opts.State == nil:
		s.journal, err = newJournal(s.opts.Journal, log)
	default:
		before = &state{}
		if err := json.Unmarshal(s.opts.State, before); err != nil || before.Generation == "" {
			return nil, nil, errors.Join(errors.New("the checkpoint doesn't name its journal"), err)
		}
		s.journal, batches, s.past, err = openJournal(s.opts.Journal, before.Generation, log)
	}
	if err != nil {
		return nil, nil, err
	}
	s.journal.fail = s.fail
	return batches, before, nil
}

// connected waits until brokers have answered.
func (s *Sink) connected(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Patience)
	defer cancel()
	for {
		changed := s.prod.Changed()
		if s.prod.State().Up {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if why := s.prod.State().Err; why != nil {
				return fmt.Errorf("%w: %w", stream.ErrUnreachable, why)
			}
			return fmt.Errorf("%w: %w", stream.ErrUnreachable, context.Cause(ctx))
		}
	}
}

// restore sends again what an earlier process may have sent.
func (s *Sink) restore(batches []*idempotent.Restored) {
	for _, b := range batches {
		for _, r := range b.Records {
			x := &sent{sink: s, topic: b.Topic, again: true}
			r.Late = func(err error) { x.late(r.Tag, err) }
			s.records++
		}
		s.again.Add(int64(len(b.Records)))
	}
	s.prod.Restore(batches)
}

// Counts may be called at any time.
func (s *Sink) Counts() Counts {
	return Counts{Written: s.written.Load(), Again: s.again.Load(), Passed: s.passed.Load()}
}

// Write is part of [stream.Sink]. Errors are those of Options.Topic and Options.Ensure, [ErrSameTopic], [ErrNoTopic], a
// [RefusedError], or about the journal.
func (s *Sink) Write(ctx context.Context, r *stream.Record, t stream.Ticket) error {
	if s.stated { // and saved, as the flow goes on
		s.stated = false
		if err := s.journal.named(); err != nil {
			return err
		}
	}
	if s.past.pass(r) {
		s.passed.Add(1)
		t.Kept()
		return nil
	}
	topic, err := s.opts.Topic(r)
	if err != nil {
		return err
	}
	if topic == r.Topic {
		return fmt.Errorf("%w: %s", ErrSameTopic, topic)
	}
	to, err := s.target(ctx, topic)
	if err != nil {
		return err
	}
	x := s.record(r)
	x.topic, x.ticket = topic, t
	if err := s.enter(ctx, x.size); err != nil {
		return err
	}
	if err := s.prod.Hand(topic, to.partition(r.Key), &x.Record); err != nil {
		s.leave(x.size, nil)
		return fmt.Errorf("topic %s: %w", topic, err)
	}
	return nil
}

// enter waits until there is room for one record more.
func (s *Sink) enter(ctx context.Context, size int) error {
	s.mu.Lock()
	full := s.records >= s.opts.MaxRecords || s.bytes > 0 && s.bytes+size > s.opts.MaxBytes
	s.mu.Unlock()
	if full {
		// Not to be woken for each record: the producer goes on with three quarters.
		if err := s.wait(ctx, limit{s.opts.MaxRecords * 3 / 4, max(0, s.opts.MaxBytes*3/4-size)}); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return s.failed
	}
	s.records++
	s.bytes += size
	return nil
}

// wait returns when no more than that is under way, or something has failed.
func (s *Sink) wait(ctx context.Context, most limit) error {
	for {
		s.mu.Lock()
		s.most = most
		ready, failed := s.within(most), s.failed
		s.mu.Unlock()
		if failed != nil || ready {
			return failed
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *Sink) within(most limit) bool { return s.records <= most.records && s.bytes <= most.bytes }

// leave notes that a record isn't under way any more.
func (s *Sink) leave(size int, err error) {
	s.mu.Lock()
	s.records--
	s.bytes -= size
	if s.failed == nil {
		s.failed = err
	}
	wake := s.failed != nil || s.within(s.most)
	s.mu.Unlock()
	if wake {
		s.poke()
	}
}

// fail ends the flow with its next step.
func (s *Sink) fail(err error) {
	s.mu.Lock()
	if s.failed == nil {
		s.failed = err
	}
	s.mu.Unlock()
	s.poke()
}

func (s *Sink) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Settle is part of [stream.Sink].
func (s *Sink) Settle(ctx context.Context) error { return s.wait(ctx, limit{}) }

// State is part of [stream.Resumable].
func (s *Sink) State() (json.RawMessage, bool, error) {
	if s.journal == nil {
		return nil, true, nil
	}
	if now := s.prod.Cluster(); now != s.cluster {
		return nil, false, fmt.Errorf("%w: it was %s and is %s", ErrOtherCluster, s.cluster, now)
	}
	generation, err := s.journal.next(s.past)
	if err != nil {
		return nil, false, err
	}
	s.stated = true
	text, err := json.Marshal(state{s.cluster, generation})
	return text, true, err
}

// Close is part of [stream.Sink]. What is under way is left to the journal.
func (s *Sink) Close() error {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	if s.prod != nil {
		s.prod.Close(now)
	}
	s.stop()
	if s.transport != nil {
		s.transport.CloseIdleConnections()
	}
	if s.journal == nil {
		return nil
	}
	return s.journal.close()
}
