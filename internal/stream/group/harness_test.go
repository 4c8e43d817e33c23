package group

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap/zaptest"

	"sluice/internal/stream"
	"sluice/internal/testenv"
)

// testWait bounds what a test waits for.
const testWait = time.Minute

func both(t *testing.T, f func(t *testing.T, env *testenv.Env)) {
	t.Run("fake", func(t *testing.T) { f(t, testenv.Fake(t)) })
	t.Run("real", func(t *testing.T) { f(t, testenv.Real(t)) })
}

// world is a cluster with a group on it, and a client that shares no code with the member.
type world struct {
	*testing.T
	env   *testenv.Env
	group string
	kafka *kgo.Client
	admin *kadm.Client
	at    time.Time // of the records to write; zero: now
}

func newWorld(t *testing.T, env *testenv.Env) *world {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(env.Brokers()...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MetadataMinAge(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return &world{T: t, env: env, group: env.Topic("group"), kafka: cl, admin: kadm.NewClient(cl)}
}

// topic creates one.
func (w *world) topic(name string, partitions int) string {
	w.Helper()
	name = w.env.Topic(name)
	w.eventually(func(ctx context.Context) error {
		_, err := w.admin.CreateTopic(ctx, int32(partitions), 1, nil, name)
		return err
	})
	return name
}

// write appends records with the values "PREFIX n" for each n that is at least from and below to, in turn to the partitions.
func (w *world) write(topic string, partitions int, prefix string, from, to int) (values []string) {
	w.Helper()
	for n := from; n < to; n++ {
		value := fmt.Sprintf("%s %d", prefix, n)
		values = append(values, value)
		w.eventually(func(ctx context.Context) error {
			return w.kafka.ProduceSync(ctx, &kgo.Record{
				Topic: topic, Partition: int32(n % partitions), Value: []byte(value), Timestamp: w.at,
			}).FirstErr()
		})
	}
	return values
}

func (w *world) eventually(do func(context.Context) error) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), testWait)
	defer cancel()
	testenv.Eventually(w, testWait, func() error { return do(ctx) })
}

// committed are the group's offsets in a topic, by partition.
func (w *world) committed(topic string) map[int32]int64 {
	w.Helper()
	at := make(map[int32]int64)
	w.eventually(func(ctx context.Context) error {
		found, err := w.admin.FetchOffsets(ctx, w.group)
		for id, o := range found[topic] {
			at[id] = o.At
		}
		return err
	})
	return at
}

// kept is a sink that notes what it was given. It gives tickets back at once. With hold it never does, and settling takes
// all of its time.
type kept struct {
	mu      sync.Mutex
	values  []string
	hold    bool
	tickets []stream.Ticket
	drained int
}

func (k *kept) Write(ctx context.Context, r *stream.Record, t stream.Ticket) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.values = append(k.values, string(r.Value))
	if k.hold {
		k.tickets = append(k.tickets, t)
		return ctx.Err()
	}
	t.Kept()
	return ctx.Err()
}

func (k *kept) Settle(ctx context.Context) error {
	if k.hold {
		<-ctx.Done()
	}
	return ctx.Err()
}

func (k *kept) Close() error { return nil }

func (k *kept) Drain() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.drained++
}

func (k *kept) sorted() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Sorted(slices.Values(k.values))
}

// member is a running member.
type member struct {
	*Member
	w     *world
	end   context.CancelFunc
	ended chan error
}

func (w *world) options(sink stream.Sink, topics ...string) Options {
	return Options{
		Brokers: w.env.Brokers(), Group: w.group, Topics: topics, Log: zaptest.NewLogger(w), Session: 6 * time.Second,
		Settle: 2 * time.Second, Sink: func() (stream.Sink, error) { return sink, nil },
	}
}

func (w *world) start(o Options) *member {
	w.Helper()
	m, err := New(o)
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.Context())
	x := &member{Member: m, w: w, end: cancel, ended: make(chan error, 1)}
	go func() { x.ended <- m.Run(ctx) }()
	w.Cleanup(func() {
		cancel()
		_ = x.wait()
	})
	return x
}

// stop ends the member and waits for that.
func (m *member) stop() {
	m.w.Helper()
	m.end()
	if err := m.wait(); err != nil {
		m.w.Errorf("Run: %v", err)
	}
}

func (m *member) wait() error {
	m.w.Helper()
	select {
	case err := <-m.ended:
		m.ended <- err
		return err
	case <-time.After(testWait):
		m.w.Fatal("Run doesn't return")
		return nil
	}
}

// expect waits until the sinks together have the values, in any order.
func (w *world) expect(want []string, sinks ...*kept) {
	w.Helper()
	slices.Sort(want)
	testenv.Eventually(w, testWait, func() error {
		var got []string
		for _, k := range sinks {
			got = append(got, k.sorted()...)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			return fmt.Errorf("got  %s\nwant %s", strings.Join(got, ", "), strings.Join(want, ", "))
		}
		return nil
	})
}
