package publisher

import (
	"context"
	"errors"
	"testing"
	"time"

	"sluice/internal/testenv"
)

func TestCreator(t *testing.T) {
	env := testenv.Fake(t)
	options := Options{Brokers: env.Brokers(), Topics: TopicOptions{
		Template: env.Topic("{event_type}"), DeadLetter: env.Topic("dead_letter"), Overflow: env.Topic("other"),
		Max: 2, Create: true, Partitions: 3, Replication: 1, Retention: time.Hour, MaxMessageBytes: 2_000_000,
	}}
	c, err := NewCreator(options)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for eventType, want := range map[string]string{"a": "a", "b": "b"} {
		if topic, err := c.Find(t.Context(), eventType); err != nil || topic != env.Topic(want) {
			t.Errorf("%s: %s, %v", eventType, topic, err)
		}
	}
	// The third is one too many. It isn't asked for again and again.
	for range 2 {
		if topic, err := c.Find(t.Context(), "c"); err != nil || topic != env.Topic("other") {
			t.Errorf("c: %s, %v", topic, err)
		}
	}
	if n := c.MaxMessageBytes(t.Context(), env.Topic("a")); n != 2_000_000 {
		t.Errorf("max.message.bytes %d", n)
	}
	if n := c.MaxMessageBytes(t.Context(), env.Topic("none")); n != 0 {
		t.Errorf("max.message.bytes of no topic: %d", n)
	}

	options.Topics.Create = false
	none, err := NewCreator(options)
	if err != nil {
		t.Fatal(err)
	}
	defer none.Close()
	if err := none.Ensure(t.Context(), env.Topic("a"), ""); err != nil {
		t.Errorf("a topic that is there: %v", err)
	}
	if err := none.Ensure(t.Context(), env.Topic("z"), ""); !errors.Is(err, ErrNoTopic) {
		t.Errorf("a topic that isn't: %v", err)
	}

	options.Brokers = []string{"127.0.0.1:1"}
	away, err := NewCreator(options)
	if err != nil {
		t.Fatal(err)
	}
	defer away.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := away.Ensure(ctx, env.Topic("a"), ""); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrNoTopic) {
		t.Errorf("without Kafka: %v", err)
	}
}
