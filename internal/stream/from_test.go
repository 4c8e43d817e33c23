package stream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/internal/testenv"
)

// readFrom runs a reader on from where an earlier one got to, until stop records have come.
func (w *world) readFrom(o Options, next map[Partition]int64, stop int) (got []string, spans []Span, reached map[Partition]int64) {
	w.Helper()
	r, err := NewReader(w.options(o))
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(w.Context(), testWait)
	defer cancel()
	reached = maps.Clone(next)
	placed := 0
	errEnough := errors.New("enough")
	err = r.RunFrom(ctx, From{Next: next, Placed: func(s []Span) { placed++; spans = s }}, func(x Record) error {
		if placed != 1 {
			w.Errorf("a record comes when Placed has been called %d times", placed)
		}
		if len(got) == stop {
			return errEnough
		}
		got = append(got, string(x.Value))
		reached[Partition{x.Topic, x.Partition}] = x.Offset + 1
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) || ctx.Err() != nil || placed != 1 {
		w.Fatalf("RunFrom: %v, context: %v, placed %d times", err, ctx.Err(), placed)
	}
	slices.SortFunc(spans, func(a, b Span) int {
		return compare(&Record{Topic: a.Topic, Partition: a.ID}, &Record{Topic: b.Topic, Partition: b.ID})
	})
	return got, spans, reached
}

// Read in pieces of every size, every record comes once.
func TestRunFrom(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		w := newWorld(t, env)
		a, b := w.topic("a", 2), w.topic("b", 1)
		for i := range 30 {
			switch i % 3 {
			case 2:
				w.write(b, 0, i*10, fmt.Sprintf("x %d", i))
			default:
				w.write(a, i%3, i*10, fmt.Sprintf("x %d", i))
			}
		}
		since := w.base.Add(50 * time.Millisecond)
		for piece := 1; piece < 30; piece += 6 {
			var all []string
			next := map[Partition]int64{}
			for {
				got, spans, reached := w.readFrom(Options{Since: since}, next, piece)
				for _, s := range spans {
					if n, is := next[s.Partition]; is && s.Begin != n || !is && s.Begin != s.Chosen || s.End != 10 || s.Chosen < 1 || s.Oldest != 0 {
						t.Errorf("span %+v after reaching %v", s, next)
					}
				}
				all, next = append(all, got...), reached
				if len(got) < piece {
					break
				}
			}
			slices.Sort(all)
			want := numbered("x", 5, 30)
			slices.Sort(want)
			w.want(fmt.Sprintf("in pieces of %d", piece), all, want...)
		}

		got, spans, _ := w.readFrom(Options{FromStart: true}, map[Partition]int64{{b, 0}: 99, {a, 0}: 10, {a, 1}: 8}, -1)
		w.want("beyond the end", got, append([]string{"x 2", "x 5", "x 8", "x 11", "x 14", "x 17", "x 20", "x 23"}, "x 25", "x 26", "x 28", "x 29")...)
		if len(spans) != 3 || spans[0].Begin != 10 || spans[1].Begin != 8 || spans[2].Begin != 0 {
			t.Errorf("spans %+v", spans)
		}
	})
}

func TestRunFromTellsWhatWasDeleted(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		w := newWorld(t, env)
		a := w.topic("a", 1)
		w.topic("empty", 1)
		for i := range 10 {
			w.write(a, 0, i, fmt.Sprintf("x %d", i))
		}
		req := kmsg.NewPtrDeleteRecordsRequest()
		topic := kmsg.NewDeleteRecordsRequestTopic()
		topic.Topic = a
		p := kmsg.NewDeleteRecordsRequestTopicPartition()
		p.Offset = 4
		topic.Partitions = append(topic.Partitions, p)
		req.Topics, req.TimeoutMillis = append(req.Topics, topic), 10_000
		w.ask(req)
		got, spans, _ := w.readFrom(Options{Since: w.base}, map[Partition]int64{{a, 0}: 2}, -1)
		w.want("records", got, numbered("x", 4, 10)...)
		want := []Span{
			{Partition: Partition{a, 0}, Oldest: 4, Chosen: 4, Begin: 4, End: 10, First: w.base.Add(4 * time.Millisecond)},
			{Partition: Partition{env.Topic("empty"), 0}},
		}
		if !slices.Equal(spans, want) {
			t.Errorf("spans %+v, want %+v", spans, want)
		}
	})
}

func TestRunFromRefuses(t *testing.T) {
	env := testenv.Fake(t)
	w := newWorld(t, env)
	for _, o := range []Options{{Follow: true}, {Last: 1}} {
		r, err := NewReader(w.options(o))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.RunFrom(t.Context(), From{}, nil); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
	// Nothing to read: it is over at once, and says so.
	if got, spans, _ := w.readFrom(Options{FromStart: true}, map[Partition]int64{}, -1); len(got)+len(spans) != 0 {
		t.Errorf("got %q, %+v", got, spans)
	}
}
