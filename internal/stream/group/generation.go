package group

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"sluice/internal/stream"
)

// generation is the time between two rebalances.
type generation struct {
	m      *Member
	id     int
	member string           // its id
	leads  bool             // the member divides the partitions of all
	topics map[string]int   // as of the joining
	begin  stream.Positions // the member's partitions

	mu        sync.Mutex       // guards placed
	placed    stream.Positions // where reading began
	committed stream.Positions // belongs to whoever commits
}

// run reads until the generation is over. The error is nil where that is in order.
func (g *generation) run(ctx context.Context) error {
	g.placed, g.committed = make(stream.Positions), make(stream.Positions)
	for p, next := range g.begin {
		if next >= 0 {
			g.committed[p] = next
		}
	}
	reading, end := context.WithCancelCause(ctx)
	// Signs of life are given until the last commit.
	beating, stop := context.WithCancel(context.WithoutCancel(ctx))
	var work sync.WaitGroup
	defer func() {
		end(nil)
		stop()
		work.Wait()
	}()
	work.Go(func() { g.beat(beating, end) })
	work.Go(func() { g.watch(reading, end) })
	var err error
	if len(g.begin) == 0 {
		if g.m.opts.CaughtUp {
			return errEnough
		}
		<-reading.Done()
		err = context.Cause(reading)
	} else {
		err = g.carry(reading, end)
	}
	return g.judge(ctx, reading, err)
}

// judge says what the end of the reading means for the member.
func (g *generation) judge(ctx, reading context.Context, err error) error {
	cause := context.Cause(reading)
	switch {
	case ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)):
		return nil
	case reading.Err() != nil && (err == nil || errors.Is(err, context.Canceled) || errors.Is(err, cause)):
		switch {
		case errors.Is(cause, errLost):
			g.m.log.Warn("the group has gone on without this member; what it hasn't committed is delivered again")
			return nil
		case errors.Is(cause, errRebalance), errors.Is(cause, errTopics):
			g.m.log.Info("rebalancing: " + cause.Error())
			return nil
		}
		return cause
	case err == nil:
		return errEnough
	}
	return err
}

// carry carries the records of the member's partitions to a sink.
func (g *generation) carry(ctx context.Context, end context.CancelCauseFunc) error {
	sink, err := g.m.opts.Sink()
	if err != nil {
		return err
	}
	err = g.fill(ctx, sink, end)
	return errors.Join(err, sink.Close())
}

func (g *generation) fill(ctx context.Context, sink stream.Sink, end context.CancelCauseFunc) error {
	o := &g.m.opts
	options := stream.Options{
		Brokers: o.Brokers, Connect: o.Connect, Assigned: g.begin, Follow: true, Since: o.Since,
		FromStart: o.Since.IsZero() && !o.Latest, Log: o.Log,
		Placed: func(p stream.Partition, next int64) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.placed[p] = next
		},
	}
	for p := range g.begin {
		options.Topics = append(options.Topics, p.Topic)
	}
	slices.Sort(options.Topics)
	options.Topics = slices.Compact(options.Topics)
	if idle, is := sink.(idler); is {
		options.Idle = idle.Idle
	}
	reader, err := stream.NewReader(options)
	if err != nil {
		return err
	}
	flow := &stream.Flow{Filters: o.Filters, Limit: o.Limit, Sink: sink, Ahead: ahead}
	s := &source{reader: reader, caughtUp: o.CaughtUp, enough: func() bool {
		return o.Count > 0 && g.m.Counts().Wanted >= o.Count
	}}
	if d, can := sink.(drainer); can {
		s.drain = d.Drain
	}
	flow.Source = s
	g.m.flow.Store(flow)
	defer g.m.passed(flow)

	ticking, stop := context.WithCancel(ctx)
	var ticks sync.WaitGroup
	ticks.Go(func() { g.tick(ticking, flow, reader, end) })
	err = flow.Run(ctx, o.Settle)
	stop()
	ticks.Wait()
	if errors.Is(context.Cause(ctx), errLost) {
		return err
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	failed := g.commitAll(last, flow)
	if expelled(failed) {
		g.m.log.Warn("the group has gone on without this member; what it hasn't committed is delivered again")
		failed = nil
	}
	if failed != nil && !final(failed) {
		g.m.log.Warn("can't commit; what was kept last is delivered again", zap.Error(failed))
		failed = nil
	}
	return errors.Join(err, failed)
}

// passed takes the counts of a flow that has ended over.
func (m *Member) passed(f *stream.Flow) {
	c := f.Counts()
	m.flow.Store(nil)
	m.counts.read.Add(c.Read)
	m.counts.wanted.Add(c.Wanted)
	m.counts.bytes.Add(c.Bytes)
}

// tick commits, and tells how far the member is behind.
func (g *generation) tick(ctx context.Context, flow *stream.Flow, reader *stream.Reader, end context.CancelCauseFunc) {
	tick := time.NewTicker(commitEvery)
	defer tick.Stop()
	told, shown, troubled := time.Now(), int64(-1), false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := g.commit(ctx, flow.Next())
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			if troubled {
				g.m.log.Info("commits go on")
			}
			troubled = false
		case expelled(err):
			end(errLost)
			return
		case final(err):
			end(err)
			return
		case !troubled && !isRebalance(err):
			troubled = true
			g.m.log.Warn("can't commit; trying on", zap.Error(err))
		}
		if behind, known := reader.Behind(); known && behind != shown && time.Since(told) >= lagEvery {
			told, shown = time.Now(), behind
			g.m.log.Info(fmt.Sprintf("behind by %d events", behind))
		}
	}
}

// commitAll commits what a flow that has ended has kept, and tries again until ctx ends.
func (g *generation) commitAll(ctx context.Context, flow *stream.Flow) error {
	for {
		err := g.commit(ctx, flow.Next())
		if err == nil || expelled(err) || final(err) || isRebalance(err) || ctx.Err() != nil {
			return err
		}
		wait(ctx, 200*time.Millisecond)
	}
}

// uncommitted are the positions that the group doesn't know yet.
func (g *generation) uncommitted(next stream.Positions) stream.Positions {
	g.mu.Lock()
	due := maps.Clone(g.placed) // so that a group which was begun somewhere stays there
	g.mu.Unlock()
	maps.Copy(due, next)
	maps.DeleteFunc(due, func(p stream.Partition, at int64) bool {
		was, known := g.committed[p]
		return known && was == at
	})
	return due
}
