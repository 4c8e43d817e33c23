package publisher

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	kafka "github.com/segmentio/kafka-go"
	"go.uber.org/zap"

	"sluice/publisher/balance"
	"sluice/publisher/connect"
	"sluice/publisher/idempotent"
	"sluice/publisher/spool"
)

// Outcome is what has become of a message.
type Outcome int

const (
	// NotKept: certainly not written. It may be published again.
	NotKept Outcome = iota
	// Unknown: perhaps written. [Message.Late] will tell.
	Unknown
	// Published: every in-sync replica of the event's topic has it.
	Published
	// DeadLettered: every in-sync replica of the dead-letter topic has it.
	DeadLettered
	// Spooled: it is synced to disk, and will be in Kafka once that takes it.
	Spooled
)

// ErrUnavailable wraps every error of [Publisher.Publish]: Kafka, or the part
// of it that the event needs, can't be reached or doesn't take records now.
// Try again later.
var ErrUnavailable = errors.New("Kafka unavailable")

// Publisher publishes messages. Its methods are safe for concurrent use.
type Publisher struct {
	opts      Options
	log       *zap.Logger
	transport *connect.Transport
	prod      *idempotent.Producer
	topics    *topics
	spool     *spool.Log // nil without Options.Spool, as is outbox
	outbox    *outbox
	recovered []Kept             // of batches
	waiting   []Kept             // of messages
	keyless   atomic.Uint32      // spreads records without a key
	stop      context.CancelFunc // ends the topics' work and the connections
}

// New returns a running publisher. Kafka need not be there yet: connecting and
// creating topics go on in the background.
func New(o Options) (*Publisher, error) {
	o, err := o.validate()
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	transport, err := connect.NewTransport(ctx, o.Connect)
	if err != nil {
		stop()
		return nil, err
	}
	p := &Publisher{opts: o, log: o.Log, transport: transport, stop: stop}
	restored, err := p.openSpool()
	if err != nil {
		stop()
		return nil, err
	}
	addr := kafka.TCP(o.Brokers...)
	p.prod, err = idempotent.New(idempotent.Options{
		Transport: transport, Opened: transport.Opened, Addr: addr, Log: o.Log.Named("kafka"), Registry: o.Registry, RequestTimeout: o.RequestTimeout,
		Journal: p.journal(),
	})
	if err != nil {
		stop()
		return nil, errors.Join(err, p.closeSpool())
	}
	p.topics = newTopics(ctx, o, p.prod, &admin{transport, addr})
	p.topics.wg.Go(func() { p.topics.run(ctx) })
	p.resume(ctx, restored)
	return p, nil
}

// Publish writes the message to its topic and returns when every in-sync
// replica has it, or when ctx ends. A nil error means Published, DeadLettered
// or Spooled; otherwise the outcome is NotKept or Unknown and the error wraps
// [ErrUnavailable].
func (p *Publisher) Publish(ctx context.Context, m *Message) (Outcome, error) {
	if p.outbox == nil {
		return p.publish(ctx, m)
	}
	kafkas, cancel := p.outbox.patience.Within(ctx, time.Now())
	defer cancel()
	if p.outbox.behind(kafkas, p.topicOf(m)) {
		return p.outbox.keep(ctx, m)
	}
	o, err := p.publish(kafkas, m)
	switch {
	case errors.Is(err, idempotent.ErrWritten):
		p.outbox.begin(p.topicOf(m))
		return p.synced(ctx, m, err)
	case o == NotKept && !errors.Is(err, idempotent.ErrLeaseLost):
		return p.outbox.keep(ctx, m)
	}
	return o, err
}

// synced makes what is written down durable. Until it is, nobody can rely on it; its outcome is followed either way.
func (p *Publisher) synced(ctx context.Context, m *Message, cause error) (Outcome, error) {
	done := make(chan error, 1)
	p.topics.wg.Go(func() { done <- p.spool.Sync() })
	select {
	case err := <-done:
		if err == nil {
			p.opts.Book.Advance(&m.at, balance.Spooled)
			return Spooled, nil
		}
		p.log.Error("an event under way can't be kept on disk as well", zap.Error(err))
	case <-ctx.Done():
	}
	return Unknown, cause
}

// publish writes the message to Kafka.
func (p *Publisher) publish(ctx context.Context, m *Message) (Outcome, error) {
	if m.Reject != "" {
		return p.setAside(ctx, m, string(m.Reject), "parse", m.RejectCause)
	}
	r := p.eventRecord(m)
	r.Late = p.late(r, m, Published)
	topic, err := p.produce(ctx, m.Event.Type, r)
	if err == nil {
		p.opts.Book.Move(balance.InFlight, balance.Published)
		return Published, nil
	}
	if _, refused := errors.AsType[*idempotent.RefusedError](err); refused {
		p.log.Error("record refused for good; it becomes a dead letter", zap.String("topic", topic), zap.Error(err))
		return p.setAside(ctx, m, "refused_by_topic", "publish", err)
	}
	return failed(err)
}

// setAside writes the message to the dead-letter topic.
func (p *Publisher) setAside(ctx context.Context, m *Message, reason, step string, cause error) (Outcome, error) {
	r := p.deadLetter(m, reason, step, cause, time.Now())
	r.Late = p.late(r, m, DeadLettered)
	if err := p.produceTo(ctx, p.opts.Topics.DeadLetter, r); err != nil {
		if _, ok := errors.AsType[*idempotent.RefusedError](err); ok {
			p.log.Error("dead letter refused; raise the dead-letter topic's max.message.bytes", zap.Error(err))
		}
		return failed(err)
	}
	p.opts.Book.Move(balance.InFlight, balance.DeadLettered)
	return DeadLettered, nil
}

// produce finds the topic and hands the record over. A topic that is created
// anew with fewer partitions in between is looked up again.
func (p *Publisher) produce(ctx context.Context, eventType string, r *idempotent.Record) (string, error) {
	for {
		topic, n, err := p.topics.find(ctx, eventType)
		if err != nil {
			return topic, err
		}
		err = p.prod.Produce(ctx, topic, p.partition(r, n), r)
		if !errors.Is(err, idempotent.ErrNoPartition) || ctx.Err() != nil {
			return topic, err
		}
		changed := p.prod.Changed()
		p.prod.Refresh()
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// partition chooses as Kafka's Java client does: murmur2 of the key. Records
// without a key go round.
func (p *Publisher) partition(r *idempotent.Record, n int) int32 {
	if n == 1 {
		return 0
	}
	if r.Key == nil {
		return int32(p.keyless.Add(1) % uint32(n))
	}
	return int32(murmur.Balance(kafka.Message{Key: r.Key}, numbers(n)...))
}

// State tells whether Kafka answers, since when, and why not.
func (p *Publisher) State() (up bool, since time.Time, err error) {
	s := p.prod.State()
	return s.Up, s.Since, s.Err
}

// Close waits for what is under way until ctx ends, then stops. The error
// tells how many records were left with an unknown outcome.
func (p *Publisher) Close(ctx context.Context) error {
	n := p.prod.Close(ctx)
	p.stop()
	p.topics.wg.Wait()
	p.transport.CloseIdleConnections()
	err := p.closeSpool()
	if n > 0 {
		err = errors.Join(fmt.Errorf("%d records sent to Kafka without an answer", n), err)
	}
	return err
}

func failed(err error) (Outcome, error) {
	o := NotKept
	if errors.Is(err, idempotent.ErrUnresolved) || errors.Is(err, idempotent.ErrWritten) {
		o = Unknown
	}
	return o, fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// late deals with a late outcome: the message's owner is told, or, if the record was left to the spool, it is put
// elsewhere when its partition doesn't take it.
func (p *Publisher) late(r *idempotent.Record, m *Message, kept Outcome) func(error) {
	tell := func(o Outcome) {
		p.opts.Book.Advance(&m.at, account(o))
		if m.Late != nil && o != Spooled { // left to the next process, which says that it is kept
			m.Late(o)
		}
	}
	return func(err error) {
		unresolved := errors.Is(err, idempotent.ErrUnresolved)
		switch {
		case err == nil:
			tell(kept)
		case r.Kept() && unresolved:
			tell(Spooled)
		case r.Kept():
			p.topics.wg.Go(func() { tell(p.republish(p.topics.life, r, err)) })
		case unresolved:
			tell(Unknown)
		default:
			tell(NotKept)
		}
	}
}

// account is the account of what is kept. What isn't is for the caller to account for, who is told of it: until then it is
// in flight.
func account(o Outcome) balance.Account {
	switch o {
	case Published:
		return balance.Published
	case DeadLettered:
		return balance.DeadLettered
	case Spooled:
		return balance.Spooled
	default:
		return balance.InFlight
	}
}
