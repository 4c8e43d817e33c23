package stream

import (
	"context"
	"errors"

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
}

// From is where an earlier run got to.
type From struct {
	// Next is the next offset to read, by partition. Others, and those whose log ends before it because the topic was
	// created anew, are read as the options say.
	Next map[Partition]int64
	// Placed is called once, when it is known what there is to read, and before the first record; nil = not wanted.
	Placed func([]Span)
}

// RunFrom is [Reader.Run] for a reader that isn't to follow and has no limit of records: it goes on where an earlier run
// got to, with the same options.
func (r *Reader) RunFrom(ctx context.Context, from From, give func(Record) error) error {
	if r.opts.Follow || r.opts.Last > 0 {
		return errors.New("stream: going on is for readers without Options.Follow and Options.Last")
	}
	c, err := dialCluster(ctx, r.opts.Brokers, r.opts.Connect)
	if err != nil {
		return err
	}
	defer c.close()
	f := &further{from: from, next: make(map[partitionID]int64, len(from.Next))}
	for p, next := range from.Next {
		f.next[partitionID{p.Topic, int32(p.ID)}] = next
	}
	n := newRun(r.opts, c, func(x Record) error {
		if f.read(&x) {
			return nil
		}
		return give(x)
	})
	inner, cancel := context.WithCancel(ctx)
	if f.oldest, err = n.oldest(inner); err == nil {
		n.opts.Ready = func(topics int) {
			f.place(n)
			if r.opts.Ready != nil {
				r.opts.Ready(topics)
			}
		}
		err = n.read(inner)
	}
	cancel()
	c.close() // before waiting for the jobs, which may hang on a broker
	n.jobs.Wait()
	if err == nil {
		f.place(n) // a run that has nothing to read is over before it is ready
	}
	if ctx.Err() != nil && n.gaveErr == nil {
		return nil
	}
	return err
}

// further moves partitions on to where an earlier run got to. It belongs to the run's goroutine.
type further struct {
	from   From
	next   map[partitionID]int64 // of partitions that haven't given a record of that offset or later yet
	oldest map[partitionID]int64
	placed bool
}

// read reports whether the earlier run has read the record. Partitions are placed one broker after the other, and may
// have been fetched from before they are moved on.
func (f *further) read(x *Record) bool {
	id := partitionID{x.Topic, int32(x.Partition)}
	next, is := f.next[id]
	if is && x.Offset >= next {
		delete(f.next, id) // should the topic be created anew during the run, all of that is new
	}
	return is && x.Offset < next
}

// place moves partitions on and tells what there is to read.
func (f *further) place(r *run) {
	if f.placed {
		return
	}
	f.placed = true
	var spans []Span
	for _, p := range r.order {
		if !p.resolved {
			continue
		}
		s := Span{
			Partition: Partition{p.id.topic, int(p.id.partition)}, Oldest: f.oldest[p.id], Chosen: p.first, Begin: p.first, End: p.end,
		}
		switch next, is := f.next[p.id]; {
		case is && next > p.end:
			r.log.Warn("topic ends before what was read: reading it anew", zap.String("topic", p.id.topic),
				zap.Int32("partition", p.id.partition), zap.Int64("offset", next), zap.Int64("end", p.end))
			delete(f.next, p.id)
		case is && next > p.first:
			s.Begin = next
			p.pos = max(p.pos, next)
		}
		spans = append(spans, s)
	}
	if f.from.Placed != nil {
		f.from.Placed(spans)
	}
}

// oldest asks for the first offset of each partition that is there.
func (r *run) oldest(ctx context.Context) (map[partitionID]int64, error) {
	found := make(map[partitionID]int64)
	err := r.cluster.insist(ctx, r.opts.Patience, func(ctx context.Context) error {
		topics, err := r.cluster.topicsOf(ctx, r.names())
		if err != nil {
			return err
		}
		led := make(map[int32][]partitionID)
		for i := range topics {
			if !r.chosen(&topics[i]) {
				continue
			}
			for _, p := range topics[i].Partitions {
				if p.LeaderID < 0 {
					return errNoLeader
				}
				led[p.LeaderID] = append(led[p.LeaderID], partitionID{topics[i].Name, p.PartitionIndex})
			}
		}
		for leader, ids := range led {
			offsets, err := r.cluster.offsets(ctx, leader, ids, earliest)
			if err != nil {
				return err
			}
			for id, o := range offsets {
				if o.err != nil {
					return o.err
				}
				found[id] = o.at
			}
		}
		return nil
	})
	return found, err
}
