package publisher

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/testenv"
)

// TestOutboxModel has callers of little patience publish while topics come and go and the process restarts, as a seed
// says, and compares what each was told with what the topics hold when Kafka has healed.
func TestOutboxModel(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { outboxModel(t, seed) })
	}
}

// fated is an event and what is said of it.
type fated struct {
	id      string
	outcome Outcome
	late    []Outcome // what Late was told
}

func outboxModel(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	kafka, dir := testenv.Kfake(t), t.TempDir()
	away := map[string]*atomic.Bool{"om_email_sent": {}, "om_email_opened": {}}
	kafka.RefuseProduce(func(topic string) int16 {
		if on := away[topic]; on != nil && on.Load() {
			return 19 // NOT_ENOUGH_REPLICAS
		}
		return 0
	})
	p, err := New(spooling("om", kafka, dir))
	if err != nil {
		t.Fatal(err)
	}

	var mu sync.Mutex // guards the fated
	var events [6][]*fated
	for range 6 { // lives
		var wg sync.WaitGroup
		for w := range events {
			patience := rand.New(rand.NewPCG(seed, rng.Uint64()))
			wg.Go(func() {
				for range 40 {
					most := []int{3, 300, 3000}[patience.IntN(3)]
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+patience.IntN(most))*time.Millisecond)
					mu.Lock()
					f := &fated{id: fmt.Sprintf("w%d-%05d", w, len(events[w]))}
					events[w] = append(events[w], f)
					mu.Unlock()
					m := message(t, fmt.Sprintf(`{"event_id":%q,"event_type":"%s","data":{"identifiers":{"id":"c%d"}}}`,
						f.id, []string{"email_sent", "email_opened"}[w%2], w))
					m.DedupeID = func() string { return f.id }
					m.Late = func(o Outcome) {
						mu.Lock()
						defer mu.Unlock()
						f.late = append(f.late, o)
					}
					o, err := p.Publish(ctx, m)
					cancel()
					mu.Lock()
					if f.outcome = o; (err == nil) != (o == Published || o == Spooled) {
						t.Errorf("%s: %v, %v", f.id, o, err)
					}
					mu.Unlock()
				}
			})
		}
		for range 3 {
			<-time.After(time.Duration(rng.IntN(150)) * time.Millisecond) // real: kfake has no other clock
			for _, on := range away {
				on.Store(rng.IntN(2) == 0)
			}
		}
		wg.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rng.IntN(300))*time.Millisecond)
		_ = p.Close(ctx) // what it leaves is on disk
		cancel()
		if p, err = New(spooling("om", kafka, dir)); err != nil {
			t.Fatal(err)
		}
	}
	for _, on := range away {
		on.Store(false)
	}
	drained(t, p)
	first(t, p)
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}

	where := map[string][]int{} // offsets, by id
	for topic := range away {
		for i, r := range kafka.Consume(t, topic) {
			id, _ := r.Header("ce_id")
			where[id] = append(where[id], i)
		}
	}
	told := map[Outcome]int{}
	for w := range events {
		last := -1
		for _, f := range events[w] {
			told[f.outcome]++
			there := where[f.id]
			outcome := f.outcome
			if outcome == Unknown && len(f.late) == 1 {
				outcome = f.late[0]
			}
			switch {
			case len(f.late) > 1 || len(f.late) == 1 && (f.outcome != Unknown && f.outcome != Spooled || f.outcome == Spooled && f.late[0] != Published):
				t.Errorf("%s is told %v, and late %v", f.id, f.outcome, f.late)
			case outcome == NotKept && len(there) > 0:
				t.Errorf("%s isn't kept, and is there: told %v, late %v", f.id, f.outcome, f.late)
			case (outcome == Published || outcome == Spooled) && len(there) != 1:
				t.Errorf("%s is kept, and there %d times: told %v, late %v", f.id, len(there), f.outcome, f.late)
			case len(there) > 1:
				t.Errorf("%s is there %d times", f.id, len(there))
			case (f.outcome == Published || f.outcome == Spooled) && there[0] < last:
				t.Errorf("%s stands before what was kept before it", f.id)
			case f.outcome == Published || f.outcome == Spooled:
				last = there[0]
			}
		}
	}
	if told[Spooled] == 0 || told[Published] == 0 {
		t.Errorf("this seed shows nothing: %v", told)
	}
}
