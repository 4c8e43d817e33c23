package stream

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"
)

// Partition names a partition.
type Partition struct {
	Topic string
	ID    int
}

// Span is what [Reader.RunFrom] reads of one partition: the offsets from Begin up to End, which is left out.
type Span struct {
	Partition
	// Oldest is the first offset that the broker still has. Offsets begin at 0, so that anything else tells of records
	// that were deleted.
	Oldest int64
	// Chosen is where the options say to begin; Begin is later where an earlier run got further.
	Chosen, Begin, End int64
	// First is the time of the record at Chosen; the zero time where there is none.
	First time.Time
}

// From is where an earlier run got to.
type From struct {
	// Next is the next offset to read, by partition. Others, and those whose log ends before it because the topic was
	// created anew, are read as the options say.
	Next map[Partition]int64
	// Bound is called for each partition once it is known what there is to read of it, and may set another Begin and End.
	// With false the partition is left out. nil = not wanted.
	Bound func(*Span) (bool, error)
	// Placed is called once, when it is known what there is to read, and before the first record; nil = not wanted.
	Placed func([]Span)
}

// RunFrom is [Reader.Run] for a reader that isn't to follow and has no limit of records: it goes on where an earlier run
// got to, with the same options.
func (r *Reader) RunFrom(ctx context.Context, from From, give func(Record) error) error {
	return r.runFrom(ctx, from, func(x *Record) error { return give(*x) })
}

// runFrom is RunFrom without a copy of each record, which may be kept.
func (r *Reader) runFrom(ctx context.Context, from From, give func(*Record) error) error {
	if r.opts.Follow || r.opts.Last > 0 {
		return errors.New("stream: going on is for readers without Options.Follow and Options.Last")
	}
	c, err := dialCluster(ctx, r.opts.Brokers, r.opts.Connect)
	if err != nil {
		return err
	}
	defer c.close()
	n := newRun(r.opts, c, nil)
	n.give = give
	f := &further{from: from, run: n}
	n.further = f
	n.opts.Ready = func(topics int) {
		f.tell()
		if r.opts.Ready != nil {
			r.opts.Ready(topics)
		}
	}
	inner, cancel := context.WithCancel(ctx)
	err = n.read(inner)
	cancel()
	c.close() // before waiting for the jobs, which may hang on a broker
	n.jobs.Wait()
	if err == nil {
		f.tell() // a run that has nothing to read is over before it is ready
	}
	if ctx.Err() != nil && n.gaveErr == nil {
		return nil
	}
	return err
}

// further moves partitions on to where an earlier run got to. It belongs to the run's goroutine.
type further struct {
	from  From
	run   *run
	spans []Span
	told  bool
}

// place moves a partition on that was placed as the options say.
func (f *further) place(p *partition, b bounds) error {
	at := Partition{p.id.topic, int(p.id.partition)}
	s := Span{Partition: at, Oldest: b.first, Chosen: p.first, Begin: p.first, End: p.end, First: b.firstTime}
	switch next, is := f.from.Next[at]; {
	case is && next > p.end:
		f.run.log.Warn("topic ends before what was read: reading it anew", zap.String("topic", p.id.topic),
			zap.Int32("partition", p.id.partition), zap.Int64("offset", next), zap.Int64("end", p.end))
	case is && next > p.first:
		s.Begin = next
	}
	if f.from.Bound != nil {
		wanted, err := f.from.Bound(&s)
		if err != nil {
			return err
		}
		if !wanted {
			p.pos = p.end
			return nil
		}
	}
	p.end = max(s.End, b.first)
	p.pos = min(max(s.Begin, b.first), p.end)
	p.first = p.pos
	f.spans = append(f.spans, s)
	return nil
}

// tell tells once what there is to read.
func (f *further) tell() {
	if f.told {
		return
	}
	f.told = true
	if f.from.Placed != nil {
		slices.SortFunc(f.spans, func(a, b Span) int {
			return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.ID, b.ID))
		})
		f.from.Placed(f.spans)
	}
}
