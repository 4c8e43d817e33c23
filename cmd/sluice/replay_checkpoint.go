package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"sluice/internal/stream"
)

// replayState is how far a replay has come, and the content of its checkpoint.
type replayState struct {
	Settings replaySettings  `json:"settings"`
	ID       string          `json:"replay_id"`
	Since    time.Time       `json:"since,omitzero"`
	Until    time.Time       `json:"until,omitzero"`
	Placed   bool            `json:"placed"` // spans hold
	Spans    []replaySpan    `json:"spans,omitempty"`
	Next     []replayOffset  `json:"next_offsets,omitempty"`
	Sink     json.RawMessage `json:"target,omitempty"` // where to go on there
	Counts   replayCounts    `json:"counts"`
}

// replaySpan is what there is to read of a partition.
type replaySpan struct {
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	Begin     int64  `json:"begin"`
	End       int64  `json:"end"`
}

// replayOffset is the first offset of a partition that isn't done.
type replayOffset struct {
	Topic     string `json:"topic"`
	Partition int    `json:"partition"`
	Offset    int64  `json:"offset"`
}

// replaySettings are those that decide what is read, and what becomes of it. None is secret.
type replaySettings struct {
	Brokers    []string `json:"kafka_brokers"`
	Topic      string   `json:"topic"`
	DeadLetter string   `json:"dead_letter_topic"`
	Overflow   string   `json:"overflow_topic"`
	Types      []string `json:"types"`
	Unknown    bool     `json:"unknown"`
	Since      string   `json:"since"`
	Until      string   `json:"until"`
	Partition  int      `json:"partition"` // -1: all
	Offset     string   `json:"offset"`
	ToFile     string   `json:"to_file"`
	ToTopic    string   `json:"to_topic"`
	ToHTTP     string   `json:"to_http"`
	Reroute    bool     `json:"reroute"`
	JQ         string   `json:"jq"`
	Customer   string   `json:"customer"`
	DeliveryID string   `json:"delivery_id"`
	EventID    string   `json:"event_id"`
}

func (c *replayCmd) settings() replaySettings {
	s := replaySettings{
		Brokers: c.KafkaBrokers, Topic: c.Topic, DeadLetter: c.DeadLetterTopic, Overflow: c.OverflowTopic,
		Types: slices.Sorted(slices.Values(c.types())), Unknown: c.Unknown, Partition: -1,
		ToFile: c.ToFile, ToTopic: c.ToTopic, ToHTTP: withoutPassword(c.ToHTTP), Reroute: c.Reroute,
		JQ: c.JQ, Customer: c.Customer, DeliveryID: c.DeliveryID, EventID: c.EventID,
	}
	for of, flag := range map[*string]*string{&s.Since: c.Since, &s.Until: c.Until, &s.Offset: c.Offset} {
		if flag != nil {
			*of = *flag
		}
	}
	if c.Partition != nil {
		s.Partition = *c.Partition
	}
	return s
}

// check refuses other settings than the checkpoint's.
func (s replaySettings) check(path string, want replaySettings) error {
	return checkSettings(
		path,
		checkpointSetting{"kafka-brokers", slices.Equal(s.Brokers, want.Brokers)},
		checkpointSetting{"topic", s.Topic == want.Topic},
		checkpointSetting{"dead-letter-topic", s.DeadLetter == want.DeadLetter},
		checkpointSetting{"overflow-topic", s.Overflow == want.Overflow},
		checkpointSetting{"choice of event types", slices.Equal(s.Types, want.Types)},
		checkpointSetting{"--unknown", s.Unknown == want.Unknown},
		checkpointSetting{"--since", s.Since == want.Since},
		checkpointSetting{"--until", s.Until == want.Until},
		checkpointSetting{"--partition", s.Partition == want.Partition},
		checkpointSetting{"--offset", s.Offset == want.Offset},
		checkpointSetting{"--to-file", s.ToFile == want.ToFile},
		checkpointSetting{"--to-topic", s.ToTopic == want.ToTopic},
		checkpointSetting{"--to-http", s.ToHTTP == want.ToHTTP},
		checkpointSetting{"--reroute", s.Reroute == want.Reroute},
		checkpointSetting{"--jq", s.JQ == want.JQ},
		checkpointSetting{"--customer", s.Customer == want.Customer},
		checkpointSetting{"--delivery-id", s.DeliveryID == want.DeliveryID},
		checkpointSetting{"--event-id", s.EventID == want.EventID},
	)
}

// begin is where the replay begins: anew, or where the checkpoint says.
func (c *replayCmd) begin(path string, id func() string) (*replayState, error) {
	want := c.settings()
	if c.Resume {
		s := &replayState{}
		err := loadCheckpoint(path, "sluice replay", s, func() error {
			if s.ID == "" {
				return errors.New("it has no replay id")
			}
			return nil
		})
		if err == nil {
			err = s.Settings.check(path, want)
		}
		if err == nil {
			err = checkSettings(path, checkpointSetting{"--replay-id", c.ReplayID == "" || c.ReplayID == s.ID})
		}
		return s, err
	}
	if c.resumable() {
		if err := checkpointThere(path); err != nil {
			return nil, err
		}
	}
	s := &replayState{Settings: want, ID: cmp.Or(c.ReplayID, id())}
	var err error
	s.Since, s.Until, err = c.span(time.Now())
	return s, err
}

// next are the positions that were reached.
func (s *replayState) next() stream.Positions {
	next := make(stream.Positions, len(s.Next))
	for _, o := range s.Next {
		next[stream.Partition{Topic: o.Topic, ID: o.Partition}] = o.Offset
	}
	return next
}

// spans are those of the first run, nil before it knew them.
func (s *replayState) spans() []stream.Span {
	if !s.Placed {
		return nil
	}
	spans := make([]stream.Span, 0, len(s.Spans))
	for _, x := range s.Spans {
		spans = append(spans, stream.Span{
			Partition: stream.Partition{Topic: x.Topic, ID: x.Partition}, Chosen: x.Begin, Begin: x.Begin, End: x.End,
		})
	}
	return spans
}

// place takes over what there is to read.
func (s *replayState) place(spans []stream.Span) {
	s.Placed, s.Spans = true, nil
	for _, x := range spans {
		s.Spans = append(s.Spans, replaySpan{x.Topic, x.ID, x.Begin, x.End})
	}
}

// Save is part of [stream.Checkpoint].
func (r *replay) Save(_ context.Context, next stream.Positions, state json.RawMessage) error {
	r.state.Next = r.state.Next[:0]
	for p, offset := range next {
		r.state.Next = append(r.state.Next, replayOffset{p.Topic, p.ID, offset})
	}
	slices.SortFunc(r.state.Next, func(a, b replayOffset) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	r.state.Sink, r.state.Counts = state, r.total()
	return r.save()
}

// save writes the checkpoint, if there is one.
func (r *replay) save() error {
	if r.path == "" {
		return nil
	}
	return writeCheckpoint(r.path, r.state)
}
