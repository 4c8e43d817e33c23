package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/internal/groups"
	"sluice/internal/stream"
)

// rewindPlan is what is to be set, and what came of it. Its JSON form is for programs.
type rewindPlan struct {
	Group      string            `json:"group"`
	State      string            `json:"state"`
	Cluster    string            `json:"cluster_id"`
	To         string            `json:"to"`
	Executed   bool              `json:"executed"`
	Saved      string            `json:"saved,omitempty"` // the file
	Events     int64             `json:"events"`          // to come: at most so many
	Partitions []rewindPartition `json:"partitions"`
	Notes      []string          `json:"notes"`

	group  *groups.Group
	before map[stream.Partition]groups.Offset
	target map[stream.Partition]groups.Offset // where there is to be one; without, it is to be deleted
}

type rewindPartition struct {
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	From      *int64 `json:"from"` // null: no offset is committed
	To        *int64 `json:"to"`   // null: it is to be deleted
	Events    int64  `json:"events"`
	Now       *int64 `json:"now,omitempty"` // what Kafka has after it was executed
}

func (p *rewindPartition) at() stream.Partition {
	return stream.Partition{Topic: p.Topic, ID: p.Partition}
}

// changes reports whether anything is to be done.
func (p *rewindPartition) changes() bool {
	return (p.From == nil) != (p.To == nil) || p.From != nil && *p.From != *p.To
}

// add takes over where a partition is to be.
func (p *rewindPlan) add(at stream.Partition, to *groups.Offset, end int64) {
	row := rewindPartition{Topic: at.Topic, Partition: at.ID}
	if o, committed := p.before[at]; committed {
		row.From = &o.At
	}
	if to != nil {
		row.To, row.Events = &to.At, max(0, end-to.At)
		p.target[at] = *to
	}
	p.Events += row.Events
	p.Partitions = append(p.Partitions, row)
}

// set plans for --to: for the topics on which the group has offsets, or for all.
func (p *rewindPlan) set(to string, places []stream.Place, own bool) {
	p.target = make(map[stream.Partition]groups.Offset)
	reads := make(map[string]bool)
	for at := range p.before {
		reads[at.Topic] = true
	}
	var none, cut, late []string
	for _, place := range places {
		if own && !reads[place.Topic] {
			continue
		}
		o := groups.Offset{At: place.End, Epoch: -1}
		switch {
		case to == toEarliest:
			o.At = place.Begin
		case to != toLatest:
			o.At = place.At[0]
			if o.At == place.Begin && place.Begin > 0 {
				cut = append(cut, placeName(place.Topic, place.ID))
			}
			if o.At == place.End && place.End > place.Begin {
				late = append(late, placeName(place.Topic, place.ID))
			}
		}
		if _, committed := p.before[place.Partition]; !committed {
			none = append(none, placeName(place.Topic, place.ID))
		}
		p.add(place.Partition, &o, place.End)
	}
	if p.State == groups.Missing {
		p.Notes = append(p.Notes, fmt.Sprintf("group %q doesn't exist yet, or has never committed: it would be created", p.Group))
	} else if len(none) > 0 {
		p.Notes = append(p.Notes, "no offset is committed yet in "+firstOf(none, 3)+": one is set there too")
	}
	if len(cut) > 0 {
		p.Notes = append(p.Notes, "in "+firstOf(cut, 3)+" older records were deleted, perhaps some of the time asked for: it goes to the oldest that is left")
	}
	if len(late) > 0 {
		p.Notes = append(p.Notes, "in "+firstOf(late, 3)+" no record is as late: it goes to the end")
	}
}

// restore plans for --restore.
func (p *rewindPlan) restore(saved *savedRewind, places []stream.Place) {
	p.target = make(map[stream.Partition]groups.Offset)
	there := make(map[stream.Partition]stream.Place, len(places))
	for _, place := range places {
		there[place.Partition] = place
	}
	var gone, none, cut []string
	for _, o := range saved.Offsets {
		at := stream.Partition{Topic: o.Topic, ID: o.Partition}
		place, is := there[at]
		switch {
		case !is:
			gone = append(gone, placeName(o.Topic, o.Partition))
			continue
		case o.Offset == nil:
			none = append(none, placeName(o.Topic, o.Partition))
			p.add(at, nil, place.End)
			continue
		case *o.Offset < place.Begin:
			cut = append(cut, placeName(o.Topic, o.Partition))
		}
		p.add(at, &groups.Offset{At: *o.Offset, Epoch: o.Epoch, Metadata: o.Metadata}, place.End)
	}
	if len(gone) > 0 {
		p.Notes = append(p.Notes, "these aren't there any more, and are left out: "+firstOf(gone, 3))
	}
	if len(none) > 0 {
		p.Notes = append(p.Notes, "no offset was committed in "+firstOf(none, 3)+", and none is left there: the consumer's auto.offset.reset decides where it begins")
	}
	if len(cut) > 0 {
		p.Notes = append(p.Notes, "the record at the saved offset was deleted in "+firstOf(cut, 3)+": the consumer's auto.offset.reset decides where it begins")
	}
}

// execute saves, sets and reads back.
func (c *rewindCmd) execute(ctx context.Context, admin *groups.Admin, plan *rewindPlan, p *process) error {
	text := c.Output == "text"
	if text {
		if err := plan.writeText(p.stdout); err != nil {
			return err
		}
	}
	if !plan.group.MayBeSet() {
		return fmt.Errorf("nothing was changed: %w", occupied(plan.group))
	}
	set, forget := make(map[stream.Partition]groups.Offset), []stream.Partition(nil)
	for i := range plan.Partitions {
		row := &plan.Partitions[i]
		switch at := row.at(); {
		case !row.changes():
		case row.To == nil:
			forget = append(forget, at)
		default:
			set[at] = plan.target[at]
		}
	}
	if len(set)+len(forget) == 0 {
		plan.Notes = append(plan.Notes, "nothing is to be changed")
		if text {
			fmt.Fprintln(p.stdout, "Nothing is to be changed.")
		}
		return nil
	}
	name := fmt.Sprintf("rewind-%s-%s.json", fileName(plan.Group), time.Now().UTC().Format("20060102T150405.000Z"))
	if c.Save != nil {
		name = *c.Save
	}
	if err := plan.saved(time.Now()).write(name); err != nil {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	plan.Saved = name
	undo := fmt.Sprintf("the offsets of before are in %s: sluice rewind --group %s --restore %s --execute puts them back", name, shellWord(plan.Group), shellWord(name))
	err := admin.Set(ctx, plan.Group, set)
	if err == nil {
		err = admin.Forget(ctx, plan.Group, forget)
	}
	if err != nil {
		return fmt.Errorf("%w; some may have been set, see sluice groups --group %s; %s", err, shellWord(plan.Group), undo)
	}
	plan.Executed = true
	if err := plan.readBack(ctx, admin); err != nil {
		return fmt.Errorf("%w; %s", err, undo)
	}
	if !text {
		return nil
	}
	return plan.writeDone(p.stdout, undo)
}

// errElsewhere is returned when Kafka has other offsets than were set.
var errElsewhere = errors.New("something else has set offsets meanwhile: has a consumer started?")

// readBack asks what Kafka has now, which has to be what was planned.
func (p *rewindPlan) readBack(ctx context.Context, admin *groups.Admin) error {
	after, err := admin.Offsets(ctx, p.Group)
	if err != nil {
		return fmt.Errorf("it is set, but couldn't be read back: %w", err)
	}
	var other []string
	for i := range p.Partitions {
		row := &p.Partitions[i]
		o, committed := after[row.at()]
		if committed {
			row.Now = &o.At
		}
		if committed != (row.To != nil) || committed && o.At != *row.To {
			other = append(other, placeName(row.Topic, row.Partition))
		}
	}
	if len(other) > 0 {
		return fmt.Errorf("%w (in %s)", errElsewhere, firstOf(other, 3))
	}
	return nil
}
