package main

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/internal/stream"
)

// offsetRange are the offsets from begin up to end, which is left out.
type offsetRange struct{ begin, end int64 }

// offsets reads --partition and --offset; nil: all offsets.
func (c *replayCmd) offsets() (*offsetRange, error) {
	switch {
	case c.Partition != nil && *c.Partition < 0:
		return nil, fmt.Errorf("--partition: want 0 or more, got %d", *c.Partition)
	case c.Offset == nil:
		return nil, nil
	case c.Partition == nil:
		return nil, errors.New("--offset needs --partition: each partition counts its own")
	case c.Since != nil || c.Until != nil:
		return nil, errors.New("--offset excludes --since and --until")
	}
	o := &offsetRange{0, math.MaxInt64}
	begin, end, found := strings.Cut(*c.Offset, ":")
	err := errors.New("no colon")
	if found {
		err = errors.Join(parseOffset(begin, &o.begin), parseOffset(end, &o.end))
	}
	if err != nil || o.end < o.begin {
		return nil, fmt.Errorf("--offset: want BEGIN:END such as 100:200, 100: or :200, got %q", *c.Offset)
	}
	return o, nil
}

// parseOffset leaves the default where nothing stands.
func parseOffset(text string, to *int64) error {
	if text == "" {
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err == nil {
		*to = int64(n)
	}
	return err
}

// source is what is to be read.
func (r *replay) source() (*stream.Range, error) {
	offsets, err := r.c.offsets()
	if err != nil {
		return nil, err
	}
	o := stream.Options{
		Brokers: r.c.KafkaBrokers, Connect: connection(&r.c.Config), Log: noticesTo(lineWriter(r.show.say)),
		Since: r.state.Since, Until: r.state.Until, FromStart: r.state.Since.IsZero(),
	}
	o.Topics, o.Match = r.chosen.topics()
	narrow := func(s *stream.Span) bool {
		if r.c.Partition != nil && s.ID != *r.c.Partition {
			return false
		}
		if offsets != nil {
			s.Begin, s.End = offsets.begin, min(offsets.end, s.End)
			s.Chosen = s.Begin
		}
		return true
	}
	return &stream.Range{Options: o, Narrow: narrow, Spans: r.state.spans(), Placed: r.placed}, nil
}

// placed takes over what there is to read, and says what is missing before anything is written.
func (r *replay) placed(spans []stream.Span) error {
	if r.state.Placed {
		r.missing = r.lost(spans)
	} else {
		r.missing = r.eaten(spans)
		r.state.place(spans)
		if err := r.save(); err != nil {
			return err
		}
	}
	for _, m := range r.missing {
		r.show.say("warning: " + m.text())
	}
	var total int64
	for _, s := range spans {
		total += max(0, s.End-max(s.Begin, s.Oldest))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shown.total, r.shown.began = total, time.Now()
	return nil
}

// replayMissing is what was asked for of a topic and isn't there any more.
type replayMissing struct {
	Topic string `json:"topic"`
	// Since is the time from which on everything is there; the zero time if that can't be told.
	Since time.Time `json:"complete_since,omitzero"`
	// Records is the most that are missing: a part may be older than what was asked for.
	Records int64 `json:"records_at_most"`
	// Deleted tells that the topic was deleted since the replay began.
	Deleted bool `json:"topic_deleted,omitempty"`
}

func (m *replayMissing) text() string {
	switch {
	case m.Deleted:
		return fmt.Sprintf("%s was deleted: %s records of it that were still to come are missing", m.Topic, count(m.Records))
	case m.Since.IsZero():
		return fmt.Sprintf("%s: %s records have been deleted, all that there were in a partition", m.Topic, count(m.Records))
	}
	return fmt.Sprintf("%s: records before %s have been deleted, at most %s; what of them was asked for is missing",
		m.Topic, m.Since.Format(time.RFC3339), count(m.Records))
}

// eaten is what retention has removed of what was asked for, as far as can be told.
func (r *replay) eaten(spans []stream.Span) []replayMissing {
	found := make(map[string]*replayMissing)
	for _, s := range spans {
		from := int64(0) // who asks for times may mean any of them
		if r.c.Offset != nil {
			from = s.Begin
		}
		gone := min(s.Oldest, s.End) - from
		if s.Begin > s.Oldest || gone <= 0 {
			continue
		}
		m := missingOf(found, s.Topic)
		m.Records += gone
		if s.Oldest < s.End {
			m.see(s.First)
		}
	}
	return inOrder(found)
}

// lost is what was removed since an earlier run.
func (r *replay) lost(spans []stream.Span) []replayMissing {
	found := make(map[string]*replayMissing)
	next := r.state.next()
	for _, was := range r.state.Spans {
		at := stream.Partition{Topic: was.Topic, ID: was.Partition}
		begin := max(was.Begin, next[at])
		i := slices.IndexFunc(spans, func(s stream.Span) bool { return s.Partition == at })
		switch {
		case begin >= was.End:
		case i < 0:
			m := missingOf(found, was.Topic)
			m.Deleted = true
			m.Records += was.End - begin
		default:
			s := spans[i]
			if gone := max(0, min(s.Oldest, was.End)-begin) + was.End - s.End; gone > 0 {
				m := missingOf(found, was.Topic)
				m.see(s.First)
				m.Records += gone
			}
		}
	}
	return inOrder(found)
}

func missingOf(found map[string]*replayMissing, topic string) *replayMissing {
	if found[topic] == nil {
		found[topic] = &replayMissing{Topic: topic}
	}
	return found[topic]
}

// see takes over the time of the oldest record of a partition.
func (m *replayMissing) see(first time.Time) {
	if first.After(m.Since) {
		m.Since = first
	}
}

func inOrder(found map[string]*replayMissing) (missing []replayMissing) {
	for _, topic := range slices.Sorted(maps.Keys(found)) {
		missing = append(missing, *found[topic])
	}
	return missing
}
