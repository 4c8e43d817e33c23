package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"sluice/dedupe"
	"sluice/internal/stream"
	"sluice/internal/stream/topicsink"
	"sluice/publisher"
)

// importState is how far an import has come, and the content of its checkpoint.
type importState struct {
	Settings importSettings  `json:"settings"`
	ID       string          `json:"import_id"`
	Next     int64           `json:"next_line"`
	Sink     json.RawMessage `json:"target,omitempty"` // where to go on there
	Counts   importCounts    `json:"counts"`
}

// importSettings are those that decide what is read, and what becomes of it. None is secret.
type importSettings struct {
	File       importFile `json:"file"`
	Topic      string     `json:"topic"`
	DeadLetter string     `json:"dead_letter_topic"`
	Overflow   string     `json:"overflow_topic"`
	ToTopic    string     `json:"to_topic"`
	Key        string     `json:"key"`
	ID         string     `json:"dedupe_id"`
	Dedupe     bool       `json:"dedupe"`
	Skip       bool       `json:"skip_malformed"`
}

// importing is one run of the command. All of it belongs to the goroutine that calls run, but for progress.
type importing struct {
	c      *importCmd
	p      *process
	goOn   string // the command that goes on
	path   string // of the checkpoint; "": none
	show   countedProgress
	in     *importInput
	state  *importState
	source *importSource
	taking *takingSink // nil without --dedupe
	flow   *stream.Flow

	earlier importCounts
	began   time.Time
}

// run imports. Whenever it ends before everything is there, the checkpoint says how to go on.
func (r *importing) run(ctx context.Context) (err error) {
	if err = r.begin(); err != nil {
		return err
	}
	if r.in, err = openInput(r.c.File, r.p.stdin); err != nil {
		return fmt.Errorf("reading %s: %w", r.c.File, err)
	}
	r.show = newCountedProgress(r.p.stderr, "importing")
	if err = r.build(ctx); err != nil {
		return errors.Join(explainTopicSink(explainUnreachable(err)), r.in.end())
	}
	r.began = time.Now()
	done := r.show.start(func() shown { return r.progress() })
	err = r.flow.Run(ctx, replayGrace)
	closed := errors.Join(r.flow.Sink.Close(), r.in.end())
	done()
	if err == nil {
		err = closed
	}
	switch {
	case err == nil && r.path != "":
		err = removeProgress(r.path)
	case err != nil:
		err = r.incomplete(ctx, err)
	}
	return errors.Join(err, r.summary(err == nil).print(r.p.stdout, r.c.Output))
}

// begin is where the import begins: anew, or where the checkpoint says.
func (r *importing) begin() (err error) {
	want := importSettings{
		Topic: r.c.Topic, DeadLetter: r.c.DeadLetterTopic, Overflow: r.c.OverflowTopic, ToTopic: r.c.ToTopic,
		Key: r.c.Key, ID: r.c.DedupeID, Dedupe: r.c.Dedupe, Skip: r.c.SkipMalformed,
	}
	if r.path != "" {
		if want.File, err = fileOf(r.c.File); err != nil {
			return fmt.Errorf("reading %s: %w", r.c.File, err)
		}
	}
	r.state = &importState{Settings: want, ID: replayID(), Next: 1}
	if !r.c.Resume {
		if r.path == "" {
			return nil
		}
		return checkpointThere(r.path)
	}
	s := &importState{}
	err = loadCheckpoint(r.path, "sluice import", s, func() error {
		if s.ID == "" {
			return errors.New("it has no import id")
		}
		return nil
	})
	if err != nil {
		return err
	}
	was := s.Settings
	if was.File != want.File {
		return fmt.Errorf("%s has changed since it was begun with: what was imported of it can't be told any more; begin anew without --resume", r.c.File)
	}
	if err := checkSettings(
		r.path,
		checkpointSetting{"topic", was.Topic == want.Topic},
		checkpointSetting{"dead-letter-topic", was.DeadLetter == want.DeadLetter},
		checkpointSetting{"overflow-topic", was.Overflow == want.Overflow},
		checkpointSetting{"--to-topic", was.ToTopic == want.ToTopic},
		checkpointSetting{"key", was.Key == want.Key},
		checkpointSetting{"dedupe-id", was.ID == want.ID},
		checkpointSetting{"--dedupe", was.Dedupe == want.Dedupe},
		checkpointSetting{"--skip-malformed", was.Skip == want.Skip},
	); err != nil {
		return err
	}
	r.state, r.earlier = s, s.Counts
	return nil
}

// inputName stands for the input where a topic is named. No topic can be called that.
func (r *importing) inputName() string { return "file:" + filepath.Base(r.c.File) }

// build joins source and sink.
func (r *importing) build(ctx context.Context) error {
	mode, err := dedupe.ParseMode(r.c.DedupeID)
	if err != nil {
		return err
	}
	r.source = &importSource{
		in: r.in, name: r.inputName(), mode: mode, key: publisher.KeyMode(r.c.Key), skip: r.c.SkipMalformed, most: r.c.Remember, say: r.show.say,
	}
	log := noticesTo(lineWriter(r.show.say))
	sink, err := r.target(ctx, log)
	if err != nil {
		return err
	}
	if r.c.Dedupe {
		marker, err := newTakingMarker(ctx, &r.c.Config, log)
		if err != nil {
			return errors.Join(err, sink.Close())
		}
		r.taking = &takingSink{
			Resumable: sink, marker: marker, of: r.reservation, ttl: r.c.DedupeTTL, patience: r.c.DedupeLease + pendingEvery, look: r.c.DryRun,
		}
		sink = r.taking
	}
	r.flow = &stream.Flow{Source: r.source, Sink: sink, Before: stream.Positions{stream.Partition{Topic: r.inputName()}: r.state.Next}}
	if r.path != "" {
		r.flow.Checkpoint = r
	}
	if r.path != "" && r.state.Sink == nil { // before anything is written
		state, _, err := sink.State()
		if err == nil {
			r.state.Sink = state
			err = writeCheckpoint(r.path, r.state)
		}
		if err != nil {
			return errors.Join(err, sink.Close())
		}
	}
	if n := r.c.Rate; n > 0 {
		r.flow.Limit = rate.NewLimiter(rate.Limit(n), max(1, int(min(n/5, 1<<20))))
	}
	return nil
}

// target is where records go.
func (r *importing) target(ctx context.Context, log *zap.Logger) (stream.Resumable, error) {
	if r.c.DryRun {
		return nowhere{}, nil
	}
	o := topicsink.Options{Journal: journalOf(r.path), State: r.state.Sink, Log: log}
	if r.c.ToTopic != "" {
		o.Topic = func(*stream.Record) (string, error) { return r.c.ToTopic, nil }
	}
	return newTopicTarget(ctx, &r.c.Config, o, func(x *stream.Record) (string, error) {
		if x.Header(reasonHeader) != "" {
			return "", nil
		}
		return eventTypeOf(x)
	})
}

// reservation is the one of a record.
func (r *importing) reservation(x *stream.Record) (dedupe.Taking, bool) {
	id := identifyRecord(r.source.mode, x).id
	return dedupe.Taking{
		ID: id, Name: "import-" + r.state.ID + ".0." + strconv.FormatInt(x.Offset, 10),
		DeadLetter: x.Header(reasonHeader) != "", Until: time.Now().Add(r.c.DedupeLease),
	}, id != ""
}

// Save is part of [stream.Checkpoint].
func (r *importing) Save(_ context.Context, next stream.Positions, state json.RawMessage) error {
	r.state.Next, r.state.Sink, r.state.Counts = next[stream.Partition{Topic: r.inputName()}], state, r.total()
	return writeCheckpoint(r.path, r.state)
}

// total are the counts over all runs.
func (r *importing) total() importCounts {
	t := r.source.counts
	if r.taking != nil {
		t.Kept = r.taking.counts.Kept + r.taking.counts.Other
		t.Events -= t.Kept
	}
	t.add(r.earlier)
	return t
}

// incomplete explains an error after which something is left to do.
func (r *importing) incomplete(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = fmt.Errorf("%w: interrupted", errIncomplete)
	}
	err = explainTopicSink(explainUnreachable(err))
	if r.path == "" {
		return err
	}
	return fmt.Errorf("%w; this goes on:\n    %s", err, r.goOn)
}

// progress is how far it has come. It is safe for concurrent use.
func (r *importing) progress() importShown {
	return importShown{read: r.in.read.Load(), total: r.in.size, records: r.flow.Counts().Wanted, began: r.began}
}
