package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
	"pgregory.net/rapid"
)

// listed is a Source that has its records in a list.
type listed []Record

func (l listed) Run(ctx context.Context, from Positions, give func(*Record) error) error {
	for i := range l {
		r := &l[i]
		select {
		case <-ctx.Done():
			return nil
		default:
		}
		if r.Offset < from[Partition{r.Topic, r.Partition}] {
			continue
		}
		if err := give(r); err != nil {
			return err
		}
	}
	return nil
}

// someRecords are of three partitions, with gaps between offsets. Every third one isn't wanted.
func someRecords(n int) (l listed) {
	next := map[int]int64{}
	for i := range n {
		p := i * i % 3
		next[p] += 1 + int64(i%4)
		l = append(l, Record{Topic: "t", Partition: p, Offset: next[p], Value: fmt.Append(nil, i)})
	}
	return l
}

func unwanted(r *Record) bool { return len(r.Value)%2 == 1 && r.Value[len(r.Value)-1]%3 == 0 }

func wantedOf(l listed) (values []string) {
	for i := range l {
		if !unwanted(&l[i]) {
			values = append(values, string(l[i].Value))
		}
	}
	return values
}

// note is a checkpoint in memory.
type note struct {
	next  Positions
	state json.RawMessage
	saves int
}

func (n *note) Save(_ context.Context, next Positions, state json.RawMessage) error {
	n.next, n.state, n.saves = maps.Clone(next), state, n.saves+1
	return nil
}

var errCut = errors.New("cut")

// file is a sink that can be gone on with where a member ends. What isn't noted is lost with the process.
type file struct {
	lines   []string
	member  int // records of one
	cutAt   int // fails before that many have been written; -1: never
	written int
}

func (f *file) Write(_ context.Context, r *Record, t Ticket) error {
	if f.written == f.cutAt {
		return errCut
	}
	f.written++
	f.lines = append(f.lines, string(r.Value))
	t.Kept()
	return nil
}
func (f *file) Settle(context.Context) error { return nil }
func (f *file) Close() error                 { return nil }
func (f *file) State() (json.RawMessage, bool, error) {
	state, err := json.Marshal(len(f.lines))
	return state, len(f.lines)%f.member == 0, err
}

func wantFilter(r *Record) (bool, error) { return !unwanted(r), nil }

// TestFlowResumes: whatever its members, and wherever it is cut, what a resumed sink holds in the end is what one that
// wasn't cut holds.
func TestFlowResumes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		source := someRecords(rapid.IntRange(0, 60).Draw(t, "records"))
		saved, sink := &note{}, &file{member: rapid.IntRange(1, 9).Draw(t, "member")}
		for range 100 {
			kept := 0
			if saved.state != nil {
				if err := json.Unmarshal(saved.state, &kept); err != nil {
					t.Fatal(err)
				}
			}
			sink.lines, sink.written = sink.lines[:kept], 0
			sink.cutAt = rapid.IntRange(0, 40).Draw(t, "cut")
			f := &Flow{
				Source: source, Filters: []Filter{wantFilter}, Sink: sink, Checkpoint: saved, Before: saved.next,
				Every: time.Duration(rapid.IntRange(1, 2).Draw(t, "every")),
			}
			err := f.Run(context.Background(), time.Second)
			if err == nil {
				if want := wantedOf(source); !slices.Equal(sink.lines, want) {
					t.Fatalf("got %q, want %q", sink.lines, want)
				}
				return
			}
			if !errors.Is(err, errCut) {
				t.Fatal(err)
			}
			if sink.cutAt < sink.member { // or it never gets further
				sink.member = 1
			}
		}
	})
}

// slowSink keeps records in the order of chance, some only when it is settled.
type slowSink struct {
	tickets map[string]Ticket
	kept    map[string]int
	settles int
	fail    error // of Settle
}

func (s *slowSink) Write(_ context.Context, r *Record, t Ticket) error {
	s.tickets[string(r.Value)] = t
	for value, ticket := range s.tickets {
		if rand.IntN(3) == 0 {
			s.keep(value, ticket)
		}
	}
	return nil
}

func (s *slowSink) keep(value string, t Ticket) {
	s.kept[value]++
	delete(s.tickets, value)
	t.Kept()
	t.Kept() // twice does no harm
}

func (s *slowSink) Settle(ctx context.Context) error {
	s.settles++
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if s.fail != nil {
		return s.fail
	}
	for value, ticket := range s.tickets {
		s.keep(value, ticket)
	}
	return nil
}
func (s *slowSink) Close() error { return nil }

// TestFlowGivesAgain interrupts a flow whose sink can't be gone on with: nothing is left out.
func TestFlowGivesAgain(t *testing.T) {
	source, kept := someRecords(200), map[string]int{}
	var next Positions
	for cut := 1; ; cut++ {
		ctx, cancel := context.WithCancel(t.Context())
		saved := &note{}
		sink := &slowSink{tickets: map[string]Ticket{}, kept: kept, fail: errCut}
		n := 0
		stop := func(r *Record) (bool, error) {
			if n++; n == 17 && cut < 20 {
				cancel()
			}
			return !unwanted(r), nil
		}
		if cut%2 == 0 || cut >= 20 {
			sink.fail = nil
		}
		f := &Flow{Source: source, Filters: []Filter{stop}, Sink: sink, Checkpoint: saved, Every: time.Nanosecond, Before: next}
		err := f.Run(ctx, time.Second)
		cancel()
		switch {
		case err == nil:
			for _, value := range wantedOf(source) {
				if kept[value] == 0 {
					t.Errorf("%s is missing", value)
				}
			}
			if c := f.Counts(); c.Wanted > c.Read || (c.Wanted > 0) != (c.Bytes > 0) {
				t.Errorf("%+v", c)
			}
			return
		case !errors.Is(err, context.Canceled) && !errors.Is(err, errCut):
			t.Fatal(err)
		case sink.fail == nil && len(sink.tickets) > 0:
			t.Errorf("%d tickets are out after %d settles", len(sink.tickets), sink.settles)
		}
		for p, at := range next {
			if saved.next[p] < at {
				t.Errorf("%v goes back from %d to %d", p, at, saved.next[p])
			}
		}
		next = saved.next
	}
}

func TestFlowErrors(t *testing.T) {
	broken := errors.New("broken")
	failing := func(*Record) (bool, error) { return false, broken }
	f := &Flow{Source: someRecords(3), Filters: []Filter{failing}, Sink: &slowSink{}}
	err := f.Run(t.Context(), time.Second)
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "t[0]@1") {
		t.Errorf("a filter: %v", err)
	}
	f = &Flow{Source: someRecords(3), Sink: &slowSink{tickets: map[string]Ticket{}, kept: map[string]int{}, fail: broken}}
	if err := f.Run(t.Context(), time.Second); !errors.Is(err, broken) {
		t.Errorf("settling: %v", err)
	}
}

// TestFlowLimit: the rate is that of the records given to the sink.
func TestFlowLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := someRecords(100)
		began := time.Now()
		f := &Flow{
			Source: source, Filters: []Filter{wantFilter}, Limit: rate.NewLimiter(10, 1),
			Sink: &slowSink{tickets: map[string]Ticket{}, kept: map[string]int{}},
		}
		if err := f.Run(t.Context(), time.Second); err != nil {
			t.Fatal(err)
		}
		want := time.Duration(len(wantedOf(source))-1) * 100 * time.Millisecond
		if took := time.Since(began); took < want || took > want+time.Second {
			t.Errorf("it takes %s, want %s", took, want)
		}
	})
}
