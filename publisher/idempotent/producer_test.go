package idempotent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	kafka "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"go.uber.org/goleak"

	"sluice/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testenv.Wrap(m)) }

func decodeBatch(raw []byte) (modelBatch, error) {
	var rs protocol.RecordSet
	if _, err := rs.ReadFrom(bytes.NewReader(raw)); err != nil {
		return modelBatch{}, err
	}
	s := rs.Records.(*protocol.RecordStream)
	if len(s.Records) != 1 {
		return modelBatch{}, fmt.Errorf("%d batches for one partition", len(s.Records))
	}
	rb := s.Records[0].(*protocol.RecordBatch)
	b := modelBatch{stamp: stamp{rb.ProducerID, rb.ProducerEpoch, rb.BaseSequence}}
	for {
		r, err := rb.ReadRecord()
		if err != nil {
			return b, nil //nolint:nilerr // io.EOF
		}
		v, err := protocol.ReadAll(r.Value)
		if err != nil {
			return b, err
		}
		b.values = append(b.values, string(v))
	}
}

// TestExactlyOnce sends records through a cluster that fails in every way the
// model knows, with old requests surfacing again, and compares what callers
// were told with what the logs hold.
func TestExactlyOnce(t *testing.T) {
	for seed := range uint64(150) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { exactlyOnce(t, seed) })
		})
	}
}

func exactlyOnce(t *testing.T, seed uint64) {
	rng, chaos := rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 3)) // chaos is used under m.mu
	m := newModel(map[string]int{"a": 2, "b": 1})
	m.brokers, m.replay = 3, rand.New(rand.NewPCG(seed, 2))
	faulty := true
	m.leader = func(topic string, id int32) int32 {
		if faulty && chaos.IntN(10) == 0 {
			return -1
		}
		return 1 + (int32(len(topic))+id+int32(chaos.IntN(2)))%3
	}
	m.pick = func(whole bool) fault {
		if !faulty || chaos.IntN(3) > 0 {
			return none
		}
		if whole {
			return dialRefused + fault(chaos.IntN(3))
		}
		return timedOut + fault(chaos.IntN(int(faults-timedOut)))
	}
	p := start(t, m, func(o *Options) {
		o.MaxBatchBytes = 400 // several batches
		o.Opened = m.connections
		o.firstSequence = math.MaxInt32 - int32(rng.IntN(40))
	})
	watch(t, p, "a", "b")

	var mu sync.Mutex
	settledAs := map[string]error{}
	var wg sync.WaitGroup
	const n = 200
	for i := range n {
		value := fmt.Sprint("v", i)
		topic, id := "a", int32(i%2)
		if i%5 == 0 {
			topic, id = "b", 0
		}
		patience := time.Duration(1+rng.IntN(3000)) * time.Millisecond
		mu.Lock()
		settledAs[value] = errPending
		mu.Unlock()
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			settle := func(err error) {
				mu.Lock()
				defer mu.Unlock()
				if !errors.Is(settledAs[value], errPending) {
					t.Errorf("%s settled twice", value)
				}
				settledAs[value] = err
			}
			if err := p.Produce(ctx, topic, id, &Record{Value: []byte(value), Late: settle}); !errors.Is(err, ErrUnresolved) {
				settle(err)
			}
		})
		if i%20 == 0 {
			<-time.After(time.Duration(rng.IntN(400)) * time.Millisecond) // virtual time
		}
	}
	wg.Wait()
	m.mu.Lock()
	faulty = false
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if n := p.Close(ctx); n != 0 {
		t.Errorf("%d unresolved after the cluster recovered", n)
	}

	counts := m.counts()
	for value, err := range settledAs {
		want := 0
		if err == nil {
			want = 1
		}
		if counts[value] != want {
			t.Errorf("%s: told %v, %d in the logs", value, err, counts[value])
		}
		if errors.Is(err, errPending) || errors.Is(err, ErrUnresolved) {
			t.Errorf("%s: never settled", value)
		}
	}
}

func TestOneRequestCarriesWhatGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(map[string]int{"a": 3, "b": 1})
		p := start(t, slowly{m, 10 * time.Millisecond}, nil)
		watch(t, p, "a", "b")
		var wg sync.WaitGroup
		for i := range 400 {
			wg.Go(func() {
				topic := []string{"a", "a", "a", "b"}[i%4]
				if err := p.Produce(t.Context(), topic, int32(i%4%3), &Record{Value: []byte(fmt.Sprint(i))}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if m.requests > 2 {
			t.Errorf("%d requests for 400 records that came at once to one broker, want at most 2", m.requests)
		}
		p.Close(t.Context())
	})
}

// slowly delays every answer.
type slowly struct {
	*model
	by time.Duration
}

func (s slowly) RoundTrip(ctx context.Context, addr netAddr, req kafka.Request) (kafka.Response, error) {
	res, err := s.model.RoundTrip(ctx, addr, req)
	select {
	case <-time.After(s.by):
		return res, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func TestOrderWithinPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(map[string]int{"a": 1})
		i := 0
		m.pick = func(bool) fault {
			i++
			return []fault{none, lostResponse, notEnough, dialRefused, none, notLeaderLate}[i%6]
		}
		p := start(t, m, nil)
		watch(t, p, "a")
		var wg sync.WaitGroup
		var want []string
		for i := range 50 {
			v := fmt.Sprintf("%03d", i)
			want = append(want, v)
			wg.Go(func() {
				if err := p.Produce(t.Context(), "a", 0, &Record{Value: []byte(v)}); err != nil {
					t.Error(err)
				}
			})
			if i%7 != 0 {
				synctest.Wait()
			} else {
				<-time.After(time.Millisecond)
			}
		}
		wg.Wait()
		p.Close(t.Context())
		if got := m.logs[partitionKey{"a", 0}].values; !slices.Equal(got, want) {
			t.Errorf("log order\n%v\nwant\n%v", got, want)
		}
	})
}

func TestTooLargeIsHalvedDownToTheOneToBlame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(map[string]int{"a": 1})
		m.maxBatch = 2000
		p := start(t, m, nil)
		watch(t, p, "a")
		var wg sync.WaitGroup
		for i := range 64 {
			v := fmt.Sprint("v", i)
			if i == 37 {
				v = strings.Repeat("x", 5000)
			}
			wg.Go(func() {
				err := p.Produce(t.Context(), "a", 0, &Record{Value: []byte(v)})
				var refused *RefusedError
				if i == 37 != (errors.As(err, &refused) && errors.Is(err, kafka.MessageSizeTooLarge)) {
					t.Errorf("record %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		p.Close(t.Context())
		if n := len(m.counts()); n != 63 {
			t.Errorf("%d records written, want 63", n)
		}
	})
}

func TestSequenceRecovery(t *testing.T) {
	for _, tc := range []struct {
		name string
		harm func(*modelProducer)
	}{
		{"log tail lost", func(p *modelProducer) { p.last -= 3; p.recent, p.counts = nil, nil }},
		{"epoch taken by another", func(p *modelProducer) { p.epoch += 2 }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newModel(map[string]int{"a": 1, "b": 1})
				p := start(t, m, nil)
				watch(t, p, "a", "b")
				send := func(topic, v string) {
					if err := p.Produce(t.Context(), topic, 0, &Record{Value: []byte(v)}); err != nil {
						t.Errorf("%s: %v", v, err)
					}
				}
				for i := range 5 {
					send("a", fmt.Sprint("a", i))
					send("b", fmt.Sprint("b", i))
				}
				m.mu.Lock()
				for _, pr := range m.logs[partitionKey{"a", 0}].producers {
					tc.harm(pr)
				}
				m.mu.Unlock()
				for i := 5; i < 10; i++ {
					send("a", fmt.Sprint("a", i))
					send("b", fmt.Sprint("b", i))
				}
				p.mu.Lock()
				if e := p.partitions[partitionKey{"b", 0}].epoch; e != 0 {
					t.Errorf("the other partition's epoch is %d, want 0", e)
				}
				p.mu.Unlock()
				p.Close(t.Context())
				for v, n := range m.counts() {
					if n != 1 {
						t.Errorf("%s is there %d times", v, n)
					}
				}
				if n := len(m.counts()); n != 20 {
					t.Errorf("%d records, want 20", n)
				}
			})
		})
	}
}

func TestEpochRunsOut(t *testing.T) {
	p := &partition{producerID: 7, epoch: math.MaxInt16 - 1, exhausted: -1, sequence: 9}
	p.nextEpoch()
	if p.producerID != 7 || p.epoch != math.MaxInt16 || p.sequence != 0 {
		t.Fatalf("at the last epoch: %+v", p)
	}
	p.nextEpoch()
	if p.producerID != -1 || p.exhausted != 7 {
		t.Fatalf("past the last epoch: %+v", p)
	}
	prod := &Producer{producerID: 7, refresh: make(chan struct{}, 1)}
	if prod.identify(p) || prod.producerID != -1 {
		t.Fatal("the used-up id was taken again")
	}
	prod.producerID = 8
	if !prod.identify(p) || p.producerID != 8 || p.epoch != 0 {
		t.Fatalf("with a new id: %+v", p)
	}
}

func TestLeaseLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(map[string]int{"a": 1})
		p := start(t, m, nil)
		watch(t, p, "a")
		err := p.Produce(t.Context(), "a", 0, &Record{Value: []byte("x"), Live: func() bool { return false }})
		if !errors.Is(err, ErrLeaseLost) || len(m.counts()) != 0 {
			t.Errorf("%v, %d written", err, len(m.counts()))
		}
		p.Close(t.Context())
	})
}

// TestNoLeader holds a partition without a leader for an hour: its callers
// leave with a certain answer, nothing piles up, and its neighbour goes on.
func TestNoLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(map[string]int{"a": 2})
		gone := true
		m.leader = func(_ string, id int32) int32 {
			if id == 0 && gone {
				return -1
			}
			return 1
		}
		p := start(t, m, nil)
		watch(t, p, "a")
		for i := range 3600 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if err := p.Produce(ctx, "a", 0, &Record{Value: []byte("x")}); !errors.Is(err, ErrNotSent) {
				t.Fatalf("without a leader: %v", err)
			}
			cancel()
			if err := p.Produce(t.Context(), "a", 1, &Record{Value: []byte(fmt.Sprint(i))}); err != nil {
				t.Fatal(err)
			}
		}
		p.mu.Lock()
		if n := len(p.partitions[partitionKey{"a", 0}].queue); n > 2 {
			t.Errorf("%d abandoned records are remembered", n)
		}
		p.mu.Unlock()
		m.mu.Lock()
		gone = false
		m.mu.Unlock()
		if err := p.Produce(t.Context(), "a", 0, &Record{Value: []byte("back")}); err != nil {
			t.Error(err)
		}
		p.Close(t.Context())
	})
}

// TestTopicGone checks that an unresolved batch of a deleted topic is given up
// in the end, under a new epoch.
func TestTopicGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(map[string]int{"a": 1})
		p := start(t, m, nil)
		watch(t, p, "a")
		m.pick = func(whole bool) fault {
			if whole {
				return lostRequest
			}
			return none
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		final := make(chan error, 1)
		err := p.Produce(ctx, "a", 0, &Record{Value: []byte("x"), Late: func(err error) { final <- err }})
		if !errors.Is(err, ErrUnresolved) {
			t.Fatal(err)
		}
		m.mu.Lock()
		delete(m.partitions, "a")
		m.mu.Unlock()
		if err := <-final; !errors.Is(err, ErrNotSent) {
			t.Errorf("settled with %v", err)
		}
		p.mu.Lock()
		if e := p.partitions[partitionKey{"a", 0}].epoch; e != 1 {
			t.Errorf("epoch %d, want 1: the old stamp may have been used", e)
		}
		p.mu.Unlock()
		p.Close(t.Context())
	})
}

// TestSickPartitionTravelsAlone checks that a partition whose replicas lag
// doesn't hold up the others of its broker.
func TestSickPartitionTravelsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(map[string]int{"sick": 1, "well": 1})
		p := start(t, lagging{m}, nil)
		watch(t, p, "sick", "well")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := p.Produce(ctx, "sick", 0, &Record{Value: []byte("s")}); !errors.Is(err, ErrUnresolved) {
				t.Error(err)
			}
		})
		<-time.After(2 * time.Second) // the first attempt has failed
		for i := range 20 {
			began := time.Now()
			if err := p.Produce(ctx, "well", 0, &Record{Value: []byte(fmt.Sprint(i))}); err != nil {
				t.Error(err)
			}
			if d := time.Since(began); d > 10*time.Millisecond {
				t.Errorf("record %d of the healthy partition waited %v", i, d)
			}
		}
		wg.Wait()
		cctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if n := p.Close(cctx); n != 1 {
			t.Errorf("%d unresolved, want 1", n)
		}
	})
}

// lagging answers a request that carries topic "sick" only at its timeout.
type lagging struct{ *model }

func (l lagging) RoundTrip(ctx context.Context, addr netAddr, req kafka.Request) (kafka.Response, error) {
	res, err := l.model.RoundTrip(ctx, addr, req)
	if pr := producedTopics(res); slices.Contains(pr, "sick") {
		<-time.After(time.Second)
		setCode(res, "sick", kafka.RequestTimedOut)
	}
	return res, err
}

func TestCloseSettlesEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(map[string]int{"a": 1})
		m.leader = func(string, int32) int32 { return -1 }
		p := start(t, m, nil)
		watch(t, p, "a")
		errs := make(chan error, 1)
		go func() { errs <- p.Produce(t.Context(), "a", 0, &Record{Value: []byte("x")}) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if n := p.Close(ctx); n != 0 {
			t.Errorf("%d unresolved", n)
		}
		if err := <-errs; !errors.Is(err, ErrNotSent) {
			t.Error(err)
		}
		if err := p.Produce(t.Context(), "a", 0, &Record{}); !errors.Is(err, ErrNotSent) {
			t.Errorf("after Close: %v", err)
		}
	})
}
