package publisher

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"sluice/publisher/balance"
	"sluice/publisher/idempotent"
	"sluice/publisher/spool"
)

// SpoolOptions say where batches are written down.
type SpoolOptions struct {
	Dir      string // of all instances on this disk
	Instance string
	MaxBytes int64
	// After is how long Kafka may take for a message before it is kept on disk (default 500 ms).
	After time.Duration
	// Alone leaves what other instances have left alone.
	Alone bool
}

// Kept is a delivery that an earlier process of this instance has published, or whose batch it had written down: this
// process publishes it. Either way it has to be marked as kept.
type Kept struct {
	ID         string // [Message.DedupeID]
	DeadLetter bool
}

// A record's tag is one of these and the id of its delivery.
const (
	tagEvent      = "e"
	tagDeadLetter = "d"
)

// recoveredMost is how many of the messages that wait on disk [Publisher.Recovered] tells of, the newest.
const recoveredMost = 100_000

const (
	// resumePause is how long to wait before a restored record that can't be sent is tried again.
	resumePause = time.Second
	// refusedPause is that, at most, for one that the dead-letter topic refuses too: each time it is longer, since such
	// records are large, and only an operator can help.
	refusedPause = 30 * time.Second
)

// openSpool reads what an earlier process has left: everything that it returns is on disk.
func (p *Publisher) openSpool() ([]*idempotent.Restored, error) {
	o := p.opts.Spool
	if o == nil {
		return nil, nil
	}
	log, err := spool.Open(spool.Options{
		Dir: o.Dir, Instance: o.Instance, MaxBytes: o.MaxBytes, Alone: o.Alone, Log: p.log.Named("spool"), Registry: p.opts.Registry,
	})
	if err != nil {
		return nil, err
	}
	p.spool = log
	p.outbox = newOutbox(p)
	var restored []*idempotent.Restored
	err = log.Entries(func(e spool.Entry) {
		b, err := p.recover(e)
		switch {
		case err != nil:
			p.log.Error("an entry of the spool can't be read and stays there", zap.Uint64("number", e.Number), zap.Error(err))
		case b != nil && !e.Settled:
			restored = append(restored, b)
		}
	})
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	if p.opts.Registry != nil {
		gauge := func(name, help string, value func() float64) prometheus.Collector {
			return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "sluice", Subsystem: "spool", Name: name, Help: help}, value)
		}
		p.opts.Registry.MustRegister(
			gauge("bytes", "Size of the spool on disk.", func() float64 { n, _ := log.Size(); return float64(n) }),
			gauge("unsettled", "Entries of the spool, batches and events, that Kafka isn't known to have.", func() float64 { _, n := log.Size(); return float64(n) }),
		)
	}
	return restored, nil
}

// recover takes note of an entry. A batch is returned, a message is left for the outbox.
func (p *Publisher) recover(e spool.Entry) (*idempotent.Restored, error) {
	if len(e.Payload) > 0 && e.Payload[0] == kindMessage {
		m, _, err := parseHead(e.Payload)
		if err != nil {
			return nil, err
		}
		if !e.Settled {
			p.outbox.restore(p.topicOf(m), e.Number)
		}
		if len(p.waiting) == 2*recoveredMost {
			p.waiting = append(p.waiting[:0], p.waiting[recoveredMost:]...)
		}
		p.waiting = append(p.waiting, kept(m))
		return nil, nil
	}
	b, err := idempotent.ParseEntry(e.Number, slices.Clone(e.Payload))
	if err != nil {
		return nil, err
	}
	for _, r := range b.Records {
		if r.Tag != "" {
			p.recovered = append(p.recovered, Kept{ID: r.Tag[1:], DeadLetter: r.Tag[:1] == tagDeadLetter})
		}
	}
	return b, nil
}

func kept(m *Message) Kept { return Kept{ID: m.DedupeID(), DeadLetter: m.Reject != ""} }

// journal is the spool as the producer wants it; a nil *spool.Log wouldn't be a nil Journal.
func (p *Publisher) journal() idempotent.Journal {
	if p.spool == nil {
		return nil
	}
	return p.spool
}

// Recovered lists the deliveries that the spool told of at the start, and forgets them. Of a larger number of messages
// that wait on disk these are the newest; [Options.Kept] is told of all when they are sent.
func (p *Publisher) Recovered() []Kept {
	all := append(p.waiting[max(0, len(p.waiting)-recoveredMost):], p.recovered...)
	p.waiting, p.recovered = nil, nil
	return all
}

// resume sends what an earlier process had sent without an answer, and looks after the spool's files.
func (p *Publisher) resume(ctx context.Context, restored []*idempotent.Restored) {
	if p.spool == nil {
		return
	}
	records := 0
	for _, b := range restored {
		records += len(b.Records)
		for _, r := range b.Records {
			r.Late = func(err error) {
				switch {
				case err == nil:
					p.opts.Book.Move(balance.Spooled, account(meant(r)))
					return
				case errors.Is(err, idempotent.ErrUnresolved):
					return // it stays in the spool
				}
				p.topics.wg.Go(func() { p.opts.Book.Move(balance.Spooled, account(p.republish(ctx, r, err))) })
			}
		}
	}
	if records > 0 {
		p.log.Info("sending again what was under way when this instance ended", zap.Int("batches", len(restored)), zap.Int("records", records))
	}
	p.opts.Book.Recover(records)
	p.prod.Restore(restored)
	if n := p.outbox.resume(); n > 0 {
		p.log.Info("sending what was kept on disk when this instance ended", zap.Int("events", n))
	}
	p.topics.wg.Go(func() { p.outbox.run(ctx) })
	p.topics.wg.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-tick.C:
				if err := p.spool.Flush(now); err != nil {
					p.log.Warn("writing to the spool", zap.Error(err))
				}
			}
		}
	})
}

// republish finds another place for a restored record that its partition didn't take: nobody else will, since it was
// marked as kept. It goes on until there is one, or until ctx ends: then it is Spooled still.
func (p *Publisher) republish(ctx context.Context, r *idempotent.Record, cause error) Outcome {
	original := r.Headers
	dead := strings.HasPrefix(r.Tag, tagDeadLetter)
	pause := resumePause
	for ctx.Err() == nil {
		next := &idempotent.Record{Key: r.Key, Value: r.Value, Headers: slices.Clone(original), Tag: r.Tag, Instead: r}
		refused, is := errors.AsType[*idempotent.RefusedError](cause)
		if is && !dead {
			dead = true
			setAside(next, "refused_by_topic", "publish", refused, time.Now())
			original = next.Headers
		}
		var err error
		if dead {
			err = p.produceTo(ctx, p.opts.Topics.DeadLetter, next)
		} else {
			_, err = p.produce(ctx, header(r, headerEventType), next)
		}
		if err == nil {
			return meant(next)
		}
		if _, is := errors.AsType[*idempotent.RefusedError](err); is && dead {
			p.log.Error("an event stays on disk, since the dead-letter topic refuses it too: raise that topic's max.message.bytes", zap.Error(err))
			pause = min(2*pause, refusedPause)
		} else {
			p.log.Warn("a record that is kept on disk can't be placed yet", zap.Error(err))
		}
		cause, r = err, next
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return Spooled
}

// meant is what becomes of a record of the spool once Kafka has it.
func meant(r *idempotent.Record) Outcome {
	if strings.HasPrefix(r.Tag, tagDeadLetter) {
		return DeadLettered
	}
	return Published
}

// produceTo hands the record to one of the special topics.
func (p *Publisher) produceTo(ctx context.Context, topic string, r *idempotent.Record) error {
	n, err := p.topics.ensure(ctx, topic, "")
	if err != nil {
		return err
	}
	return p.prod.Produce(ctx, topic, p.partition(r, n), r)
}

func header(r *idempotent.Record, name string) string {
	for _, h := range r.Headers {
		if h.Key == name {
			return h.Value
		}
	}
	return ""
}

func (p *Publisher) closeSpool() error {
	if p.spool == nil {
		return nil
	}
	return p.spool.Close()
}
