package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/internal/groups"
	"sluice/internal/stream"
	"sluice/publisher/connect"
)

// groupsAtOnce is how many groups are asked about at a time.
const groupsAtOnce = 8

// groupsLook gathers what is told of groups.
type groupsLook struct {
	admin   *groups.Admin
	brokers []string
	connect connect.Options
	places  []stream.Place // of all partitions of the chosen topics
	chosen  map[string]bool
}

// place asks where the partitions begin and end.
func (l *groupsLook) place(ctx context.Context, topics []string, match func(string) bool) (err error) {
	if l.places, err = stream.Places(ctx, l.brokers, l.connect, topics, match); err != nil {
		return err
	}
	l.chosen = make(map[string]bool)
	for _, p := range l.places {
		l.chosen[p.Topic] = true
	}
	return nil
}

// all looks at groups and leaves out those that have nothing to do with the chosen topics.
func (l *groupsLook) all(ctx context.Context, names []string) ([]groupReport, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	found := make([]*groupReport, len(names))
	var running sync.WaitGroup
	room := make(chan struct{}, groupsAtOnce)
	for i, name := range names {
		room <- struct{}{}
		running.Go(func() {
			defer func() { <-room }()
			var err error
			if found[i], err = l.one(ctx, name); err != nil {
				cancel(err)
			}
		})
	}
	running.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	reports := []groupReport{}
	for _, g := range found {
		if g != nil {
			reports = append(reports, *g)
		}
	}
	return reports, nil
}

// one looks at a group, nil if it has no offsets on the chosen topics.
func (l *groupsLook) one(ctx context.Context, name string) (*groupReport, error) {
	offsets, err := l.admin.Offsets(ctx, name)
	if err != nil {
		return nil, err
	}
	reads := make(map[string]bool)
	for p := range offsets {
		reads[p.Topic] = l.chosen[p.Topic]
	}
	if !slices.ContainsFunc(l.places, func(p stream.Place) bool { return reads[p.Topic] }) {
		return nil, nil //nolint:nilnil // no group of ours
	}
	described, err := l.admin.Describe(ctx, name)
	if err != nil {
		return nil, err
	}
	g := &groupReport{Group: name, State: described.State, Why: described.Why, Members: []groupMember{}, Partitions: []groupPartition{}}
	held := make(map[stream.Partition]string)
	for _, m := range described.Members {
		g.Members = append(g.Members, groupMember{m.ID, m.ClientID, m.Host, len(m.Partitions)})
		for _, p := range m.Partitions {
			held[p] = m.ClientID
			reads[p.Topic] = l.chosen[p.Topic]
		}
	}
	slices.SortFunc(g.Members, func(a, b groupMember) int { return strings.Compare(a.ID, b.ID) })
	for _, place := range l.places {
		if reads[place.Topic] {
			g.add(place, offsets, held[place.Partition])
		}
	}
	return g, l.since(ctx, g)
}

// add takes a partition over.
func (g *groupReport) add(place stream.Place, offsets map[stream.Partition]groups.Offset, held string) {
	p := groupPartition{Topic: place.Topic, Partition: place.ID, Begin: place.Begin, End: place.End, Member: held}
	if o, committed := offsets[place.Partition]; committed {
		p.Committed = &o.At
		p.Lag = max(0, place.End-max(o.At, place.Begin))
		p.Deleted = max(0, place.Begin-o.At)
	}
	g.Lag += p.Lag
	g.Deleted += p.Deleted
	g.Partitions = append(g.Partitions, p)
}

// since asks from when the oldest unread records are.
func (l *groupsLook) since(ctx context.Context, g *groupReport) error {
	var spans []stream.Span
	for _, p := range g.Partitions {
		if p.Lag > 0 {
			spans = append(spans, stream.Span{Partition: stream.Partition{Topic: p.Topic, ID: p.Partition}, Begin: max(*p.Committed, p.Begin), End: p.End})
		}
	}
	if len(spans) == 0 {
		return nil
	}
	records, err := stream.Peek(ctx, l.brokers, l.connect, spans)
	if errors.Is(err, stream.ErrForbidden) {
		g.Untold = true
		return nil
	}
	if err != nil {
		return err
	}
	for i := range g.Partitions {
		p := &g.Partitions[i]
		r, there := records[stream.Partition{Topic: p.Topic, ID: p.Partition}]
		if !there {
			if p.Lag > 0 { // nothing but markers, or gaps
				g.Lag -= p.Lag
				p.Lag = 0
			}
			continue
		}
		at := r.Time
		p.Oldest = &at
		if g.Oldest == nil || at.Before(*g.Oldest) {
			g.Oldest = &at
		}
	}
	if g.Oldest != nil {
		seconds := max(0, time.Since(*g.Oldest).Seconds())
		g.Behind = &seconds
	}
	return nil
}
