package group

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"sluice/internal/stream"
	"sluice/internal/testenv"
)

// A new group begins with the oldest record; the next member goes on where the one before has committed.
func TestGoesOn(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		w := newWorld(t, env)
		topic := w.topic("a", 3)
		first := w.write(topic, 3, "a", 0, 10)
		k := &kept{}
		m := w.start(w.options(k, topic))
		w.expect(first, k)
		m.stop()
		if got, want := w.committed(topic), map[int32]int64{0: 4, 1: 3, 2: 3}; !maps.Equal(got, want) {
			t.Errorf("committed %v, want %v", got, want)
		}
		second := w.write(topic, 3, "a", 10, 15)
		k = &kept{}
		m = w.start(w.options(k, topic))
		w.expect(second, k)
		m.stop()
		if c := m.Counts(); c.Wanted != 5 || c.Rebalances != 1 {
			t.Errorf("counts %+v", c)
		}
	})
}

// What the sink hasn't kept is never committed, and delivered again.
func TestCommitsOnlyWhatIsKept(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		w := newWorld(t, env)
		topic := w.topic("a", 1)
		all := w.write(topic, 1, "a", 0, 6)
		k := &kept{hold: true}
		m := w.start(w.options(k, topic))
		w.expect(slices.Clone(all), k)
		for _, i := range []int{0, 1, 3, 4} { // all but 2 and 5
			k.tickets[i].Kept()
		}
		testenv.Eventually(w, testWait, func() error { // by the clock, without an end
			if got := w.committed(topic)[0]; got != 2 {
				return fmt.Errorf("committed %d", got)
			}
			return nil
		})
		m.stop()
		if got := w.committed(topic)[0]; got != 2 || k.drained != 1 {
			t.Errorf("committed %d, drained %d times", got, k.drained)
		}
		k = &kept{}
		w.start(w.options(k, topic))
		w.expect(all[2:], k)
	})
}

// Two members share the partitions; when one leaves the other takes over at once, and nothing is delivered twice.
func TestHandOver(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		w := newWorld(t, env)
		topic := w.topic("a", 4)
		want := w.write(topic, 4, "a", 0, 8)
		one, two := &kept{}, &kept{}
		first := w.start(w.options(one, topic))
		w.expect(slices.Clone(want), one)
		w.start(w.options(two, topic))
		testenv.Eventually(w, testWait, func() error {
			if first.Counts().Rebalances < 2 {
				return errors.New("no rebalance yet")
			}
			return nil
		})
		want = append(want, w.write(topic, 4, "a", 8, 40)...)
		w.expect(slices.Clone(want), one, two)
		if n := len(two.sorted()); n != 16 {
			t.Errorf("the second member got %d of 32", n)
		}
		first.stop()
		want = append(want, w.write(topic, 4, "a", 40, 48)...)
		w.expect(want, one, two)
	})
}

// Topics that come into being, and partitions that are added, are read from their beginning, whatever From says.
func TestNewTopics(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		w := newWorld(t, env)
		old, later := w.topic("old", 1), env.Topic("later")
		w.write(old, 1, "before", 0, 3)
		k := &kept{}
		o := w.options(k, old, later)
		o.Latest = true
		m := w.start(o)
		testenv.Eventually(w, testWait, func() error {
			if got := w.committed(old); !maps.Equal(got, map[int32]int64{0: 3}) {
				return fmt.Errorf("committed %v: the place to begin isn't kept", got)
			}
			return nil
		})
		w.topic("later", 1)
		want := w.write(later, 1, "later", 0, 3)
		want = append(want, w.write(old, 1, "after", 0, 2)...)
		w.expect(want, k)
		m.stop()
	})
}

func TestSince(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		w := newWorld(t, env)
		topic := w.topic("a", 1)
		k := &kept{}
		o := w.options(k, topic)
		o.Since = time.Now()
		w.at = o.Since.Add(-time.Hour)
		w.write(topic, 1, "before", 0, 3)
		w.at = o.Since.Add(time.Second)
		want := w.write(topic, 1, "after", 0, 3)
		w.start(o)
		w.expect(want, k)
	})
}

func TestEnds(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		w := newWorld(t, env)
		topic := w.topic("a", 2)
		want := w.write(topic, 2, "a", 0, 9)
		k := &kept{}
		o := w.options(k, topic)
		o.Count = 4
		if err := w.start(o).wait(); err != nil || len(k.values) != 4 {
			t.Fatalf("%v after %q", err, k.values)
		}
		o.Count, o.CaughtUp = 0, true
		if err := w.start(o).wait(); err != nil {
			t.Fatal(err)
		}
		w.expect(want, k)
	})
}

// An error of the sink ends the member, and what the sink hasn't kept stays uncommitted.
func TestSinkFails(t *testing.T) {
	w := newWorld(t, testenv.Fake(t))
	topic := w.topic("a", 1)
	w.write(topic, 1, "a", 0, 3)
	o := w.options(nil, topic)
	failure := errors.New("no")
	o.Sink = func() (stream.Sink, error) { return nil, failure }
	if err := w.start(o).wait(); !errors.Is(err, failure) {
		t.Errorf("Run: %v", err)
	}
}
