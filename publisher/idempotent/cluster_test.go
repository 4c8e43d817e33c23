package idempotent

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/testenv"
)

// TestRealClusterReplaced starts Kafka anew under a producer. The new cluster gives the producer's id to another one: a
// batch under it would be taken for a copy of the other's, and be lost without a word.
func TestRealClusterReplaced(t *testing.T) {
	c := testenv.Kafka(t)
	c.CreateTopic(t, "replaced", 1, nil)
	old := connect(t, c.Bootstrap(), nil)
	watch(t, old, "replaced")
	before := &ledger{err: map[string]error{}}
	for i := range 3 {
		if err := before.produce(t, old, "replaced", 0, fmt.Sprint("before", i)); err != nil {
			t.Fatal(err)
		}
	}
	c.Wipe(t)
	c.CreateTopic(t, "replaced", 1, nil)
	other := connect(t, c.Bootstrap(), nil)
	watch(t, other, "replaced")
	l := &ledger{err: map[string]error{}}
	for i := range 5 { // the sequence numbers that the old one would go on with
		if err := l.produce(t, other, "replaced", 0, fmt.Sprint("other", i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 {
		try := 0
		testenv.Eventually(t, 30*time.Second, func() error {
			try++ // another value: the outcome of the one before may still come
			return l.produce(t, old, "replaced", 0, fmt.Sprint("after", i, " try ", try))
		})
	}
	settleAll(t, old)
	settleAll(t, other)
	l.check(t, c, "replaced")
}

// TestReplacedUnnoticed: no request fails and no metadata is asked for, and another instance has been given the producer
// id and has used the sequence numbers that this one goes on with.
func TestReplacedUnnoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(map[string]int{"topic": 1})
		m.cluster = "first"
		p := start(t, m, func(o *Options) { o.Opened, o.MetadataInterval = m.connections, time.Hour })
		watch(t, p, "topic")
		l := &ledger{err: map[string]error{}}
		for i := range 3 {
			_ = l.produce(t, p, "topic", 0, fmt.Sprint("before", i))
		}
		m.replace("second")
		other := start(t, m, nil)
		watch(t, other, "topic")
		for i := range 8 {
			_ = l.produce(t, other, "topic", 0, fmt.Sprint("other", i))
		}
		for i := range 3 {
			value := fmt.Sprint("after", i)
			if err := l.produce(t, p, "topic", 0, value); err != nil {
				t.Errorf("%s: %v", value, err)
			}
		}
		settleAll(t, p)
		settleAll(t, other)
		for value, n := range m.counts() {
			if n != 1 {
				t.Errorf("%s: %d times", value, n)
			}
		}
		if n := len(m.counts()); n != 8+3 {
			t.Errorf("%d values in the new cluster", n)
		}
	})
}

// TestRestoredForAnotherCluster stamps anew what was written down for a cluster that isn't there any more.
func TestRestoredForAnotherCluster(t *testing.T) {
	records := []*Record{{Value: []byte("v"), Tag: "e1"}}
	for _, written := range []string{"", "mine", "another"} {
		pt := &partition{topic: "topic", id: 0, batch: &batch{records: records, stamp: stamp{7, 2, 5}, cluster: written}}
		pt.batch.encoded = encodeBatch(records, pt.batch.stamp, time.Now())
		restored, err := ParseEntry(1, encodePayload(pt))
		if err != nil {
			t.Fatal(err)
		}
		p := &Producer{cluster: "mine", restored: map[partitionKey][]*batch{}, lanes: map[laneKey]*lane{}, partitions: map[partitionKey]*partition{}, watched: map[string]bool{}, refresh: make(chan struct{}, 1)}
		p.Restore([]*Restored{restored})
		known := &partition{topic: "topic", leader: -1}
		p.bring(known)
		if stamped := len(known.restored) == 1; stamped != (written != "another") || len(known.restored)+len(known.queue) != 1 {
			t.Errorf("written for %q: %d under their stamp, %d to be stamped", written, len(known.restored), len(known.queue))
		}
	}
}
