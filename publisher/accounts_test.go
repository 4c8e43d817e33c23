package publisher

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/testenv"
	"sluice/publisher/balance"
)

// spooled publishes an event that its caller has accepted, while Kafka is away.
func spooled(t *testing.T, p *Publisher, n int) {
	t.Helper()
	p.opts.Book.Accept()
	if out, err := p.Publish(t.Context(), numberedEvent(t, n)); out != Spooled || err != nil {
		t.Fatalf("event %d: %v, %v", n, out, err)
	}
}

// becomes waits for a balance.
func becomes(t *testing.T, p *Publisher, want balance.Balance) {
	t.Helper()
	testenv.Eventually(t, time.Minute, func() error {
		if n := p.opts.Book.Balance(); n != want {
			return fmt.Errorf("%v, want %v", n, want)
		}
		return nil
	})
}

// TestAccountOfRefused moves what was spooled to the dead letters when its topic refuses it for good.
func TestAccountOfRefused(t *testing.T) {
	kafka := testenv.Kfake(t)
	var code atomic.Int32
	kafka.RefuseProduce(func(topic string) int16 {
		if topic == "ar_email_sent" {
			return int16(code.Load())
		}
		return 0
	})
	p := run(t, spooling("ar", kafka, t.TempDir()))
	p.opts.Book.Accept()
	if out, err := p.Publish(t.Context(), numberedEvent(t, 0)); err != nil { // a busy machine may put it on disk first
		t.Fatalf("%v, %v", out, err)
	}
	becomes(t, p, balance.Balance{Accepted: 1, Published: 1})
	code.Store(19) // NOT_ENOUGH_REPLICAS
	for n := 1; n < 10; n++ {
		spooled(t, p, n)
	}
	becomes(t, p, balance.Balance{Accepted: 10, Published: 1, Spooled: 9})
	code.Store(10) // MESSAGE_TOO_LARGE
	becomes(t, p, balance.Balance{Accepted: 10, Published: 1, DeadLettered: 9})
	if n := len(kafka.Consume(t, "ar_dead_letter")); n != 9 {
		t.Errorf("%d dead letters", n)
	}
}

// TestAccountOfDamaged counts an event as lost that its disk has damaged, once, and the others as published.
func TestAccountOfDamaged(t *testing.T) {
	kafka := testenv.Kfake(t)
	door := testenv.Proxy(t, kafka.Bootstrap()[0])
	door.Set(t, testenv.Refuse) // before the topics are known nothing is read from the disk but the first event
	dir := t.TempDir()
	o := spooling("ad", kafka, dir)
	o.Brokers = []string{door.Addr()}
	p := run(t, o)
	for n := range 10 {
		spooled(t, p, n)
	}
	files, err := filepath.Glob(filepath.Join(dir, "one", "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	damaged := 0
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		i := bytes.Index(b, []byte(`"event_id":"e00005"`))
		if i < 0 {
			continue
		}
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("?"), int64(i)); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		damaged++
	}
	if damaged != 1 {
		t.Fatalf("the event is in %d of %q", damaged, files)
	}
	door.Set(t, testenv.Pass)
	becomes(t, p, balance.Balance{Accepted: 10, Published: 9, Lost: 1})
	if n := len(kafka.Consume(t, "ad_email_sent")); n != 9 {
		t.Errorf("%d records", n)
	}
}
