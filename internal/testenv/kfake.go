package testenv

import (
	"maps"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

// FakeCluster is a Kafka cluster inside the test binary.
type FakeCluster struct {
	*kfake.Cluster // for its fault functions: ControlKey, MoveTopicPartition, …
}

var _ Source = (*FakeCluster)(nil)

// Kfake starts a fake cluster for this test: one broker, one partition a topic, no topic made unasked, unless opts
// say otherwise. It keeps one producer epoch for the whole cluster, so sequence recovery is for real Kafka only.
func Kfake(t testing.TB, opts ...kfake.Opt) *FakeCluster {
	t.Helper()
	defaults := []kfake.Opt{kfake.NumBrokers(1), kfake.DefaultNumPartitions(1)}
	c, err := kfake.NewCluster(append(defaults, opts...)...)
	if err != nil {
		t.Fatalf("starting kfake: %v", err)
	}
	t.Cleanup(c.Close)
	return &FakeCluster{Cluster: c}
}

// Bootstrap is the brokers' addresses.
func (c *FakeCluster) Bootstrap() []string { return c.ListenAddrs() }

func (c *FakeCluster) direct() client { return client{bootstrap: c.ListenAddrs()} }

// Topics is the names of the topics that begin with prefix.
func (c *FakeCluster) Topics(t testing.TB, prefix string) []string {
	t.Helper()
	found, err := c.direct().topics(t.Context(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(maps.Keys(found))
}

// CreateTopic creates a topic.
func (c *FakeCluster) CreateTopic(t testing.TB, name string, partitions int, config map[string]string) {
	t.Helper()
	if err := c.direct().createTopic(t.Context(), name, int32(partitions), -1, config); err != nil {
		t.Fatal(err)
	}
}

// Consume reads the topics through franz-go.
func (c *FakeCluster) Consume(t testing.TB, topics ...string) []Record {
	t.Helper()
	records, err := c.direct().readAll(t.Context(), topics)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// ConsumeAll is Consume for the topics that begin with prefix.
func (c *FakeCluster) ConsumeAll(t testing.TB, prefix string) []Record {
	t.Helper()
	return c.Consume(t, c.Topics(t, prefix)...)
}
