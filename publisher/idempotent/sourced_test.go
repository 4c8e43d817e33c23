package idempotent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/publisher/spool"
)

// origins is a journal that also tells which records it holds, settled or not, but not what was dropped.
type origins struct {
	*memory
	t    *testing.T
	tags map[uint64][]string
	rng  *rand.Rand // of failures; guarded by memory.mu, as tags is
}

func (o *origins) Append(at time.Time, additions ...spool.Addition) (uint64, error) {
	o.mu.Lock()
	refuses := o.rng.IntN(10) == 0
	o.mu.Unlock()
	if refuses {
		return 0, errNoRoom
	}
	first, err := o.memory.Append(at, additions...)
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range additions {
		b, perr := ParseEntry(first+uint64(i), o.entries[first+uint64(i)])
		if perr != nil {
			o.t.Error(perr)
			continue
		}
		for _, r := range b.Records {
			o.tags[b.number] = append(o.tags[b.number], r.Tag)
		}
	}
	return first, err
}

func (o *origins) Drop(numbers ...uint64) error {
	o.mu.Lock()
	for _, n := range numbers {
		delete(o.tags, n)
	}
	o.mu.Unlock()
	return o.memory.Drop(numbers...)
}

func (o *origins) held() map[string]bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	held := map[string]bool{}
	for _, tags := range o.tags {
		for _, tag := range tags {
			held[tag] = true
		}
	}
	return held
}

// TestSourcedOverLives has each life give again what the journal doesn't hold, over kills, a cluster that fails in every way
// that the model knows, batches that are too large, and a journal that refuses now and then.
func TestSourcedOverLives(t *testing.T) {
	for seed := range uint64(150) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { sourcedOverLives(t, seed) })
		})
	}
}

func sourcedOverLives(t *testing.T, seed uint64) {
	rng, chaos := rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 3)) // chaos is used under m.mu
	m := newModel(map[string]int{"a": 2, "b": 1})
	m.brokers, m.replay, m.maxBatch = 3, rand.New(rand.NewPCG(seed, 2)), 300
	m.leader = func(topic string, id int32) int32 { return 1 + (int32(len(topic))+id+int32(chaos.IntN(2)))%3 }
	m.pick = func(whole bool) fault {
		if chaos.IntN(3) > 0 {
			return none
		}
		if whole {
			return dialRefused + fault(chaos.IntN(3))
		}
		return timedOut + fault(chaos.IntN(int(faults-timedOut)))
	}
	journal := &origins{memory: newMemory(), t: t, tags: map[uint64][]string{}, rng: rand.New(rand.NewPCG(seed, 4))}
	const n = 150
	for life := range 6 {
		p := start(t, m, func(o *Options) { o.MaxBatchBytes, o.Journal, o.Sourced = 400, journal, true })
		var mu sync.Mutex
		told := map[string]int{}
		late := func(tag string) func(error) {
			return func(err error) {
				mu.Lock()
				defer mu.Unlock()
				told[tag]++
				if err != nil && !errors.Is(err, ErrUnresolved) && !errors.Is(err, ErrNotSent) {
					t.Errorf("%s: %v", tag, err)
				}
			}
		}
		held, restored := journal.held(), journal.left(t)
		given := 0
		for _, b := range restored {
			for _, r := range b.Records {
				r.Late = late(r.Tag)
				given++
			}
		}
		p.Restore(restored)
		watch(t, p, "a", "b")
		for i := range n {
			value := fmt.Sprint("v", i)
			if held[value] {
				continue
			}
			topic, id := "a", int32(i%2)
			if i%5 == 0 {
				topic, id = "b", 0
			}
			if err := p.Hand(topic, id, &Record{Value: []byte(value), Tag: value, Late: late(value)}); err != nil {
				t.Fatal(err)
			}
			given++
			if i%30 == 0 {
				<-time.After(time.Duration(rng.IntN(100)) * time.Millisecond) // virtual time
			}
		}
		ctx, die := context.WithCancel(t.Context())
		if life < 5 {
			<-time.After(time.Duration(rng.IntN(1000)) * time.Millisecond)
			die()
		}
		done, cancel := context.WithTimeout(ctx, 10*time.Minute)
		if left := p.Close(done); life == 5 && left != 0 {
			t.Errorf("%d unresolved at the end", left)
		}
		cancel()
		die()
		if len(told) != given {
			t.Errorf("%d of %d records were told an outcome", len(told), given)
		}
		for tag, times := range told {
			if times != 1 {
				t.Errorf("%s was told %d outcomes", tag, times)
			}
		}
	}
	counts := m.counts()
	for i := range n {
		if value := fmt.Sprint("v", i); counts[value] != 1 {
			t.Errorf("%s is in the logs %d times", value, counts[value])
		}
	}
}
