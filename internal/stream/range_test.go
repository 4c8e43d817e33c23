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

var errEnough = errors.New("enough")

// readRange runs a range on from the positions until stop records have come.
func (w *world) readRange(s Range, next Positions, stop int) (got []string, spans []Span, reached Positions, err error) {
	w.Helper()
	s.Options = w.options(s.Options)
	placed := 0
	s.Placed = func(now []Span) error { placed++; spans = now; return nil }
	ctx, cancel := context.WithTimeout(w.Context(), testWait)
	defer cancel()
	if reached = maps.Clone(next); reached == nil {
		reached = Positions{}
	}
	err = s.Run(ctx, next, func(r *Record) error {
		if placed != 1 {
			w.Errorf("a record comes when Placed has been called %d times", placed)
		}
		if len(got) == stop {
			return errEnough
		}
		got = append(got, string(r.Value))
		reached[Partition{r.Topic, r.Partition}] = r.Offset + 1
		return nil
	})
	if ctx.Err() != nil {
		w.Fatal(ctx.Err())
	}
	if errors.Is(err, errEnough) {
		err = nil
	}
	return got, spans, reached, err
}

// TestRange reads in pieces of every size. In one that is interrupted, others append to the topics, add partitions and
// topics: what comes is what came without, in the same order.
func TestRange(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		w := newWorld(t, env)
		a, b := w.topic("a", 2), w.topic("b", 1)
		w.topic("empty", 1)
		for i := range 40 { // some of the same time
			switch i % 3 {
			case 2:
				w.write(b, 0, i/2*10, fmt.Sprintf("x %d", i))
			default:
				w.write(a, i%3, i/2*10, fmt.Sprintf("x %d", i))
			}
		}
		for name, first := range map[string]Range{
			"everything": {Options: Options{FromStart: true}},
			"times":      {Options: Options{Since: w.base.Add(50 * time.Millisecond), Until: w.base.Add(150 * time.Millisecond)}},
			"offsets": {Options: Options{FromStart: true}, Narrow: func(s *Span) bool {
				s.Begin, s.End = 3, min(9, s.End)
				return s.Partition == Partition{a, 1}
			}},
			"beyond the end": {Options: Options{FromStart: true}, Narrow: func(s *Span) bool {
				s.Begin, s.End = 99, max(99, s.End)
				return true
			}},
		} {
			for piece := 1; piece < 40; piece += 7 {
				want, spans, _, err := w.readRange(first, nil, -1)
				if err != nil || (len(want) < 5) != (name == "beyond the end") {
					t.Fatalf("%s: %q, %v", name, want, err)
				}
				if name == "offsets" && (len(spans) != 1 || spans[0].Begin != 3 || spans[0].End != 9) {
					t.Errorf("spans %+v", spans)
				}
				var all []string
				var next Positions
				s := first
				for {
					got, now, reached, err := w.readRange(s, next, piece)
					if err != nil {
						t.Fatalf("%s in pieces of %d: %v", name, piece, err)
					}
					all, next = append(all, got...), reached
					if s.Spans == nil {
						s = Range{Spans: now}
						if s.Spans == nil {
							s.Spans = []Span{}
						}
						w.write(a, 1, 60, "later")
						w.write(b, 0, 1000, "later")
					}
					if len(got) < piece {
						break
					}
				}
				w.want(fmt.Sprintf("%s in pieces of %d", name, piece), all, want...)
			}
		}
	})
}

// TestRangeGone: what was deleted since the first run is told, and a topic that was created anew is no part of it.
func TestRangeGone(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		w := newWorld(t, env)
		a, b, c := w.topic("a", 1), w.topic("b", 1), w.topic("c", 1)
		for i := range 12 {
			w.write([]string{a, b, c}[i%3], 0, i, fmt.Sprintf("x %d", i))
		}
		_, spans, _, err := w.readRange(Range{Options: Options{FromStart: true}}, nil, 0)
		if err != nil || len(spans) != 3 {
			t.Fatalf("%+v, %v", spans, err)
		}
		later := Range{Spans: spans}
		w.deleteTopic(b)
		testenv.Eventually(t, testWait, func() error { // until nobody lists it any more
			names, err := Topics(t.Context(), env.Brokers(), Options{}.Connect)
			if slices.Contains(names, b) {
				return errors.New("it is still there")
			}
			return err
		})
		req := kmsg.NewPtrDeleteRecordsRequest()
		topic := kmsg.NewDeleteRecordsRequestTopic()
		topic.Topic = c
		p := kmsg.NewDeleteRecordsRequestTopicPartition()
		p.Offset = 3
		topic.Partitions = append(topic.Partitions, p)
		req.Topics, req.TimeoutMillis = append(req.Topics, topic), 10_000
		w.ask(req)
		got, now, _, err := w.readRange(later, Positions{{a, 0}: 2, {c, 0}: 1}, -1)
		w.want("records", got, "x 6", "x 9", "x 11")
		if err != nil || len(now) != 2 || now[1].Oldest != 3 || now[1].Begin != 1 || now[1].End != 4 {
			t.Errorf("%+v, %v", now, err)
		}
		w.topic("b", 1)
		testenv.Eventually(t, testWait, func() error { // brokers don't list it at once
			if _, _, _, err := w.readRange(later, Positions{{b, 0}: 2}, -1); !errors.Is(err, ErrAnew) {
				return fmt.Errorf("created anew: %w", err)
			}
			return nil
		})
		s := Range{Spans: spans, Placed: func([]Span) error { return errEnough }, Options: w.options(Options{})}
		if err := s.Run(t.Context(), nil, func(*Record) error { t.Error("a record"); return nil }); !errors.Is(err, errEnough) && !errors.Is(err, ErrAnew) {
			t.Errorf("refused: %v", err)
		}
		if _, _, _, err := w.readRange(Range{Options: Options{Follow: true}}, nil, -1); err == nil {
			t.Error("following is taken")
		}
	})
}
