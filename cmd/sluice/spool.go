package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"sluice/config"
	"sluice/publisher"
	"sluice/publisher/spool"
)

// spoolCmd is "sluice spool". Its commands don't have the flags of the settings instance, spool-after and
// spool-max-bytes, which are about serving: fields without a flag hide them.
type spoolCmd struct {
	Ls     spoolLsCmd     `cmd:"" help:"List the instances' folders and what waits in them."`
	Export spoolExportCmd `cmd:"" help:"Write what waits in the spool as record lines."`
	Drain  spoolDrainCmd  `cmd:"" help:"Send what waits in the spool to Kafka, without serving."`
}

// spoolInstances finds the folders that are meant: those named, or all. It returns names that there are.
func spoolInstances(c *config.Config, named []string) ([]string, error) {
	if c.SpoolDir == "" {
		return nil, &config.InvalidError{Problems: []string{"no spool: set --spool-dir or " + config.Env("spool-dir") + " to the folder that the instances have"}}
	}
	all, err := spool.Instances(c.SpoolDir)
	if err != nil {
		return nil, explainSpool(err, c)
	}
	if len(named) == 0 {
		return all, nil
	}
	for _, name := range named {
		if !slices.Contains(all, name) {
			return nil, fmt.Errorf("there is no instance %q in %s; there %s", name, c.SpoolDir, thereAre(all))
		}
	}
	slices.Sort(named)
	return slices.Compact(named), nil
}

func thereAre(names []string) string {
	switch len(names) {
	case 0:
		return "is none"
	case 1:
		return "is " + names[0]
	}
	return "are " + strings.Join(names, ", ")
}

// spoolFolder is what an instance's folder holds.
type spoolFolder struct {
	*spool.Snapshot
	batches, kept int // entries that are understood
	strange       int // those that aren't
	gone          int // settled since it was looked at
	oldest        time.Time
	newest        time.Time
	topics        map[string]spoolTopic
}

// spoolTopic counts the events for a topic.
type spoolTopic struct{ events, mayBe int }

// readSpool looks into a folder and calls each, which may be nil, for the entries in it. An error of each ends it.
func readSpool(c *config.Config, instance string, each func(spool.Entry, *publisher.SpoolEntry) error) (*spoolFolder, error) {
	snapshot, err := spool.Inspect(c.SpoolDir, instance)
	if err != nil {
		return nil, explainSpool(err, c)
	}
	f := &spoolFolder{Snapshot: snapshot, topics: make(map[string]spoolTopic)}
	topics := topicOptions(c)
	f.gone, err = snapshot.Each(func(e spool.Entry) error {
		x, err := publisher.ReadSpoolEntry(e, topics, publisher.KeyMode(c.Key))
		if err != nil {
			f.strange++
			return nil //nolint:nilerr // it is counted, and stays there
		}
		f.count(e, x)
		if each == nil {
			return nil
		}
		return each(e, x)
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // its instance, or another, has emptied it meanwhile
	}
	return f, err
}

func (f *spoolFolder) count(e spool.Entry, x *publisher.SpoolEntry) {
	t := f.topics[x.Topic]
	t.events += len(x.Records)
	if x.MayBeInKafka {
		f.batches++
		t.mayBe += len(x.Records)
	} else {
		f.kept++
	}
	f.topics[x.Topic] = t
	if f.oldest.IsZero() || e.Time.Before(f.oldest) {
		f.oldest = e.Time
	}
	if e.Time.After(f.newest) {
		f.newest = e.Time
	}
}

// total is all topics together.
func (f *spoolFolder) total() (t spoolTopic) {
	for _, x := range f.topics {
		t.events += x.events
		t.mayBe += x.mayBe
	}
	return t
}

func (f *spoolFolder) topicNames() []string { return slices.Sorted(maps.Keys(f.topics)) }

// unread says what couldn't be read, a sentence each.
func (f *spoolFolder) unread() (texts []string) {
	for _, place := range f.Damage {
		switch {
		case errors.Is(place.Why, spool.ErrFormat):
			texts = append(texts, fmt.Sprintf("%s wasn't read: %v; use the version that wrote it", place.File, place.Why))
		case errors.Is(place.Why, spool.ErrDamaged):
			texts = append(texts, fmt.Sprintf("%s is damaged at byte %d, and what follows (%d bytes) may be lost; keep a copy of the folder", place.File, place.Offset, place.Rest))
		default:
			texts = append(texts, fmt.Sprintf("%s couldn't be read from byte %d on: %v", place.File, place.Offset, place.Why))
		}
	}
	if f.strange > 0 {
		texts = append(texts, fmt.Sprintf("%s of its entries aren't understood; perhaps a newer version has written them", count(int64(f.strange))))
	}
	return texts
}
