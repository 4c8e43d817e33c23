package publisher

import (
	"errors"
	"fmt"
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
	some := func(from, to int, want Outcome) {
		t.Helper()
		for n := from; n < to; n++ {
			if out, err := p.Publish(t.Context(), numberedEvent(t, n)); out != want || err != nil {
				t.Fatalf("event %d: %v, %v; want %v", n, out, err, want)
			}
		}
	}
	some(0, 10, Published)
	slow.Store(true)
	for round := range 3 {
		some(10+10*round, 20+10*round, Spooled)
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
	testenv.Eventually(t, time.Minute, func() error {
		if out, err := p.Publish(t.Context(), numberedEvent(t, 40)); out != Published || err != nil {
			return errors.Join(fmt.Errorf("outcome %v", out), err)
		}
		return nil
	})
	if got := len(kafka.Consume(t, "os_email_sent")); got < 41 {
		t.Errorf("%d records", got)
	}
}

// TestOutboxParked: events that neither their topic nor the dead-letter topic takes wait by themselves, however many; what
// comes after them goes to its topic directly.
func TestOutboxParked(t *testing.T) {
	kafka := testenv.Kfake(t)
	var away, large atomic.Bool
	refuse(kafka, func(topic string) int16 {
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
