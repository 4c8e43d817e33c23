package stream

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/testenv"
	"sluice/publisher/connect"
)

func TestPlaces(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		w := newWorld(t, env)
		a, b := w.topic("a", 2), w.topic("b", 1)
		for i := range 10 {
			w.write(a, 0, i*10, "x")
		}
		w.write(b, 0, 55, "x")
		at := func(ms int) time.Time { return w.base.Add(time.Duration(ms) * time.Millisecond) }
		places, err := Places(t.Context(), env.Brokers(), connect.Options{}, []string{a, env.Topic("none")},
			func(topic string) bool { return topic == b }, at(0), at(41), at(1000))
		if err != nil {
			t.Fatal(err)
		}
		want := []Place{
			{Partition: Partition{a, 0}, End: 10, At: []int64{0, 5, 10}},
			{Partition: Partition{a, 1}, At: []int64{0, 0, 0}},
			{Partition: Partition{b, 0}, End: 1, At: []int64{0, 0, 1}},
		}
		if !slices.EqualFunc(places, want, func(x, y Place) bool {
			return x.Partition == y.Partition && x.Begin == y.Begin && x.End == y.End && slices.Equal(x.At, y.At)
		}) {
			t.Errorf("%+v, want %+v", places, want)
		}
		if places, err = Places(t.Context(), env.Brokers(), connect.Options{}, nil, nil); err != nil || len(places) != 0 {
			t.Errorf("of no topics: %v, %v", places, err)
		}
	})
}

// TestPeek passes what transactions leave: records that were aborted, and markers.
func TestPeek(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		w := newWorld(t, env)
		a, b := w.topic("a", 2), w.topic("b", 1)
		w.write(a, 0, 0, "first")
		w.write(a, 0, 10, "second")
		cl, err := kgo.NewClient(kgo.SeedBrokers(env.Brokers()...), kgo.TransactionalID(env.Topic("peek")), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		ctx, cancel := context.WithTimeout(t.Context(), testWait)
		defer cancel()
		for _, topic := range []string{a, b} {
			if err := cl.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			if err := cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("aborted")}).FirstErr(); err != nil {
				t.Fatal(err)
			}
			if err := cl.EndTransaction(ctx, kgo.TryAbort); err != nil {
				t.Fatal(err)
			}
		}
		w.write(a, 0, 50, "fifth")
		var places []Place
		testenv.Eventually(t, testWait, func() error { // until the markers are there
			if places, err = Places(t.Context(), env.Brokers(), connect.Options{}, []string{a, b}, nil); err == nil && (places[0].End != 5 || places[2].End != 2) {
				err = errors.New("no marker yet")
			}
			return err
		})
		for from, want := range map[int64]string{0: "first", 1: "second", 2: "fifth", 4: "fifth", 5: ""} {
			spans := []Span{{Partition: Partition{a, 0}, Begin: from, End: places[0].End}, {Partition: Partition{a, 1}}, {Partition: Partition{b, 0}, End: places[2].End}}
			found, err := Peek(t.Context(), env.Brokers(), connect.Options{}, spans)
			var got []string
			for _, r := range found {
				got = append(got, string(r.Value))
			}
			if err != nil || strings.Join(got, " ") != want {
				t.Errorf("from %d: %q, %v, want %q", from, got, err, want)
			}
		}
	})
}
