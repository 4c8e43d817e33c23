package idempotent

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	kafka "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/produce"
	"go.uber.org/zap"

	"sluice/publisher/wire"
)

// lane sends to one broker, one request at a time. Its work list is guarded by
// Producer.mu; everything else belongs to its goroutine.
type lane struct {
	p      *Producer
	broker int32
	// solo lanes carry one partition a request: those whose replicas lag, for
	// which the broker would hold back the answer for all the others.
	solo bool
	// asked is the number of connections there had been when the broker last told its cluster.
	asked int64

	work []*partition  // to be sent, oldest first
	wake chan struct{} // has room for one
}

func (l *lane) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run sends until the producer's context ends.
func (l *lane) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		runtime.Gosched() // the callers of the last request run first: what they bring next flies together
		parts, wait := l.collect(time.Now())
		if len(parts) > 0 {
			if pause := l.send(ctx, parts); pause > 0 {
				l.p.metrics.throttled.Add(pause.Seconds())
				sleep(ctx, pause)
			}
			continue
		}
		if wait <= 0 {
			select {
			case <-ctx.Done():
			case <-l.wake:
			}
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-l.wake:
		case <-timer.C:
		}
	}
}

// collect takes the partitions for the next request and stamps what isn't yet.
// With none to send, wait is the time until one may be (0 = until woken).
func (l *lane) collect(now time.Time) (parts []*partition, wait time.Duration) {
	p := l.p
	var out settlements
	p.mu.Lock()
	room := p.opts.MaxRequestBytes
	rest := l.work[:0]
	for i, pt := range l.work {
		if room <= 0 || (l.solo && len(parts) == 1) {
			rest = append(rest, l.work[i:]...)
			break
		}
		if d := pt.notBefore.Sub(now); d > 0 {
			if wait == 0 || d < wait {
				wait = d
			}
			rest = append(rest, pt)
			continue
		}
		out = append(out, pt.outdated(p.cluster)...)
		if pt.batch == nil && len(pt.restored) > 0 {
			pt.batch, pt.restored = pt.restored[0], pt.restored[1:]
		}
		if pt.batch == nil {
			if !p.identify(pt) { // no producer id yet; its arrival wakes the lane
				rest = append(rest, pt)
				continue
			}
			out = append(out, pt.form(room)...)
			if pt.batch == nil {
				pt.lane = nil
				continue
			}
		}
		for _, r := range pt.batch.records {
			room -= r.size
		}
		pt.busy = true
		parts = append(parts, pt)
	}
	clear(l.work[len(rest):])
	l.work = rest
	p.mu.Unlock()
	p.deliver(out)
	return parts, wait
}

// send makes one request of the partitions' batches and settles what the
// answer settles. It returns how long the broker wants to be left alone.
func (l *lane) send(ctx context.Context, parts []*partition) (pause time.Duration) {
	p := l.p
	started := time.Now()
	req := wire.NewProduceRequest(l.broker, p.opts.RequestTimeout)
	records, size := 0, 0
	var fresh []*partition
	for _, pt := range parts {
		b := pt.batch
		if b.encoded == nil {
			b.encoded = p.encode(b.records, b.stamp, started)
			fresh = append(fresh, pt)
		}
		req.Add(pt.topic, pt.id, b.encoded)
		records += len(b.records)
		size += len(b.encoded)
	}
	if !p.writeDown(fresh, started) {
		l.failed(parts, size, errUnwritten)
		return 0
	}
	// The broker answers within RequestTimeout; what exceeds it by a second
	// is a broker or a network that doesn't answer.
	actx, cancel := context.WithTimeout(ctx, p.opts.RequestTimeout+time.Second/2)
	res, err := wire.Call[*produce.Response](actx, p.opts.Transport, p.opts.Addr, req)
	if err == nil {
		err = l.sameCluster(actx, parts)
	}
	cancel()
	p.metrics.request(records, size, time.Since(started), err)

	if err != nil {
		l.failed(parts, size, err)
		return 0
	}
	l.answered(parts, res)
	return time.Duration(res.ThrottleTimeMs) * time.Millisecond
}

var (
	errOtherCluster = errors.New("the broker that has answered is of another cluster")

	// errUnwritten: nothing of the request was sent, since the journal hasn't taken its batches.
	errUnwritten = errors.New("batches can't be written down")
)

// sameCluster returns nil if the answer that has just come is of the cluster that the batches are stamped for. Over a
// connection from before the broker last told its cluster it is. Another cluster may have given the producer id to
// somebody else, and take batches for copies of theirs: its answers mean nothing.
func (l *lane) sameCluster(ctx context.Context, parts []*partition) error {
	p := l.p
	if p.opts.Opened == nil {
		return nil
	}
	opened := p.opts.Opened()
	if opened == l.asked {
		return nil
	}
	res, err := wire.Call[*metadata.Response](ctx, p.opts.Transport, p.opts.Addr, wire.NewClusterRequest(l.broker))
	if err != nil {
		return fmt.Errorf("the broker has answered, and doesn't tell its cluster: %v", err) //nolint:errorlint // not for [wire.NotSent]: the batches were sent
	}
	p.setCluster(res.ClusterID)
	l.asked = opened
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pt := range parts {
		if pt.batch.cluster != p.cluster {
			return errOtherCluster
		}
	}
	return nil
}

// failed handles a request without an answer.
func (l *lane) failed(parts []*partition, size int, err error) {
	p := l.p
	now := time.Now()
	certain := errors.Is(err, errUnwritten) || wire.NotSent(err)
	var out settlements
	p.mu.Lock()
	for _, pt := range parts {
		pt.backOff(now)
		if certain && pt.batch.free() {
			s, _ := pt.dissolve()
			out = append(out, s...)
		} else {
			pt.batch.ambiguous = pt.batch.ambiguous || !certain
			p.metrics.retries.Add(float64(len(pt.batch.records)))
		}
		p.reschedule(pt)
	}
	p.mu.Unlock()
	p.deliver(out)
	p.Refresh()
	if !errors.Is(err, context.Canceled) {
		p.log.Warn("produce request failed", zap.Int32("broker", l.broker), zap.Int("partitions", len(parts)),
			zap.Int("bytes", size), // brokers hang up on more than their socket.request.max.bytes
			zap.Bool("certainly_not_sent", certain), zap.Error(err))
	}
}

// partitionKey finds a partition in a response: topics come in another order.
type partitionKey struct {
	topic string
	id    int32
}

func (l *lane) answered(parts []*partition, res *produce.Response) {
	codes := make(map[partitionKey]kafka.Error, len(parts))
	for _, t := range res.Topics {
		for _, rp := range t.Partitions {
			codes[partitionKey{t.Topic, rp.Partition}] = kafka.Error(rp.ErrorCode)
		}
	}
	p := l.p
	now := time.Now()
	var out settlements
	var numbers []uint64
	stale := false
	p.mu.Lock()
	for _, pt := range parts {
		code, ok := codes[partitionKey{pt.topic, pt.id}]
		if !ok {
			code = kafka.Unknown
		}
		stale = stale || moved(code)
		if judge(code) == kept {
			numbers = append(numbers, pt.batch.ends()...)
		}
		out = append(out, p.judged(pt, code, now)...)
		p.reschedule(pt)
	}
	p.mu.Unlock()
	p.settled(numbers)
	p.deliver(out)
	if stale {
		p.Refresh()
	}
}

// judged applies one partition's answer. Producer.mu is held.
func (p *Producer) judged(pt *partition, code kafka.Error, now time.Time) (out settlements) {
	b := pt.batch
	v := judge(code)
	if v == kept {
		p.reuse(b)
		return pt.keep()
	}
	p.metrics.errors.WithLabelValues(codeLabel(code)).Inc()
	pt.sick = slow(code)
	mayDouble := false
	switch v {
	case refused:
		pt.backOff(now)
		if b.free() {
			out, _ = pt.dissolve()
		}
	case unfit:
		out, mayDouble = pt.unfit(code)
	case lostSequence:
		pt.backOff(now)
		if !b.ambiguous {
			pt.nextEpoch() // dissolve does it otherwise
		}
		out, mayDouble = pt.dissolve()
		p.metrics.epochs.Inc()
		p.log.Error("broker has lost data or producer state; starting the partition's sequence over",
			zap.String("topic", pt.topic), zap.Int32("partition", pt.id), zap.Error(code),
			zap.Int64("producer_id", b.stamp.producerID), zap.Int16("epoch", b.stamp.epoch), zap.Int32("sequence", b.stamp.sequence))
	default:
		pt.backOff(now)
		b.ambiguous = true
		p.metrics.retries.Add(float64(len(b.records)))
	}
	if mayDouble {
		p.log.Warn("records are sent again under a new epoch although an earlier attempt was ambiguous; they may be in the log twice",
			zap.String("topic", pt.topic), zap.Int32("partition", pt.id), zap.Int("records", len(b.records)), zap.Error(code))
		p.metrics.mayDouble.Add(float64(len(b.records)))
	} else if v != lostSequence {
		level := zap.WarnLevel
		if moved(code) && pt.failures == 1 { // as for a moment after a topic was created
			level = zap.InfoLevel
		}
		p.log.Log(level, "batch not acknowledged", zap.String("topic", pt.topic), zap.Int32("partition", pt.id),
			zap.Int("records", len(b.records)), zap.Bool("may_be_written", b.ambiguous), zap.Error(code))
	}
	return out
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
