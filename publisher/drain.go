package publisher

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"sluice/publisher/balance"
	"sluice/publisher/idempotent"
	"sluice/publisher/spool"
)

const (
	// underWay bounds a topic's messages that are with the producer at a time while its backlog is sent, and underWayBytes
	// their size: one more is read only below that.
	underWay      = 1000
	underWayBytes = 2 << 20
	// endingBelow and endingAbove are the sizes of a backlog at which its end is near, and isn't any more.
	endingBelow = 64
	endingAbove = 512
	// endingWithin is how lately Kafka must have taken a message for that.
	endingWithin = time.Second
	// slowFor is how long a topic's way leads over the disk after its last event, if Kafka was slow to take that.
	slowFor = 2 * time.Second
	// vainFor is how long nothing waits for a backlog's end after that was in vain.
	vainFor = 5 * time.Second
	// parkedMost bounds the bytes of messages that are held in memory because nobody takes them.
	parkedMost = 32 << 20
	// drainPause is how long a topic's backlog waits before a message that couldn't be handed over is tried again.
	drainPause = 250 * time.Millisecond
	// findFor bounds the search for a message's topic.
	findFor = 5 * time.Second
)

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
		if o.full(b) {
			select {
			case <-b.news:
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
	b.ending = b.quick && time.Since(b.vain) >= vainFor && (left < endingBelow && time.Since(b.took) < endingWithin || b.ending && left < endingAbove)
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

// full reports whether nothing more of the backlog is to be read into memory for now.
func (o *outbox) full(b *backlog) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return b.bytes >= underWayBytes
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
		o.ended(b, 0, time.Time{})
		return nil
	}
	if number <= o.restored && o.p.opts.Kept != nil {
		o.p.opts.Kept(kept(m))
	}
	r := o.p.recordOf(m)
	r.Entry = number
	size := len(payload)
	handed := time.Now()
	r.Late = func(err error) {
		switch {
		case err == nil:
			o.p.opts.Book.Move(balance.Spooled, account(meant(r)))
			o.ended(b, size, handed)
		case errors.Is(err, idempotent.ErrUnresolved):
			o.ended(b, size, time.Time{}) // the next process goes on
		default:
			o.p.topics.wg.Go(func() { o.replace(ctx, b, r, size, err) })
		}
	}
	find, cancel := context.WithTimeout(ctx, findFor)
	defer cancel()
	topic, n, err := o.p.find(find, m)
	if err != nil {
		return err
	}
	o.hold(b, size)
	if err = o.p.prod.ProduceLater(topic, o.p.partition(r, n), r); err != nil {
		o.hold(b, -size)
	}
	return err
}

// hold takes note that so many more bytes of the backlog are in memory.
func (o *outbox) hold(b *backlog, size int) {
	o.mu.Lock()
	b.bytes += size
	o.mu.Unlock()
}

// replace finds another place for a record of the backlog that its topic doesn't take. The backlog doesn't wait for that,
// unless too many do.
func (o *outbox) replace(ctx context.Context, b *backlog, r *idempotent.Record, size int, cause error) {
	alone := o.parked.Add(int64(size)) <= parkedMost
	if alone {
		o.ended(b, size, time.Time{})
	}
	o.p.opts.Book.Move(balance.Spooled, account(o.p.republish(ctx, r, cause)))
	o.parked.Add(-int64(size))
	if !alone {
		o.ended(b, size, time.Time{})
	}
}

// ended takes note that a message of that size has left the producer. handed is when it went there, zero if Kafka hasn't
// taken it.
func (o *outbox) ended(b *backlog, size int, handed time.Time) {
	o.mu.Lock()
	b.busy--
	b.bytes -= size
	if !handed.IsZero() {
		b.took = time.Now()
		b.quick = b.took.Sub(handed) < o.p.opts.Spool.After/2
	}
	o.mu.Unlock()
	b.tell()
}
