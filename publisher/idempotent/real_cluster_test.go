package idempotent

import (
	"fmt"
	"testing"
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
		value := fmt.Sprint("after", i)
		testenv.Eventually(t, 30*time.Second, func() error { return l.produce(t, old, "replaced", 0, value) })
	}
	settleAll(t, old)
	settleAll(t, other)
	l.check(t, c, "replaced")
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
