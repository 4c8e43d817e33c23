package publisher

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"sluice/publisher/balance"
	"sluice/publisher/idempotent"
	"sluice/publisher/spool"
)

const (
	// groupMost bounds how many messages are synced to disk together.
	groupMost = 1000
	// underWay bounds a topic's messages that are with the producer at a time while its backlog is sent.
	underWay = 1000
	// endingBelow and endingAbove are the sizes of a backlog at which its end is near, and isn't any more.
	endingBelow = 64
	endingAbove = 512
	// endingWithin is how lately Kafka must have taken a message for that.
	endingWithin = time.Second
	// slowFor is how long a topic's way leads over the disk after its last event, if Kafka was slow to take that.
	slowFor = 2 * time.Second
	// parkedMost bounds the messages that are held in memory because nobody takes them.
	parkedMost = 1000
	// drainPause is how long a topic's backlog waits before a message that couldn't be handed over is tried again.
	drainPause = 250 * time.Millisecond
	// waitingMost bounds the messages that wait for the disk.
	waitingMost = 20_000
	// findFor bounds the search for a message's topic.
	findFor = 5 * time.Second
)

// outbox keeps messages on disk that Kafka doesn't take in time, and sends them when it does. A topic with a backlog
// takes nothing past it: what is new goes behind.
type outbox struct {
	p   *Publisher
	log *spool.Log

	mu       sync.Mutex
	waiting  []*letter // to be written
	wake     chan struct{}
	backlogs map[string]*backlog // by topic; those with anything in them
	restored uint64              // the greatest number that an earlier process has left

	parked atomic.Int64 // messages that neither their topic nor the dead-letter topic takes
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
	took    time.Time // when Kafka last took one; at first, when it began
	// quick: Kafka took that one soon enough for the next to go there directly. Until then it is no end that none are
	// left: with a Kafka that is slow, each new event would wait for it in vain.
	quick bool
	// ending: few are left. What is new waits a moment for the end instead of going behind, or there would never be one.
	ending bool
	over   chan struct{} // closed at the end
	news   chan struct{} // has room for one: something has changed
}

func newOutbox(p *Publisher) *outbox {
	return &outbox{p: p, log: p.spool, wake: make(chan struct{}, 1), backlogs: make(map[string]*backlog)}
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
	for len(o.waiting) > 0 && len(group) < groupMost {
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
		additions[i].Payload = appendMessage(nil, l.message)
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
		used += int64(len(a.Payload))
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

// drain sends a backlog, in order, until it is empty or ctx ends.
func (o *outbox) drain(ctx context.Context, b *backlog) {
	sent := 0
	var taken []uint64 // not yet with the producer
	for ctx.Err() == nil {
		if len(taken) == 0 {
			var over bool
			if taken, over = o.take(b, taken); over {
				o.p.log.Info("what was kept on disk of a topic is in Kafka", zap.String("topic", b.topic), zap.Int("events", sent))
				return
			}
		}
		if len(taken) == 0 {
			select {
			case <-b.news:
			case <-time.After(slowFor):
			case <-ctx.Done():
			}
			continue
		}
		if err := o.send(ctx, b, taken[0]); err != nil {
			o.mu.Lock()
			b.ending = false
			o.mu.Unlock()
			select {
			case <-time.After(drainPause):
			case <-ctx.Done():
			}
			continue
		}
		sent++
		taken = taken[1:]
	}
}

// take takes the next messages out of the backlog, as many as may be under way. over: none are left of it, and it has
// ended.
func (o *outbox) take(b *backlog, into []uint64) (taken []uint64, over bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	left := b.numbers.size + b.writing + b.busy
	b.ending = b.quick && (left < endingBelow && time.Since(b.took) < endingWithin || b.ending && left < endingAbove)
	if left == 0 && (b.quick || time.Since(b.took) >= slowFor) {
		delete(o.backlogs, b.topic)
		close(b.over)
		return nil, true
	}
	taken = into[:0]
	for b.numbers.size > 0 && b.busy < underWay {
		taken = append(taken, b.numbers.pop())
		b.busy++
	}
	return taken, false
}

// send hands one of the backlog's messages to the producer. After an error it isn't there.
func (o *outbox) send(ctx context.Context, b *backlog, number uint64) error {
	payload, err := o.log.Read(number)
	if err != nil && !errors.Is(err, spool.ErrDamaged) {
		return err // no descriptor left, for example
	}
	var m *Message
	if err == nil {
		m, err = parseMessage(payload)
	}
	if err != nil {
		// It won't get better, and mustn't keep the others.
		o.p.log.Error("an event that was kept on disk can't be read and stays there", zap.Uint64("number", number), zap.Error(err))
		if errors.Is(err, spool.ErrDamaged) {
			o.p.opts.Book.Move(balance.Spooled, balance.Lost)
		}
		o.ended(b, time.Time{})
		return nil
	}
	if number <= o.restored && o.p.opts.Kept != nil {
		o.p.opts.Kept(kept(m))
	}
	r := o.p.recordOf(m)
	r.Entry = number
	handed := time.Now()
	r.Late = func(err error) {
		switch {
		case err == nil:
			o.p.opts.Book.Move(balance.Spooled, account(meant(r)))
			o.ended(b, handed)
		case errors.Is(err, idempotent.ErrUnresolved):
			o.ended(b, time.Time{}) // the next process goes on
		default:
			o.p.topics.wg.Go(func() { o.replace(ctx, b, r, err) })
		}
	}
	find, cancel := context.WithTimeout(ctx, findFor)
	defer cancel()
	topic, n, err := o.p.find(find, m)
	if err != nil {
		return err
	}
	return o.p.prod.ProduceLater(topic, o.p.partition(r, n), r)
}

// replace finds another place for a record of the backlog that its topic doesn't take. The backlog doesn't wait for that,
// unless too many do.
func (o *outbox) replace(ctx context.Context, b *backlog, r *idempotent.Record, cause error) {
	alone := o.parked.Add(1) <= parkedMost
	if alone {
		o.ended(b, time.Time{})
	}
	o.p.opts.Book.Move(balance.Spooled, account(o.p.republish(ctx, r, cause)))
	o.parked.Add(-1)
	if !alone {
		o.ended(b, time.Time{})
	}
}

// begin has the topic's events go by way of the disk until Kafka takes them quickly again.
func (o *outbox) begin(topic string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.backlogOf(topic)
}

// ended takes note that a message has left the producer. handed is when it went there, zero if Kafka hasn't taken it.
func (o *outbox) ended(b *backlog, handed time.Time) {
	o.mu.Lock()
	b.busy--
	if !handed.IsZero() {
		b.took = time.Now()
		b.quick = b.took.Sub(handed) < o.p.opts.Spool.After/2
	}
	o.mu.Unlock()
	b.tell()
}
