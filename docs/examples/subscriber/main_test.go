package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// printed is what consume has printed, for two goroutines.
type printed struct {
	mu   sync.Mutex
	text strings.Builder
}

func (p *printed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *printed) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// TestConsume lets two lives of one group read what is there once, without what comes twice.
func TestConsume(t *testing.T) {
	kafka := testenv.Kfake(t)
	kafka.CreateTopic(t, "customerio_email_sent", 1, nil)
	client, err := kgo.NewClient(kgo.SeedBrokers(kafka.Bootstrap()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	publish := func(id string) {
		t.Helper()
		r := &kgo.Record{Topic: "customerio_email_sent", Key: []byte("42"), Value: []byte("{}"), Headers: []kgo.RecordHeader{
			{Key: "event-type", Value: []byte("email_sent")}, {Key: "ce_id", Value: []byte(id)},
		}}
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	getenv := func(name string) string {
		return map[string]string{"KAFKA_BROKERS": strings.Join(kafka.Bootstrap(), ","), "EVENT_TYPES": "email_sent"}[name]
	}
	// life consumes until it has printed the last id.
	life := func(last string) string {
		t.Helper()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var out printed
		ended := make(chan error, 1)
		go func() { ended <- consume(ctx, getenv, &out) }()
		testenv.Eventually(t, 30*time.Second, func() error {
			if !strings.Contains(out.String(), last) {
				return fmt.Errorf("printed %q", out.String())
			}
			return nil
		})
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		return out.String()
	}
	for _, id := range []string{"a", "b", "b", "c"} {
		publish("event-" + id)
	}
	first := life("event-c")
	if strings.Count(first, "event-b") != 1 || strings.Count(first, "\n") != 3 || !strings.Contains(first, `customer "42"`) {
		t.Errorf("printed:\n%s", first)
	}
	publish("event-d")
	// The last commit may have been cut off, so event-c may come again, nothing before it.
	if second := life("event-d"); strings.Contains(second, "event-a") || strings.Contains(second, "event-b") {
		t.Errorf("the second life printed:\n%s", second)
	}
}

func TestRecentForgets(t *testing.T) {
	var r recent
	for i := range 2 * len(r.ring) {
		if !r.add(fmt.Sprint(i)) {
			t.Fatalf("%d isn't new", i)
		}
	}
	if len(r.ids) != len(r.ring) || r.add(fmt.Sprint(2*len(r.ring)-1)) || !r.add("0") {
		t.Errorf("remembers %d ids", len(r.ids))
	}
}
