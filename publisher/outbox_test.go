package publisher

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"sluice/internal/testenv"
)

// spooling is a publisher's options with a spool.
func spooling(prefix string, kafka *testenv.FakeCluster, dir string) Options {
	o := options(prefix, kafka.Bootstrap())
	o.Spool = &SpoolOptions{Dir: dir, Instance: "one", After: 100 * time.Millisecond}
	o.Log = zap.NewNop()
	return o
}

// drained waits until Kafka has everything.
func drained(t *testing.T, p *Publisher) {
	t.Helper()
	testenv.Eventually(t, time.Minute, func() error {
		if _, left := p.spool.Size(); left > 0 {
			return fmt.Errorf("%d entries of the spool aren't settled", left)
		}
		p.outbox.mu.Lock()
		defer p.outbox.mu.Unlock()
		if n := len(p.outbox.backlogs); n > 0 {
			return fmt.Errorf("%d backlogs are about to end", n)
		}
		return nil
	})
}

// first publishes event 0 and waits until it is in Kafka: on a busy machine the first may go by way of the disk.
func first(t *testing.T, p *Publisher) {
	t.Helper()
	if _, err := p.Publish(t.Context(), numberedEvent(t, 0)); err != nil {
		t.Fatal(err)
	}
	drained(t, p)
}

// numberedEvent is event n of a customer.
func numberedEvent(t *testing.T, n int) *Message {
	t.Helper()
	m := message(t, fmt.Sprintf(`{"event_id":"e%05d","event_type":"email_sent","data":{"identifiers":{"id":"c"}}}`, n))
	id := m.Event.ID
	m.DedupeID = func() string { return id }
	return m
}

// TestOutbox keeps events through an outage and a restart within it: each ends on its topic once, in order.
func TestOutbox(t *testing.T) {
	kafka := testenv.Kfake(t)
	away := kafka.Outage()
	dir, n := t.TempDir(), 0
	outcomes := map[Outcome]int{}
	some := func(p *Publisher, count int) {
		t.Helper()
		for range count {
			out, err := p.Publish(t.Context(), numberedEvent(t, n))
			if err != nil {
				t.Fatalf("event %d: %v", n, err)
			}
			outcomes[out]++
			n++
		}
	}
	p, err := New(spooling("ob", kafka, dir))
	if err != nil {
		t.Fatal(err)
	}
	some(p, 20)
	away.Store(true)
	some(p, 200)
	if err := p.Close(t.Context()); err != nil { // what is on disk isn't waited for
		t.Error(err)
	}
	p, err = New(spooling("ob", kafka, dir))
	if err != nil {
		t.Fatal(err)
	}
	recovered := p.Recovered()
	for i := 20; i < 220; i++ {
		if id := fmt.Sprintf("e%05d", i); !slices.Contains(recovered, Kept{ID: id}) {
			t.Fatalf("%s isn't among the %d recovered", id, len(recovered))
		}
	}
	some(p, 50)
	away.Store(false)
	some(p, 50)
	drained(t, p)
	some(p, 20)
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if outcomes[Spooled] < 240 || outcomes[Published] < 40 || outcomes[Spooled]+outcomes[Published] != n {
		t.Errorf("outcomes %v", outcomes)
	}
	var ids []string
	for _, r := range kafka.Consume(t, "ob_email_sent") {
		id, _ := r.Header("ce_id")
		ids = append(ids, id)
	}
	for i := 1; i < len(ids); i++ {
		if ids[i] == ids[i-1] {
			t.Errorf("twice: %s", ids[i])
		}
	}
	if len(ids) != n || !slices.IsSorted(ids) || len(slices.Compact(ids)) != n {
		t.Errorf("%d records of %d events, in order: %t", len(ids), n, slices.IsSorted(ids))
	}
}

// TestOutboxUnderLoad lets many publish while Kafka comes and goes.
func TestOutboxUnderLoad(t *testing.T) {
	kafka := testenv.Kfake(t)
	away := kafka.Outage()
	p := run(t, spooling("ol", kafka, t.TempDir()))
	var wg sync.WaitGroup
	var mu sync.Mutex
	n := 0
	stop := make(chan struct{})
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				mu.Lock()
				m := numberedEvent(t, n)
				n++
				mu.Unlock()
				if _, err := p.Publish(t.Context(), m); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 6 {
		<-time.After(300 * time.Millisecond)
		away.Store(!away.Load())
	}
	close(stop)
	wg.Wait()
	away.Store(false)
	drained(t, p)
	counts := map[string]int{}
	for _, r := range kafka.Consume(t, "ol_email_sent") {
		id, _ := r.Header("ce_id")
		counts[id]++
	}
	for i := range n {
		if c := counts[fmt.Sprintf("e%05d", i)]; c != 1 {
			t.Errorf("event %d is there %d times", i, c)
		}
	}
	// With Kafka back nothing goes by way of the disk any more, but for one that the machine was too busy for.
	testenv.Eventually(t, time.Minute, func() error {
		out, err := p.Publish(t.Context(), numberedEvent(t, n))
		n++
		if out != Published || err != nil {
			return errors.Join(fmt.Errorf("outcome %v", out), err)
		}
		return nil
	})
}

// TestOutboxFull refuses what has no room, and keeps what it has.
func TestOutboxFull(t *testing.T) {
	kafka := testenv.Kfake(t)
	away := kafka.Outage()
	o := spooling("of", kafka, t.TempDir())
	o.Spool.MaxBytes = 64 << 10
	p := run(t, o)
	first(t, p)
	away.Store(true)
	kept := 0
	for n := 1; ; n++ {
		out, err := p.Publish(t.Context(), numberedEvent(t, n))
		if err != nil {
			// It may have been on its way when there was no room to write that down.
			if out == Published || !errors.Is(err, ErrUnavailable) || kept == 0 {
				t.Errorf("after %d events: %v, %v", kept, out, err)
			}
			break
		}
		kept++
	}
	away.Store(false)
	drained(t, p)
	if records := kafka.Consume(t, "of_email_sent"); len(records) < 1+kept || len(records) > 2+kept {
		t.Errorf("%d records, want %d, and perhaps the one that was refused", len(records), 1+kept)
	}
}

// TestOutboxRefused makes dead letters of what a topic refuses for good after it was answered 200.
func TestOutboxRefused(t *testing.T) {
	kafka := testenv.Kfake(t)
	var code atomic.Int32
	kafka.RefuseProduce(func(topic string) int16 {
		if topic == "or_email_sent" {
			return int16(code.Load())
		}
		return 0
	})
	p := run(t, spooling("or", kafka, t.TempDir()))
	first(t, p)
	code.Store(19) // NOT_ENOUGH_REPLICAS
	for n := 1; n < 10; n++ {
		if out, err := p.Publish(t.Context(), numberedEvent(t, n)); out != Spooled || err != nil {
			t.Fatalf("event %d: %v, %v", n, out, err)
		}
	}
	code.Store(10) // MESSAGE_TOO_LARGE
	drained(t, p)
	counts := map[string]int{}
	for _, r := range kafka.Consume(t, "or_dead_letter") {
		id, _ := r.Header("ce_id")
		if reason, _ := r.Header(headerReason); reason != "refused_by_topic" {
			t.Errorf("%s has the reason %q", id, reason)
		}
		counts[id]++
	}
	for n := 1; n < 10; n++ {
		if c := counts[fmt.Sprintf("e%05d", n)]; c != 1 {
			t.Errorf("event %d is %d times among the dead letters", n, c)
		}
	}
}

func TestMessageOnDisk(t *testing.T) {
	m := message(t, `{"event_id":"e","event_type":"email_sent"}`)
	m.DedupeID = func() string { return "~dx" }
	m.KeyName, m.DedupeSkipped = "eu", true
	m.Headers = []Header{{"X-Cio-Timestamp", "1"}, {"traceparent", ""}}
	dead := &Message{Body: []byte("\x00"), Reject: "not_json", RejectCause: errors.New("broken"), DedupeID: func() string { return "~b" }}
	for _, want := range []*Message{m, dead} {
		b := append(appendMessage(nil, want), want.Body...)
		got, err := parseMessage(b)
		if err != nil {
			t.Fatal(err)
		}
		if string(got.Body) != string(want.Body) || got.DedupeID() != want.DedupeID() || got.KeyName != want.KeyName || got.Event != want.Event ||
			got.DedupeSkipped != want.DedupeSkipped || got.Reject != want.Reject || !slices.Equal(got.Headers, want.Headers) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if want.RejectCause != nil && got.RejectCause.Error() != want.RejectCause.Error() {
			t.Errorf("cause %v", got.RejectCause)
		}
		for cut := range b {
			if _, err := parseMessage(b[:cut]); !errors.Is(err, errMessage) {
				t.Fatalf("cut at %d of %d: %v", cut, len(b), err)
			}
		}
	}
	if _, err := parseMessage([]byte(strings.Repeat("\xff", 64))); err == nil {
		t.Error("nonsense is a message")
	}
}
