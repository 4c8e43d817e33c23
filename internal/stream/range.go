package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrAnew is wrapped by [Range.Run]'s error when a topic ends before what an earlier run has read of it.
var ErrAnew = errors.New("topic was deleted and created again, or has lost records")

// Range is a [Source]: a stretch of topics that has an end. What there is to read is decided once, by the first run; later
// ones end where it would have ended, and in the same order, whatever has been appended or created since.
type Range struct {
	// Options are those of a [Reader] that neither follows nor has a limit of records. For a later run only how to reach
	// the brokers and Keep count.
	Options Options
	// Narrow may set another Begin and End in a span of the first run, or leave it out by returning false. nil = not wanted.
	Narrow func(*Span) bool
	// Spans are what the first run told Placed; nil for the first run.
	Spans []Span
	// Placed is called once, before the first record, with what this run is to read: in a later one, less where topics
	// were deleted or records removed since. Its error ends the run. nil = not wanted.
	Placed func([]Span) error
}

// Run is part of [Source]. An error wraps [ErrAnew] when what is left of a topic can't be told.
func (s *Range) Run(ctx context.Context, from Positions, give func(*Record) error) error {
	o := s.Options
	if s.Spans != nil {
		o.FromStart, o.Since, o.Until = true, time.Time{}, time.Time{}
		o.Topics, o.Match = nil, nil
		for _, span := range s.Spans {
			o.Topics = append(o.Topics, span.Topic)
		}
		slices.Sort(o.Topics)
		if o.Topics = slices.Compact(o.Topics); len(o.Topics) == 0 { // it was empty
			return s.placed(nil)
		}
	}
	reader, err := NewReader(o)
	if err != nil {
		return err
	}
	var refused error
	f := From{
		Bound:  func(now *Span) (bool, error) { return s.bound(now, from) },
		Placed: func(spans []Span) { refused = s.placed(spans) },
	}
	err = reader.runFrom(ctx, f, func(r *Record) error {
		if refused != nil {
			return refused
		}
		return give(r)
	})
	if refused != nil {
		return refused
	}
	return err
}

func (s *Range) placed(spans []Span) error {
	if s.Placed == nil {
		return nil
	}
	return s.Placed(spans)
}

// bound sets what there is to read of a partition.
func (s *Range) bound(now *Span, from Positions) (bool, error) {
	if s.Spans == nil {
		return s.Narrow == nil || s.Narrow(now), nil
	}
	i := slices.IndexFunc(s.Spans, func(was Span) bool { return was.Partition == now.Partition })
	if i < 0 {
		return false, nil
	}
	was := s.Spans[i]
	begin := max(was.Begin, from[now.Partition])
	if now.End < begin {
		return false, fmt.Errorf("%s partition %d ends at offset %d and was read to %d: %w", now.Topic, now.ID, now.End, begin, ErrAnew)
	}
	now.Chosen, now.Begin, now.End = was.Chosen, begin, min(was.End, now.End)
	return true, nil
}
