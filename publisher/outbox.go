package publisher

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"sluice/internal/deadline"
	"sluice/publisher/balance"
	"sluice/publisher/spool"
)

const (
	// groupMost bounds how many messages are synced to disk together, and groupBytes their bodies: one more is taken only
	// below that.
	groupMost  = 1000
	groupBytes = 4 << 20
	// waitingMost bounds the messages that wait for the disk.
	waitingMost = 20_000
)

// outbox keeps messages on disk that Kafka doesn't take in time, and sends them when it does. A topic with a backlog
// takes nothing past it: what is new goes behind.
type outbox struct {
	p   *Publisher
	log *spool.Log
	// patience is for Kafka: SpoolOptions.After.
	patience *deadline.Shared

	mu       sync.Mutex
	waiting  []*letter // to be written
	wake     chan struct{}
	backlogs map[string]*backlog // by topic; those with anything in them
	restored uint64              // the greatest number that an earlier process has left

	parked atomic.Int64 // bytes of messages that neither their topic nor the dead-letter topic takes
}

// errSlowDisk: more waits for the disk than may.
var errSlowDisk = errors.New("too much waits for the spool's disk")

// letter is a message on its way to the disk.
type letter struct {
	message *Message
	backlog *backlog
	done    chan struct{}
	err     error
	// Guarded by outbox.mu:
	writing bool // it is in the hands of write
	through bool // err is known
	left    bool // its caller has gone before that
}

// backlog is a topic's messages that go by way of the disk. Its fields are guarded by outbox.mu.
type backlog struct {
	topic   string
	writing int       // on their way to the disk
	numbers rising    // on disk
	busy    int       // with the producer, in that order
	bytes   int       // of those, in memory
	took    time.Time // when Kafka last took one; at first, when it began
	// quick: Kafka took that one soon enough for the next to go there directly. Until then it is no end that none are
	// left: with a Kafka that is slow, each new event would wait for it in vain.
	quick bool
	// ending: few are left. What is new waits a moment for the end instead of going behind, or there would never be one.
	ending bool
	vain   time.Time     // when that was last waited for in vain, as it is when one of the topic's partitions is stuck
	over   chan struct{} // closed at the end
	news   chan struct{} // has room for one: something has changed
}

func newOutbox(p *Publisher) *outbox {
	return &outbox{
		p: p, log: p.spool, patience: deadline.New(p.opts.Spool.After),
		wake: make(chan struct{}, 1), backlogs: make(map[string]*backlog),
	}
}

// run writes until ctx ends.
func (o *outbox) run(ctx context.Context) {
	for {
		o.mu.Lock()
		group := o.next()
		o.mu.Unlock()
		if len(group) > 0 {
			o.write(group)
			continue
		}
		select {
		case <-o.wake:
		case <-ctx.Done():
			return
		}
	}
}

// next takes the messages that are to be written together, without those whose callers have gone. o.mu is held.
func (o *outbox) next() (group []*letter) {
	size := 0
	for len(o.waiting) > 0 && len(group) < groupMost && size < groupBytes {
		l := o.waiting[0]
		o.waiting[0] = nil
		o.waiting = o.waiting[1:]
		if l.left {
			l.backlog.writing--
			l.backlog.tell()
			continue
		}
		l.writing = true
		group = append(group, l)
		size += len(l.message.Body)
	}
	return group
}

// behind reports whether a message for the topic has to go by way of the disk. Near a backlog's end it waits for that
// until ctx ends.
func (o *outbox) behind(ctx context.Context, topic string) bool {
	o.mu.Lock()
	b := o.backlogs[topic]
	ending := b != nil && b.ending
	o.mu.Unlock()
	if !ending {
		return b != nil
	}
	select {
	case <-b.over:
		return false
	case <-ctx.Done():
		o.mu.Lock()
		b.ending, b.vain = false, time.Now()
		o.mu.Unlock()
		return true
	}
}

// keep puts the message on disk. When it returns Spooled it is synced there.
func (o *outbox) keep(ctx context.Context, m *Message) (Outcome, error) {
	l := &letter{message: m, done: make(chan struct{})}
	o.mu.Lock()
	if len(o.waiting) >= waitingMost {
		o.mu.Unlock()
		return NotKept, fmt.Errorf("%w: %w", ErrUnavailable, errSlowDisk)
	}
	l.backlog = o.backlogOf(o.p.topicOf(m))
	l.backlog.writing++
	o.waiting = append(o.waiting, l)
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
	select {
	case <-l.done:
	case <-ctx.Done():
		o.mu.Lock()
		l.left = !l.through
		outcome := NotKept // it hasn't been touched, and won't be
		if l.writing {
			outcome = Unknown
		} else if l.left {
			l.message = nil
		}
		o.mu.Unlock()
		if l.left {
			return outcome, fmt.Errorf("%w: writing to the spool: %w", ErrUnavailable, ctx.Err())
		}
	}
	if l.err != nil {
		return NotKept, fmt.Errorf("%w: %w", ErrUnavailable, l.err)
	}
	return Spooled, nil
}

// write puts a group on disk and adds it to the backlogs.
func (o *outbox) write(group []*letter) {
	now := time.Now()
	additions := make([]spool.Addition, len(group))
	for i, l := range group {
		additions[i].Payload, additions[i].Rest = appendMessage(nil, l.message), l.message.Body
	}
	var first uint64
	err := o.room(additions)
	if err == nil {
		first, err = o.log.Append(now, additions...)
	}
	if err == nil {
		if err = o.log.Sync(); err != nil {
			// Whether they are on disk isn't known. The senders are told that they aren't kept, so they mustn't be sent.
			numbers := make([]uint64, len(group))
			for i := range group {
				numbers[i] = first + uint64(i)
			}
			err = errors.Join(err, o.log.Drop(numbers...))
		}
	}
	if err != nil {
		o.p.log.Error("events can't be kept on disk and are refused", zap.Int("events", len(group)), zap.Error(err))
	}
	for i, l := range group {
		o.mu.Lock()
		l.err, l.through = err, true
		gone := l.left
		l.backlog.writing--
		if err == nil {
			// Before it can be sent.
			o.p.opts.Book.Move(balance.InFlight, balance.Spooled)
			l.backlog.numbers.push(first + uint64(i))
		}
		o.mu.Unlock()
		l.backlog.tell()
		close(l.done)
		if gone && l.message.Late != nil {
			if err == nil {
				l.message.Late(Spooled)
			} else {
				l.message.Late(NotKept)
			}
		}
	}
}

// room leaves an eighth of the spool to the producer: what is sent has to be written down too.
func (o *outbox) room(additions []spool.Addition) error {
	used, _ := o.log.Size()
	for _, a := range additions {
		used += int64(len(a.Payload) + len(a.Rest))
	}
	if most := o.p.opts.Spool.MaxBytes; used > most-most/8 {
		return spool.ErrFull
	}
	return nil
}

// backlogOf returns the topic's backlog, and begins one if need be. o.mu is held.
func (o *outbox) backlogOf(topic string) *backlog {
	b := o.backlogs[topic]
	if b == nil {
		b = o.newBacklog(topic)
		o.p.log.Warn("events of a topic are kept on disk until Kafka takes them", zap.String("topic", topic))
		o.p.topics.wg.Go(func() { o.drain(o.p.topics.life, b) })
	}
	return b
}

func (o *outbox) newBacklog(topic string) *backlog {
	b := &backlog{topic: topic, took: time.Now(), over: make(chan struct{}), news: make(chan struct{}, 1)}
	o.backlogs[topic] = b
	return b
}

// restore puts a message that an earlier process has left at the end of its topic's backlog. It is called before
// anything runs.
func (o *outbox) restore(topic string, number uint64) {
	b := o.backlogs[topic]
	if b == nil {
		b = o.newBacklog(topic)
	}
	b.numbers.push(number)
	o.restored = number
}

// resume begins to send what restore was told of, and says how many messages that are.
func (o *outbox) resume() (messages int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, b := range o.backlogs {
		o.p.opts.Book.Recover(b.numbers.size)
		messages += b.numbers.size
		o.p.topics.wg.Go(func() { o.drain(o.p.topics.life, b) })
	}
	return messages
}

func (b *backlog) tell() {
	select {
	case b.news <- struct{}{}:
	default:
	}
}

// begin has the topic's events go by way of the disk until Kafka takes them quickly again.
func (o *outbox) begin(topic string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.backlogOf(topic)
}
