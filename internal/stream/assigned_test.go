package stream

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"sluice/internal/testenv"
)

// Of the partitions that were given only those are read, from where that is wanted, and it shows when all is read.
func TestAssigned(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		w := newWorld(t, env)
		topic := w.topic("a", 4)
		for id := range 4 {
			for n := range 3 {
				w.write(topic, id, 1000*n, "a "+string(rune('a'+id))+string(rune('0'+n)))
			}
		}
		placed := make(map[Partition]int64)
		o := w.options(Options{
			Topics: []string{topic}, Follow: true, Since: w.base.Add(1500 * time.Millisecond),
			Assigned: map[Partition]int64{{topic, 0}: Oldest, {topic, 1}: Begin, {topic, 3}: 1},
			Placed:   func(p Partition, next int64) { placed[p] = next },
		})
		r, err := NewReader(o)
		if err != nil {
			t.Fatal(err)
		}
		if n, known := r.Behind(); known {
			t.Errorf("behind by %d before it has begun", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), testWait)
		defer cancel()
		var got []string
		enough := errors.New("enough")
		err = r.Run(ctx, func(x Record) error {
			got = append(got, string(x.Value))
			if len(got) == 6 {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) {
			t.Fatalf("Run: %v after %q", err, got)
		}
		slices.Sort(got)
		w.want("read", got, "a a0", "a a1", "a a2", "a b2", "a d1", "a d2")
		if placed[Partition{topic, 0}] != 0 || placed[Partition{topic, 1}] != 2 || placed[Partition{topic, 3}] != 1 || len(placed) != 3 {
			t.Errorf("placed %v", placed)
		}
	})
}

func TestBehind(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		w := newWorld(t, env)
		topic := w.topic("a", 2)
		w.write(topic, 0, 0, "a 0")
		r, err := NewReader(w.options(Options{
			Topics: []string{topic}, Follow: true, FromStart: true, Assigned: map[Partition]int64{{topic, 0}: Begin, {topic, 1}: Begin},
		}))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		hold, ended := make(chan struct{}), make(chan error)
		go func() {
			ended <- r.Run(ctx, func(Record) error {
				<-hold
				return nil
			})
		}()
		hold <- struct{}{}
		testenv.Eventually(t, testWait, func() error {
			if n, known := r.Behind(); n != 0 || !known {
				return errors.New("not caught up")
			}
			return nil
		})
		close(hold)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// Where the records of an offset that was reached have been deleted, the reader goes on with the oldest, and where the
// log ends before it, as in a topic that was created anew, too.
func TestAssignedBeyond(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		w := newWorld(t, env)
		topic := w.topic("a", 1)
		w.write(topic, 0, 0, "a 0")
		f := w.follow(Options{Topics: []string{topic}, FromStart: true, Assigned: map[Partition]int64{{topic, 0}: 7}})
		f.expect("a 0")
	})
}
