package publisher

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/internal/testenv"
)

// TestOutboxSlow: with a Kafka that takes longer than an event may wait, nothing but the first waits for it in vain, and
// everything gets there; with one that is quick again, nothing goes by way of the disk.
func TestOutboxSlow(t *testing.T) {
	kafka := testenv.Kfake(t)
	var slow atomic.Bool
	kafka.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		kafka.KeepControl()
		if slow.Load() {
			<-time.After(200 * time.Millisecond)
		}
		return nil, nil, false
	})
	p := run(t, spooling("os", kafka, t.TempDir()))
	direct := func(n int) {
		t.Helper()
		testenv.Eventually(t, time.Minute, func() error { // a busy machine is slow, too
			if out, err := p.Publish(t.Context(), numberedEvent(t, n)); out != Published || err != nil {
				return errors.Join(fmt.Errorf("outcome %v", out), err)
			}
			return nil
		})
	}
	direct(0)
	slow.Store(true)
	for round := range 3 {
		for n := range 10 {
			if out, err := p.Publish(t.Context(), numberedEvent(t, 1+10*round+n)); out != Spooled || err != nil {
				t.Fatalf("event %d of round %d: %v, %v", n, round, out, err)
			}
		}
		testenv.Eventually(t, time.Minute, func() error {
			if _, left := p.spool.Size(); left > 0 {
				return fmt.Errorf("%d entries of the spool aren't settled", left)
			}
			return nil
		})
		if !p.outbox.behind(t.Context(), "os_email_sent") {
			t.Error("the next event waits for a Kafka that is slow")
		}
	}
	slow.Store(false)
	direct(31)
	drained(t, p)
	there := map[string]bool{}
	for _, r := range kafka.Consume(t, "os_email_sent") {
		id, _ := r.Header("ce_id")
		there[id] = true
	}
	if len(there) != 32 {
		t.Errorf("%d events are there", len(there))
	}
}

// TestOutboxParked: events that neither their topic nor the dead-letter topic takes wait by themselves, however many; what
// comes after them goes to its topic directly.
func TestOutboxParked(t *testing.T) {
	kafka := testenv.Kfake(t)
	var away, large atomic.Bool
	kafka.RefuseProduce(func(topic string) int16 {
		switch {
		case large.Load():
			return 10 // MESSAGE_TOO_LARGE
		case away.Load():
			return 19 // NOT_ENOUGH_REPLICAS
		case topic == "op_dead_letter":
			return 10
		}
		return 0
	})
	p := run(t, spooling("op", kafka, t.TempDir()))
	const parked = 5
	away.Store(true)
	for n := range parked {
		if out, err := p.Publish(t.Context(), numberedEvent(t, n)); out != Spooled || err != nil {
			t.Fatalf("event %d: %v, %v", n, out, err)
		}
	}
	large.Store(true)
	testenv.Eventually(t, time.Minute, func() error {
		p.outbox.mu.Lock()
		defer p.outbox.mu.Unlock()
		if b := p.outbox.backlogs["op_email_sent"]; b != nil && b.numbers.size+b.busy > 0 {
			return fmt.Errorf("the backlog has %d messages, %d of them under way", b.numbers.size+b.busy, b.busy)
		}
		return nil
	})
	large.Store(false)
	away.Store(false)
	testenv.Eventually(t, time.Minute, func() error {
		if out, err := p.Publish(t.Context(), numberedEvent(t, parked)); out != Published || err != nil {
			return errors.Join(fmt.Errorf("outcome %v", out), err)
		}
		return nil
	})
	if n := p.opts.Book.Balance().Spooled; n == 0 {
		t.Error("none are said to be on disk")
	}
}

// TestOutboxLarge: of a backlog of large events no more is in memory than may be, and all of it gets to Kafka.
func TestOutboxLarge(t *testing.T) {
	kafka := testenv.Kfake(t)
	var away atomic.Bool
	kafka.RefuseProduce(func(string) int16 {
		if away.Load() {
			return 19 // NOT_ENOUGH_REPLICAS
		}
		return 0
	})
	p := run(t, spooling("ol", kafka, t.TempDir()))
	away.Store(true)
	const count, size = 12, 500_000
	for n := range count {
		m := message(t, fmt.Sprintf(`{"event_id":"e%05d","event_type":"email_sent","data":{"identifiers":{"id":"c"},"body":%q}}`, n, strings.Repeat("x", size)))
		id := m.Event.ID
		m.DedupeID = func() string { return id }
		if out, err := p.Publish(t.Context(), m); out != Spooled || err != nil {
			t.Fatalf("event %d: %v, %v", n, out, err)
		}
	}
	held := func() int {
		p.outbox.mu.Lock()
		defer p.outbox.mu.Unlock()
		return p.outbox.backlogs["ol_email_sent"].bytes
	}
	testenv.Eventually(t, time.Minute, func() error {
		if n := held(); n < underWayBytes {
			return fmt.Errorf("only %d bytes are under way", n)
		}
		return nil
	})
	if n := held(); n > underWayBytes+2*size {
		t.Errorf("%d bytes are under way", n)
	}
	away.Store(false)
	drained(t, p)
	if got := len(kafka.Consume(t, "ol_email_sent")); got != count {
		t.Errorf("%d records", got)
	}
}

// TestOutboxStuckPartition: one of a topic's partitions takes nothing. What is for the other one doesn't wait again and
// again for the end of the backlog, which isn't near.
func TestOutboxStuckPartition(t *testing.T) {
	kafka := testenv.Kfake(t)
	var stuck atomic.Bool
	kafka.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		kafka.KeepControl()
		res, hit := req.ResponseKind().(*kmsg.ProduceResponse), false
		for _, rt := range req.(*kmsg.ProduceRequest).Topics {
			topic := kmsg.NewProduceResponseTopic()
			topic.Topic = rt.Topic
			for _, rp := range rt.Partitions {
				hit = hit || rp.Partition == 0 && stuck.Load()
				partition := kmsg.NewProduceResponseTopicPartition()
				partition.Partition, partition.ErrorCode = rp.Partition, 19 // NOT_ENOUGH_REPLICAS
				topic.Partitions = append(topic.Partitions, partition)
			}
			res.Topics = append(res.Topics, topic)
		}
		return res, nil, hit
	})
	p := run(t, spooling("op", kafka, t.TempDir()))
	n := 0
	post := func(partition int32) {
		t.Helper()
		for ; ; n++ {
			m := message(t, fmt.Sprintf(`{"event_id":"e%05d","event_type":"email_sent","data":{"identifiers":{"id":"c%d"}}}`, n, n))
			id := m.Event.ID
			m.DedupeID = func() string { return id }
			if p.partition(p.recordOf(m), 2) != partition {
				continue
			}
			if _, err := p.Publish(t.Context(), m); err != nil {
				t.Fatalf("event %d: %v", n, err)
			}
			n++
			return
		}
	}
	post(0)
	post(1)
	stuck.Store(true)
	post(0)
	post(0) // by way of the disk
	for range 20 {
		post(1)
	}
	once, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	p.outbox.behind(once, "op_email_sent")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if !p.outbox.behind(ctx, "op_email_sent") || ctx.Err() != nil {
		t.Error("an event waits for the end of a backlog that is stuck")
	}
	stuck.Store(false)
	drained(t, p)
	if got := len(kafka.Consume(t, "op_email_sent")); got != 24 {
		t.Errorf("%d records", got)
	}
}
