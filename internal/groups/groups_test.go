package groups

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	kafka "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/stream"
	"sluice/internal/testenv"
	"sluice/publisher/connect"
)

func both(t *testing.T, f func(t *testing.T, env *testenv.Env)) {
	t.Run("fake", func(t *testing.T) { f(t, testenv.Fake(t)) })
	t.Run("real", func(t *testing.T) { f(t, testenv.Real(t)) })
}

func newAdmin(t *testing.T, brokers []string) *Admin {
	t.Helper()
	a, err := New(t.Context(), brokers, connect.Options{ClientID: "groups-test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

// newTopic creates a topic of two partitions with ten records in each.
func newTopic(t *testing.T, env *testenv.Env, name string) string {
	t.Helper()
	topic := env.Topic(name)
	env.Kafka.(interface {
		CreateTopic(t testing.TB, name string, partitions int, config map[string]string)
	}).CreateTopic(t, topic, 2, nil)
	client, err := kgo.NewClient(kgo.SeedBrokers(env.Brokers()...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.UnknownTopicRetries(-1))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for i := range 20 {
		if err := client.ProduceSync(ctx, &kgo.Record{Topic: topic, Partition: int32(i % 2), Value: fmt.Appendf(nil, "%d", i)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	return topic
}

// join has a member of another client join the group, of the classic protocol or that of KIP-848, and read something.
func join(t *testing.T, env *testenv.Env, group, topic string, kip848 bool) (leave func()) {
	t.Helper()
	ctx := context.Background()
	if kip848 {
		ctx = context.WithValue(ctx, "opt_in_kafka_next_gen_balancer_beta", true) //nolint:revive,staticcheck // the key that kgo looks for
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(env.Brokers()...), kgo.WithContext(ctx), kgo.ClientID("reader-7"),
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	waiting, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if fetches := client.PollRecords(waiting, 1); fetches.NumRecords() != 1 {
		t.Fatalf("%v", fetches.Errors())
	}
	return client.Close
}

// TestGroup goes through the life of a group, of either protocol.
func TestGroup(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		topic := newTopic(t, env, "email_sent")
		for name, kip848 := range map[string]bool{"classic": false, "consumer": true} {
			t.Run(name, func(t *testing.T) {
				a, group := newAdmin(t, env.Brokers()), env.Prefix+"-"+name
				zero, one := stream.Partition{Topic: topic}, stream.Partition{Topic: topic, ID: 1}

				g, err := a.Describe(t.Context(), group)
				if err != nil || g.State != Missing || !g.MayBeSet() {
					t.Errorf("before anybody has joined: %+v, %v", g, err)
				}
				if offsets, err := a.Offsets(t.Context(), group); err != nil || len(offsets) != 0 {
					t.Errorf("offsets of no group: %v, %v", offsets, err)
				}

				leave := join(t, env, group, topic, kip848)
				defer leave()
				testenv.Eventually(t, 30*time.Second, func() error {
					g, err = a.Describe(t.Context(), group)
					if err != nil || len(g.Members) != 1 || len(g.Members[0].Partitions) != 2 {
						return fmt.Errorf("with a member: %+v, %w", g, err)
					}
					return nil
				})
				m := g.Members[0]
				if kip848 && env.IsFake() { // which doesn't name the topics
					m.Partitions[1] = one
				}
				if m.ClientID != "reader-7" || !strings.HasPrefix(m.Host, "127.0.0.1") || g.MayBeSet() || g.State == Unknown || !slices.Contains(m.Partitions, one) {
					t.Errorf("with a member: %+v", g)
				}
				if err := a.Set(t.Context(), group, map[stream.Partition]Offset{zero: {At: 3, Epoch: -1}}); !errors.Is(err, ErrJoined) && (err == nil || !kip848 || !env.IsFake()) {
					t.Errorf("set while there is a member: %v", err)
				}
				leave()
				testenv.Eventually(t, 30*time.Second, func() error {
					// Of a consumer's group without offsets nothing is left.
					if g, err = a.Describe(t.Context(), group); err != nil || !g.MayBeSet() {
						return fmt.Errorf("after it has left: %+v, %w", g, err)
					}
					return nil
				})

				want := map[stream.Partition]Offset{zero: {At: 3, Epoch: -1, Metadata: "x"}, one: {At: 10, Epoch: -1}}
				if err := a.Set(t.Context(), group, want); err != nil {
					t.Fatal(err)
				}
				if offsets, err := a.Offsets(t.Context(), group); err != nil || !maps.Equal(offsets, want) {
					t.Errorf("offsets: %v, %v, want %v", offsets, err, want)
				}
				if names, err := a.List(t.Context()); err != nil || !slices.Contains(names, group) {
					t.Errorf("listed: %v, %v", names, err)
				}
				if err := a.Forget(t.Context(), group, []stream.Partition{zero}); err != nil {
					t.Fatal(err)
				}
				delete(want, zero)
				if offsets, err := a.Offsets(t.Context(), group); err != nil || !maps.Equal(offsets, want) {
					t.Errorf("after one was forgotten: %v, %v, want %v", offsets, err, want)
				}
				if err := a.Forget(t.Context(), env.Prefix+"-none", []stream.Partition{zero}); err != nil {
					t.Errorf("forgetting what isn't there: %v", err)
				}
			})
		}
	})
}

// TestReader has kafka-go's reader go on where a group was set.
func TestReader(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		topic, group := newTopic(t, env, "email_sent"), env.Prefix+"-reader"
		err := newAdmin(t, env.Brokers()).Set(t.Context(), group, map[stream.Partition]Offset{
			{Topic: topic}: {At: 3, Epoch: -1}, {Topic: topic, ID: 1}: {At: 10, Epoch: -1},
		})
		if err != nil {
			t.Fatal(err)
		}
		r := kafka.NewReader(kafka.ReaderConfig{Brokers: env.Brokers(), Topic: topic, GroupID: group, MaxWait: 100 * time.Millisecond})
		defer func() {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		for want := int64(3); want < 10; want++ {
			if m, err := r.FetchMessage(ctx); err != nil || m.Partition != 0 || m.Offset != want {
				t.Fatalf("read %d@%d, %v, want 0@%d", m.Partition, m.Offset, err, want)
			}
		}
	})
}

// TestShare is of a kind of group that can't be described: nothing is claimed of it.
func TestShare(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		topic, group := newTopic(t, env, "email_sent"), env.Prefix+"-share"
		client, err := kgo.NewClient(kgo.SeedBrokers(env.Brokers()...), kgo.ShareGroup(group), kgo.ConsumeTopics(topic))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		polling, stop := context.WithCancel(t.Context())
		polled := make(chan struct{})
		go func() {
			defer close(polled)
			client.PollFetches(polling)
		}()
		defer func() { stop(); <-polled }()
		a := newAdmin(t, env.Brokers())
		testenv.Eventually(t, 30*time.Second, func() error {
			g, err := a.Describe(t.Context(), group)
			if err != nil || g.State != Unknown || g.MayBeSet() {
				return fmt.Errorf("%+v, %w", g, err)
			}
			return nil
		})
		if offsets, err := a.Offsets(t.Context(), group); err != nil || len(offsets) != 0 {
			t.Errorf("offsets: %v, %v", offsets, err)
		}
	})
}

func TestUnreachable(t *testing.T) {
	a := newAdmin(t, []string{"127.0.0.1:1"})
	a.patience = time.Second
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.List(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := a.Describe(t.Context(), "g"); !errors.Is(err, stream.ErrUnreachable) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("nobody there: %v", err)
	}
}
