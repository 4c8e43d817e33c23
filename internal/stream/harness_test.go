package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap/zaptest"

	"sluice/internal/testenv"
)

// testWait bounds what a test waits for.
const testWait = 30 * time.Second

func both(t *testing.T, f func(t *testing.T, env *testenv.Env)) {
	t.Run("fake", func(t *testing.T) { f(t, testenv.Fake(t)) })
	t.Run("real", func(t *testing.T) { f(t, testenv.Real(t)) })
}

// world is a cluster and a writer to it that shares no code with the reader.
type world struct {
	*testing.T
	env   *testenv.Env
	kafka *kgo.Client
	base  time.Time // records' times are this and some milliseconds
}

func newWorld(t *testing.T, env *testenv.Env) *world {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(env.Brokers()...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MetadataMinAge(10*time.Millisecond), kgo.MaxBufferedRecords(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return &world{T: t, env: env, kafka: cl, base: time.Now().Add(-time.Hour).UTC().Truncate(time.Second)}
}

func (w *world) ask(req kmsg.Request) kmsg.Response {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), testWait)
	defer cancel()
	res, err := w.kafka.Request(ctx, req)
	if err != nil {
		w.Fatal(err)
	}
	return res
}

// topic creates a topic named after the test's prefix.
func (w *world) topic(name string, partitions int) string {
	w.Helper()
	name = w.env.Topic(name)
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 10_000
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, int32(partitions), 1
	req.Topics = append(req.Topics, topic)
	testenv.Eventually(w, testWait, func() error { // a topic of that name may still be being deleted
		return kerr.ErrorForCode(w.ask(req).(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode)
	})
	return name
}

func (w *world) deleteTopic(name string) {
	w.Helper()
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis, req.TopicNames = 10_000, []string{name}
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.Topic = new(name)
	req.Topics = append(req.Topics, topic)
	if err := kerr.ErrorForCode(w.ask(req).(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode); err != nil {
		w.Fatal(err)
	}
}

// write appends a record whose value is its text and whose time is so many milliseconds after the base.
func (w *world) write(topic string, partition int, after int, text string) {
	w.Helper()
	r := &kgo.Record{
		Topic: topic, Partition: int32(partition), Timestamp: w.base.Add(time.Duration(after) * time.Millisecond), Value: []byte(text),
		Headers: []kgo.RecordHeader{{Key: "event-type", Value: []byte(strings.Fields(text)[0])}},
	}
	ctx, cancel := context.WithTimeout(w.Context(), testWait)
	defer cancel()
	testenv.Eventually(w, testWait, func() error {
		err := w.kafka.ProduceSync(ctx, r).FirstErr()
		if errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.UnknownTopicID) {
			return err // a topic just created
		}
		if err != nil {
			w.Fatal(err)
		}
		return nil
	})
}

func (w *world) options(o Options) Options {
	o.Brokers, o.Log = w.env.Brokers(), zaptest.NewLogger(w)
	if o.Match == nil && o.Topics == nil {
		o.Match = func(topic string) bool { return strings.HasPrefix(topic, w.env.Prefix+"_") }
	}
	return o
}

// read runs a reader that isn't to follow and returns the records' values.
func (w *world) read(o Options) []string {
	w.Helper()
	r, err := NewReader(w.options(o))
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(w.Context(), testWait)
	defer cancel()
	var got []string
	err = r.Run(ctx, func(x Record) error {
		got = append(got, string(x.Value))
		return nil
	})
	if err != nil || ctx.Err() != nil {
		w.Fatalf("Run: %v, context: %v; got %q", err, ctx.Err(), got)
	}
	return got
}

func (w *world) want(what string, got []string, want ...string) {
	w.Helper()
	if !slices.Equal(got, want) {
		w.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

// follower is a reader that follows.
type follower struct {
	w       *world
	records chan Record
	stop    func() error
}

// follow starts one and waits until it is ready.
func (w *world) follow(o Options) *follower {
	w.Helper()
	o.Follow = true
	ready := make(chan int, 1)
	o.Ready = func(topics int) { ready <- topics }
	r, err := NewReader(w.options(o))
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.Context())
	f := &follower{w: w, records: make(chan Record, 10_000)}
	ended := make(chan error, 1)
	go func() {
		ended <- r.Run(ctx, func(x Record) error {
			f.records <- x
			return nil
		})
	}()
	var result error
	stopped := false
	f.stop = func() error {
		cancel()
		if !stopped {
			stopped = true
			select {
			case result = <-ended:
			case <-time.After(testWait):
				w.Error("Run doesn't return")
			}
		}
		return result
	}
	w.Cleanup(func() { _ = f.stop() })
	select {
	case <-ready:
	case err := <-ended:
		stopped = true
		w.Fatalf("Run: %v", err)
	case <-time.After(testWait):
		w.Fatal("the follower isn't ready")
	}
	return f
}

// expect waits for the next records and compares their values.
func (f *follower) expect(want ...string) {
	f.w.Helper()
	for _, value := range want {
		select {
		case x := <-f.records:
			if string(x.Value) != value {
				f.w.Fatalf("got %q at %s/%d@%d, want %q", x.Value, x.Topic, x.Partition, x.Offset, value)
			}
		case <-time.After(testWait):
			f.w.Fatalf("nothing arrived, want %q", value)
		}
	}
}

func numbered(prefix string, from, to int) (texts []string) {
	for i := from; i < to; i++ {
		texts = append(texts, fmt.Sprintf("%s %d", prefix, i))
	}
	return texts
}
