package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/time/rate"

	"sluice/internal/stream"
)

// replayGrace is how long what is under way may take to end after an interruption.
const replayGrace = 10 * time.Second

// replay is one run of the command. All of it belongs to the goroutine that calls run, but for progress.
type replay struct {
	c      *replayCmd
	p      *process
	chosen *topicChoice
	goOn   string // the command that goes on
	show   countedProgress
	path   string // of the checkpoint; "": none
	state  *replayState
	flow   *stream.Flow

	earlier replayCounts // of earlier runs, up to the checkpoint
	counts  replayCounts // of this run, what filters couldn't judge
	missing []replayMissing

	mu    sync.Mutex // guards shown
	shown replayShown
}

func newReplay(c *replayCmd, p *process, chosen *topicChoice, goOn string) *replay {
	r := &replay{c: c, p: p, chosen: chosen, goOn: goOn, show: newCountedProgress(p.stderr, replayShown{}.text(time.Time{}))}
	if c.resumable() {
		r.path = c.defaultCheckpoint()
	}
	return r
}

// replayID is what a replay is called that nobody names.
func replayID() string { return strings.ToLower(rand.Text()[:10]) }

// run replays to the target. Whenever it ends before everything is there, the checkpoint says how to go on.
func (r *replay) run(ctx context.Context) (err error) {
	if r.state, err = r.c.begin(r.path, replayID); err != nil {
		return err
	}
	r.earlier = r.state.Counts
	sink, err := r.target()
	if err != nil {
		return err
	}
	if err = r.build(ctx, sink); err != nil {
		return errors.Join(err, sink.Close())
	}
	done := r.show.start(func() shown { return r.progress() })
	began := time.Now()
	err = r.flow.Run(ctx, replayGrace)
	if closed := sink.Close(); err == nil {
		err = closed
	}
	done()
	return r.end(ctx, err, time.Since(began))
}

// target opens the target. The checkpoint comes first: whenever the process is killed, what is half there can be gone on
// with.
func (r *replay) target() (stream.Sink, error) {
	if r.path == "" || r.c.Resume {
		return r.open()
	}
	if _, err := os.Lstat(r.c.ToFile); r.c.ToFile != "" && err == nil {
		return nil, fmt.Errorf("%s is there already: name a new file, or delete it", r.c.ToFile)
	}
	if err := r.save(); err != nil {
		return nil, err
	}
	sink, err := r.open()
	if err != nil {
		return nil, errors.Join(err, removeCheckpoint(r.path))
	}
	return sink, nil
}

// build joins source, filters and sink.
func (r *replay) build(ctx context.Context, sink stream.Sink) error {
	if to, is := sink.(stream.Resumable); is && r.path != "" && r.state.Sink == nil {
		state, ok, err := to.State()
		if err != nil {
			return err
		}
		if ok {
			r.state.Sink = state
			if err := r.save(); err != nil {
				return err
			}
		}
	}
	source, err := r.source()
	if err != nil {
		return err
	}
	filters, err := r.c.filters(ctx, &r.counts)
	if err != nil {
		return err
	}
	r.flow = &stream.Flow{
		Source: source, Filters: append([]stream.Filter{r.keeps()}, filters...), Sink: sink, Before: r.state.next(), Every: r.c.Every,
	}
	if r.path != "" {
		r.flow.Checkpoint = r
	}
	if n := r.c.Rate; n > 0 {
		// What is missed while a slow target is waited for may be caught up with for a fifth of a second.
		r.flow.Limit = rate.NewLimiter(rate.Limit(n), max(1, int(min(n/5, 1<<20))))
	}
	return nil
}

// keeps wants records of the types that were chosen. The answer for one is that for the next of the same topic and type.
func (r *replay) keeps() stream.Filter {
	var topic string
	var eventType []byte
	var kept bool
	return func(x *stream.Record) (bool, error) {
		if named := x.HeaderBytes(eventTypeHeader); x.Topic != topic || !bytes.Equal(named, eventType) {
			topic, eventType, kept = x.Topic, bytes.Clone(named), r.chosen.keep(x)
		}
		return kept, nil
	}
}

// total are the counts over all runs.
func (r *replay) total() replayCounts {
	t, now := r.earlier, r.flow.Counts()
	t.Read += now.Read
	t.Written += now.Wanted
	t.Bytes += now.Bytes
	t.NotJSON += r.counts.NotJSON
	t.Failed += r.counts.Failed
	if t.Failure == "" {
		t.Failure = r.counts.Failure
	}
	return t
}

// progress is how far it has come. It is safe for concurrent use.
func (r *replay) progress() replayShown {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.shown
	if !s.began.IsZero() {
		now := r.flow.Counts()
		s.read, s.written = now.Read, now.Wanted
	}
	return s
}

// end says what came of it, and how to go on if something is left.
func (r *replay) end(ctx context.Context, err error, took time.Duration) error {
	if r.c.ToFile == "-" && (errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe)) {
		return nil
	}
	if err == nil && r.path != "" {
		err = removeCheckpoint(r.path)
	} else if err != nil {
		err = r.incomplete(ctx, err)
	}
	out := r.p.stdout
	if r.c.ToFile == "-" {
		out = r.p.stderr
	}
	return errors.Join(err, r.summary(err == nil, took).print(out, r.c.Output))
}

// incomplete explains an error after which something is left to do.
func (r *replay) incomplete(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = fmt.Errorf("%w: interrupted", errIncomplete)
	}
	err = explainUnreachable(err)
	if r.path == "" || errors.Is(err, stream.ErrAnew) {
		return err
	}
	return fmt.Errorf("%w; this goes on:\n    %s", err, r.goOn)
}
