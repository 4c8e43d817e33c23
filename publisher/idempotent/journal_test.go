package idempotent

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/publisher/spool"
)

// memory is a journal whose reader comes after the process's end: what was settled since the last write is back.
type memory struct {
	mu      sync.Mutex
	next    uint64
	entries map[uint64][]byte
	lazy    []uint64 // settled, and not written down
	fail    bool
}

func newMemory() *memory { return &memory{next: 1, entries: map[uint64][]byte{}} }

var errNoRoom = errors.New("no room")

func (m *memory) Append(_ time.Time, additions ...spool.Addition) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail {
		return 0, errNoRoom
	}
	m.flush()
	first := m.next
	for _, a := range additions {
		m.entries[m.next] = slices.Concat(a.Payload, a.Rest)
		m.next++
		for _, n := range a.Supersedes {
			delete(m.entries, n)
		}
	}
	return first, nil
}

func (m *memory) Settle(numbers ...uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lazy = append(m.lazy, numbers...)
}

func (m *memory) Drop(numbers ...uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail {
		return errNoRoom
	}
	m.lazy = append(m.lazy, numbers...)
	m.flush()
	return nil
}

func (m *memory) flush() {
	for _, n := range m.lazy {
		delete(m.entries, n)
	}
	m.lazy = nil
}

// left is what the next process finds.
func (m *memory) left(t *testing.T) (batches []*Restored) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lazy = nil
	for n := uint64(1); n < m.next; n++ {
		if payload, ok := m.entries[n]; ok {
			b, err := ParseEntry(n, payload)
			if err != nil {
				t.Fatal(err)
			}
			batches = append(batches, b)
		}
	}
	return batches
}

// TestExactlyOnceOverLives kills the producer at a random moment, with requests under way, and lets another one go on
// from the journal.
func TestExactlyOnceOverLives(t *testing.T) {
	relied := 0
	for seed := range uint64(150) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { relied += overLives(t, seed) })
		})
	}
	if relied < 100 {
		t.Errorf("%d callers have relied on the journal", relied)
	}
}

// overLives returns how many callers were told that their record is written down.
func overLives(t *testing.T, seed uint64) (relied int) {
	rng, chaos := rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 3)) // chaos is used under m.mu
	m := newModel(map[string]int{"a": 2, "b": 1})
	m.brokers, m.replay = 3, rand.New(rand.NewPCG(seed, 2))
	faulty := true
	m.leader = func(topic string, id int32) int32 { return 1 + (int32(len(topic))+id+int32(chaos.IntN(2)))%3 }
	m.pick = func(whole bool) fault {
		if !faulty || chaos.IntN(3) > 0 {
			return none
		}
		if whole {
			return dialRefused + fault(chaos.IntN(3))
		}
		return timedOut + fault(chaos.IntN(int(faults-timedOut)))
	}
	journal := newMemory()
	told := map[string]error{} // by value; what was told late too
	var mu sync.Mutex
	n := 0
	tell := func(value string, err error) {
		mu.Lock()
		defer mu.Unlock()
		told[value] = err
	}
	for life := range 3 {
		p := start(t, m, func(o *Options) {
			o.MaxBatchBytes, o.Journal = 400, journal
			o.firstSequence = math.MaxInt32 - int32(rng.IntN(40))
		})
		restored := journal.left(t)
		for _, b := range restored {
			for _, r := range b.Records {
				if r.Tag != string(r.Value) {
					t.Errorf("record %s comes back with the tag %s", r.Value, r.Tag)
				}
				// Its next life owns it: whatever the last one has told, it will be in the log.
				tell(r.Tag, errPending)
				r.Late = func(err error) { tell(r.Tag, err) }
			}
		}
		p.Restore(restored)
		watch(t, p, "a", "b")
		ctx, die := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 60 {
			value := fmt.Sprint("v", n)
			topic, id := "a", int32(n%2)
			if n%5 == 0 {
				topic, id = "b", 0
			}
			n++
			patience := time.Duration(1+rng.IntN(3000)) * time.Millisecond
			r := &Record{Value: []byte(value), Tag: value, Keep: rng.IntN(2) == 0}
			r.Late = func(err error) {
				if r.Kept() && err != nil {
					err = errPending // the journal has it
				}
				tell(value, err)
			}
			wg.Go(func() {
				pctx, cancel := context.WithTimeout(ctx, patience)
				defer cancel()
				switch err := p.Produce(pctx, topic, id, r); {
				case errors.Is(err, ErrWritten):
					mu.Lock()
					relied++
					mu.Unlock()
				case !errors.Is(err, ErrUnresolved):
					tell(value, err)
				}
			})
			if n%20 == 0 {
				<-time.After(time.Duration(rng.IntN(400)) * time.Millisecond) // virtual time
			}
		}
		if life < 2 {
			<-time.After(time.Duration(rng.IntN(1500)) * time.Millisecond)
			die()
			p.Close(ctx) // at once, as a kill
			wg.Wait()
			continue
		}
		wg.Wait()
		die()
		m.mu.Lock()
		faulty = false
		m.mu.Unlock()
		for range 600 { // Close doesn't wait for what is in the journal
			if p.waiting.Load() > 0 {
				<-time.After(100 * time.Millisecond)
			}
		}
		done, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if left := p.Close(done); left != 0 {
			t.Errorf("%d unresolved after the cluster recovered", left)
		}
	}
	counts := m.counts()
	for value, err := range told {
		switch count := counts[value]; {
		case err == nil && count != 1, count > 1:
			t.Errorf("%s: told %v, %d in the logs", value, err, count)
		case errors.Is(err, ErrNotSent) && count != 0:
			t.Errorf("%s: told that it wasn't sent, %d in the logs", value, count)
		case errors.Is(err, errPending):
			t.Errorf("%s: came back from the journal and was never settled", value)
		}
	}
	if batches := journal.left(t); len(batches) > 3 {
		t.Errorf("%d batches are left in the journal of three partitions at rest", len(batches))
	}
	return relied
}

// TestRestoredTheTopicDoesntTake gives a restored batch back to its owner when the topic refuses it, and lets it go from
// the journal only when it stands elsewhere.
func TestRestoredTheTopicDoesntTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(map[string]int{"a": 1, "dead": 1})
		journal := newMemory()
		first := start(t, m, func(o *Options) { o.Journal = journal })
		m.leader = func(topic string, _ int32) int32 { return map[string]int32{"a": 1, "dead": 1}[topic] }
		m.pick = func(whole bool) fault {
			if whole {
				return lostRequest
			}
			return none
		}
		watch(t, first, "a")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := first.Produce(ctx, "a", 0, &Record{Value: []byte("too large"), Tag: "t"}); !errors.Is(err, ErrUnresolved) {
			t.Fatal(err)
		}
		first.Close(ctx)
		restored := journal.left(t)
		if len(restored) != 1 || restored[0].Topic != "a" {
			t.Fatalf("%+v", restored)
		}

		m.mu.Lock()
		m.pick, m.maxBatch = func(bool) fault { return none }, 5
		m.mu.Unlock()
		second := start(t, m, func(o *Options) { o.Journal = journal })
		late := make(chan error, 1)
		old := restored[0].Records[0]
		old.Late = func(err error) { late <- err }
		second.Restore(restored)
		if err, is := errors.AsType[*RefusedError](<-late); !is || err.Topic != "a" {
			t.Fatalf("told %v", err)
		}
		if n := len(journal.left(t)); n != 1 {
			t.Fatalf("refused, and %d entries are in the journal: a kill now would lose it", n)
		}
		m.mu.Lock()
		m.maxBatch = math.MaxInt
		m.mu.Unlock()
		watch(t, second, "dead")
		if err := second.Produce(t.Context(), "dead", 0, &Record{Value: old.Value, Tag: old.Tag, Instead: old}); err != nil {
			t.Fatal(err)
		}
		second.Close(t.Context())
		if err := journal.Drop(); err != nil { // writes down what was settled
			t.Fatal(err)
		}
		if n := len(journal.left(t)); n != 0 {
			t.Errorf("%d entries are left", n)
		}
		if counts := m.counts(); counts["too large"] != 1 {
			t.Errorf("in the logs: %v", counts)
		}
	})
}

// TestRestoredOfATopicThatIsGone tells the owner, so that it finds another place.
func TestRestoredOfATopicThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, newModel(map[string]int{"a": 1}), func(o *Options) { o.Journal = newMemory() })
		var told []error
		var mu sync.Mutex
		record := func() []*Record {
			return []*Record{{Value: []byte("v"), Late: func(err error) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, err)
			}}}
		}
		p.Restore([]*Restored{{Topic: "gone", Records: record()}, {Topic: "a", Partition: 7, Records: record()}})
		<-time.After(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if len(told) != 2 || !errors.Is(told[0], ErrNoPartition) || !errors.Is(told[1], ErrNoPartition) {
			t.Errorf("told %v", told)
		}
		p.Close(t.Context())
	})
}

// TestJournalFails lets the producer go on without it.
func TestJournalFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(map[string]int{"a": 1})
		journal := newMemory()
		journal.fail = true
		p := start(t, m, func(o *Options) { o.Journal = journal })
		watch(t, p, "a")
		if err := p.Produce(t.Context(), "a", 0, &Record{Value: []byte("v")}); err != nil {
			t.Error(err)
		}
		p.Close(t.Context())
		if counts := m.counts(); counts["v"] != 1 {
			t.Errorf("in the logs: %v", counts)
		}
	})
}

// slowMemory is a memory that takes its time.
type slowMemory struct{ *memory }

func (m slowMemory) Append(at time.Time, additions ...spool.Addition) (uint64, error) {
	<-time.After(100 * time.Millisecond)
	return m.memory.Append(at, additions...)
}

// TestLeavingWhileWrittenDown leaves a record that is stamped and on its way into the journal: whoever asks it to be kept
// there must learn that it is, or its retries would be refused until Kafka answers.
func TestLeavingWhileWrittenDown(t *testing.T) {
	for name, fails := range map[string]bool{"journal takes it": false, "journal fails": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newModel(map[string]int{"a": 1})
				m.pick = func(bool) fault { return lostRequest }
				journal := slowMemory{newMemory()}
				journal.fail = fails
				p := start(t, m, func(o *Options) { o.Journal = journal })
				watch(t, p, "a")
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
				want := ErrWritten
				if fails {
					want = ErrUnresolved
				}
				if err := p.Produce(ctx, "a", 0, &Record{Value: []byte("v"), Keep: true, Late: func(error) {}}); !errors.Is(err, want) {
					t.Errorf("told %v, want %v", err, want)
				}
				closing, stop := context.WithTimeout(t.Context(), time.Second)
				defer stop()
				p.Close(closing)
			})
		})
	}
}

// payloadOf makes what a producer writes down.
func payloadOf(records ...*Record) []byte {
	for _, r := range records {
		r.size = maxRecordSize(r)
	}
	pt := &partition{topic: "topic", id: 3, batch: &batch{records: records, stamp: stamp{7, 2, math.MaxInt32}}}
	pt.batch.encoded = encodeBatch(records, pt.batch.stamp, time.UnixMilli(1_767_225_600_000))
	return encodePayload(pt)
}

func TestParseEntry(t *testing.T) {
	records := []*Record{
		{Key: []byte("k"), Value: []byte("v"), Headers: []Header{{Key: "a", Value: "1"}, {Key: "a", Value: ""}, {Key: "n", Null: true}}, Tag: "e1"},
		{Value: []byte{}, Tag: ""},
		{Key: []byte{}, Value: []byte("\x00\xff"), Tag: "dé"},
	}
	payload := payloadOf(records...)
	b, err := ParseEntry(5, payload)
	if err != nil {
		t.Fatal(err)
	}
	if b.Topic != "topic" || b.Partition != 3 || b.number != 5 || b.stamp != (stamp{7, 2, math.MaxInt32}) || len(b.Records) != len(records) {
		t.Errorf("%+v", b)
	}
	for i, r := range b.Records {
		want := records[i]
		if string(r.Value) != string(want.Value) || string(r.Key) != string(want.Key) || (r.Key == nil) != (want.Key == nil) ||
			r.Tag != want.Tag || !reflect.DeepEqual(r.Headers, want.Headers) {
			t.Errorf("record %d is %+v, was %+v", i, r, want)
		}
	}
	for cut := range payload {
		if b, err := ParseEntry(5, payload[:cut]); !errors.Is(err, ErrPayload) {
			t.Fatalf("cut at %d of %d: %+v, %v", cut, len(payload), b, err)
		}
	}
}

func FuzzParseEntry(f *testing.F) {
	f.Add(payloadOf(&Record{Value: []byte("v"), Tag: "e1"}))
	f.Add([]byte{payloadVersion})
	f.Fuzz(func(t *testing.T, payload []byte) {
		b, err := ParseEntry(1, payload)
		if err != nil {
			if !errors.Is(err, ErrPayload) {
				t.Fatal(err)
			}
			return
		}
		if len(b.Records) == 0 {
			t.Fatal("a batch without records")
		}
	})
}
