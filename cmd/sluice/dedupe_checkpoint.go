package main

import (
	"cmp"
	"errors"
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

// write replaces the checkpoint.
func (s *rebuildState) write(path string) error {
	slices.SortFunc(s.Offsets, func(a, b rebuildOffset) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	slices.SortFunc(s.Topics, func(a, b rebuildTopic) int { return cmp.Compare(a.Topic, b.Topic) })
	return writeCheckpoint(path, s)
}

// readCheckpoint reads what write has written, and refuses what was written with other settings.
func readCheckpoint(path string, want rebuildSettings) (*rebuildState, error) {
	s := &rebuildState{}
	err := loadCheckpoint(path, "sluice dedupe rebuild", s, func() error {
		if s.Since.IsZero() {
			return errors.New("it has no time to begin at")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s, s.Settings.check(path, want)
}

// check refuses other settings than the checkpoint's.
func (s rebuildSettings) check(path string, want rebuildSettings) error {
	return checkSettings(
		path,
		checkpointSetting{"kafka-brokers", slices.Equal(s.Brokers, want.Brokers)},
		checkpointSetting{"topic", s.Topic == want.Topic},
		checkpointSetting{"dead-letter-topic", s.DeadLetter == want.DeadLetter},
		checkpointSetting{"overflow-topic", s.Overflow == want.Overflow},
		checkpointSetting{"redis-url", s.Redis == want.Redis},
		checkpointSetting{"redis-prefix", s.Prefix == want.Prefix},
		checkpointSetting{"dedupe-ttl", s.TTL == want.TTL},
		checkpointSetting{"dedupe-id", s.ID == want.ID},
		checkpointSetting{"--since", s.Since == want.Since},
		checkpointSetting{"--dry-run", s.DryRun == want.DryRun},
	)
}
