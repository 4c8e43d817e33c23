package testenv

import (
	"cmp"
	"slices"
	"testing"
	"time"
)

// Record is a Kafka record as a reader found it.
type Record struct {
	Topic     string
	Partition int32
	Offset    int64
	Time      time.Time // the record's timestamp, to the millisecond
	Key       []byte    // nil when the record has none; empty and nil are told apart
	Value     []byte    // nil for a tombstone
	Headers   []Header  // in the order written; names may repeat
}

// Header is one header of a record.
type Header struct {
	Name  string
	Value []byte // nil when the header has none
}

// Header is the value of the first header with that name, and whether there is one.
func (r Record) Header(name string) (string, bool) {
	for _, h := range r.Headers {
		if h.Name == name {
			return string(h.Value), true
		}
	}
	return "", false
}

// Source is a Kafka cluster as tests see it: *Cluster (real) or *FakeCluster (kfake).
type Source interface {
	// Bootstrap is the addresses that clients are given, each host:port.
	Bootstrap() []string
	// Topics is the names of the topics that begin with prefix, sorted, without Kafka's own.
	Topics(t testing.TB, prefix string) []string
	// Consume reads everything that the topics hold now, by a reader that shares no code with Sluice's writer. The
	// records are ordered by topic, partition and offset. A topic that doesn't exist fails the test.
	Consume(t testing.TB, topics ...string) []Record
	// ConsumeAll is Consume for the topics that begin with prefix; none is no error.
	ConsumeAll(t testing.TB, prefix string) []Record
}

// sortRecords puts records into the order that Consume promises.
func sortRecords(records []Record) {
	slices.SortFunc(records, func(a, b Record) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
}
