package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sluice/dedupe"
	"sluice/internal/stream"
)

// rebuildState is how far a run has come, and the content of the checkpoint.
type rebuildState struct {
	Settings rebuildSettings  `json:"settings"`
	Since    time.Time        `json:"since"`
	Offsets  []rebuildOffset  `json:"next_offsets"`
	Counts   rebuildCounts    `json:"counts"`
	Topics   []rebuildTopic   `json:"topics"`
	Pending  []rebuildPending `json:"pending"`
}

// rebuildSettings are those that decide what is read, and what it is marked as. None is secret.
type rebuildSettings struct {
	Brokers    []string `json:"kafka_brokers"`
	Topic      string   `json:"topic"`
	DeadLetter string   `json:"dead_letter_topic"`
	Overflow   string   `json:"overflow_topic"`
	Redis      string   `json:"redis_url"`
	Prefix     string   `json:"redis_prefix"`
	TTL        string   `json:"dedupe_ttl"`
	ID         string   `json:"dedupe_id"`
	Since      string   `json:"since_flag"`
	DryRun     bool     `json:"dry_run"`
}

// rebuildOffset is the first offset of a partition that isn't done.
type rebuildOffset struct {
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	Offset    int64  `json:"offset"`
}

// rebuildTopic is what was read of a topic.
type rebuildTopic struct {
	Topic   string `json:"topic"`
	Records int64  `json:"records"`
	// NotBefore is the time of the oldest record, where older ones have been deleted and none of the time asked for is
	// left before it: what was kept in between can't be marked.
	NotBefore time.Time `json:"cannot_be_repaired_before,omitzero"`
	// Emptied tells of a partition that has had records and has none.
	Emptied bool `json:"emptied,omitempty"`
}

// rebuildPending is a mark to come again for.
type rebuildPending struct {
	ID         string    `json:"id"`
	DeadLetter bool      `json:"dead_letter"`
	Until      time.Time `json:"until"`
}

var _ = dedupe.Mark(rebuildPending{}) // the same fields

func newRebuildState(s rebuildSettings, since time.Time) *rebuildState {
	return &rebuildState{Settings: s, Since: since.UTC()}
}

// clone is a copy that later progress doesn't change.
func (s *rebuildState) clone() *rebuildState {
	c := *s
	c.Offsets, c.Topics, c.Pending = slices.Clone(s.Offsets), slices.Clone(s.Topics), slices.Clone(s.Pending)
	return &c
}

// reached takes over how far it has been read.
func (s *rebuildState) reached(next map[stream.Partition]int64, topics map[string]*rebuildTopic) {
	s.Offsets = s.Offsets[:0]
	for p, offset := range next {
		s.Offsets = append(s.Offsets, rebuildOffset{p.Topic, p.ID, offset})
	}
	s.Topics = s.Topics[:0]
	for _, t := range topics {
		s.Topics = append(s.Topics, *t)
	}
}

func (s *rebuildState) next() map[stream.Partition]int64 {
	next := make(map[stream.Partition]int64, len(s.Offsets))
	for _, o := range s.Offsets {
		next[stream.Partition{Topic: o.Topic, ID: o.Partition}] = o.Offset
	}
	return next
}

func (s *rebuildState) topics() map[string]*rebuildTopic {
	topics := make(map[string]*rebuildTopic, len(s.Topics))
	for _, t := range s.Topics {
		topics[t.Topic] = &t
	}
	return topics
}

// write replaces the checkpoint in one step: whoever reads it, whenever the machine stops, finds the old or the new one.
func (s *rebuildState) write(path string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing the checkpoint: %w", err)
		}
	}()
	slices.SortFunc(s.Offsets, func(a, b rebuildOffset) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	slices.SortFunc(s.Topics, func(a, b rebuildTopic) int { return cmp.Compare(a.Topic, b.Topic) })
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	_, err = file.Write(append(text, '\n'))
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}

// readCheckpoint reads what write has written, and refuses what was written with other settings.
func readCheckpoint(path string, want rebuildSettings) (*rebuildState, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the checkpoint: %w", err)
	}
	s := &rebuildState{}
	in := json.NewDecoder(bytes.NewReader(text))
	in.DisallowUnknownFields()
	err = in.Decode(s)
	if _, more := in.Token(); err == nil && !errors.Is(more, io.EOF) {
		err = errors.New("something follows its end")
	}
	if err == nil && s.Since.IsZero() {
		err = errors.New("it has no time to begin at")
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoint %s isn't one of sluice dedupe rebuild: %w", path, err)
	}
	if name := s.Settings.differs(want); name != "" {
		return nil, fmt.Errorf("checkpoint %s was made with another %s: run with the same, or begin anew without --resume", path, name)
	}
	return s, nil
}

// differs names the first setting that isn't the same, "" if all are.
func (s rebuildSettings) differs(want rebuildSettings) string {
	for _, x := range []struct {
		name string
		same bool
	}{
		{"kafka-brokers", slices.Equal(s.Brokers, want.Brokers)},
		{"topic", s.Topic == want.Topic},
		{"dead-letter-topic", s.DeadLetter == want.DeadLetter},
		{"overflow-topic", s.Overflow == want.Overflow},
		{"redis-url", s.Redis == want.Redis},
		{"redis-prefix", s.Prefix == want.Prefix},
		{"dedupe-ttl", s.TTL == want.TTL},
		{"dedupe-id", s.ID == want.ID},
		{"--since", s.Since == want.Since},
		{"--dry-run", s.DryRun == want.DryRun},
	} {
		if !x.same {
			return x.name
		}
	}
	return ""
}
