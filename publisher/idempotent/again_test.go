package idempotent

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestProducedAgain: a record whose partition is gone goes to another one, once, and whoever waits for it is told.
func TestProducedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(map[string]int{"a": 2})
		p := start(t, m, func(o *Options) { o.Journal = newMemory() })
		watch(t, p, "a")
		m.mu.Lock()
		m.pick = func(whole bool) fault {
			if whole {
				return none
			}
			return unknownTopic
		}
		m.mu.Unlock()
		r := &Record{Value: []byte("v"), Keep: true, Late: func(err error) { t.Errorf("told late: %v", err) }}
		time.AfterFunc(time.Second, func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.partitions["a"] = 1
		})
		if err := p.Produce(t.Context(), "a", 1, r); !errors.Is(err, ErrNoPartition) {
			t.Errorf("produced: %v", err)
		}
		m.mu.Lock()
		m.pick = func(bool) fault { return none }
		m.mu.Unlock()
		if err := p.Produce(t.Context(), "a", 0, r); err != nil {
			t.Errorf("produced again: %v", err)
		}
		p.Close(t.Context())
		if counts := m.counts(); len(counts) != 1 || counts["v"] != 1 {
			t.Errorf("in the logs: %v", counts)
		}
	})
}
