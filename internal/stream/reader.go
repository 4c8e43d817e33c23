package stream

import (
	"context"
	"sync/atomic"
)

// Reader reads topics. Run may be called more than once; each call begins anew.
type Reader struct {
	opts   Options
	behind atomic.Int64 // -1: not known
}

// NewReader checks the options and connects to nothing. The errors name the option.
func NewReader(o Options) (*Reader, error) {
	o, err := o.validate()
	if err != nil {
		return nil, err
	}
	r := &Reader{opts: o}
	r.behind.Store(-1)
	return r, nil
}

// Behind is how many offsets there were, by what brokers last said, between what a follower has given out and the ends of
// its partitions. known is false until all partitions have been read from. It may be asked for at any time.
func (r *Reader) Behind() (offsets int64, known bool) {
	n := r.behind.Load()
	return max(n, 0), n >= 0
}

// Run calls give for each record, one at a time, and returns when it is through, when ctx ends (nil) or when give fails
// (its error). First come the records up to the end of each partition as of now, merged by time; the order within a
// partition is always kept. With Follow, others come as they arrive.
//
// At the start it takes [Options].Patience for brokers to answer; the error then wraps [ErrUnreachable], or is the
// broker's refusal. Later, a follower overcomes everything but a refusal and tells the log; without Follow, a failure
// that lasts is an [ErrUnreachable]. A partition that can't be read at the start isn't waited for longer than that
// either, so its records may come late.
//
// Where the broker has deleted records before they could be read, reading goes on at the oldest one. A topic that is
// deleted and created again is read from its beginning; if, within half a second, it has also been filled again beyond
// the place reached, that isn't noticed.
//
// Memory: 32 MiB of fetched records during the merge and 16 MiB a broker otherwise, but at least one batch a partition.
func (r *Reader) Run(ctx context.Context, give func(Record) error) error {
	c, err := dialCluster(ctx, r.opts.Brokers, r.opts.Connect)
	if err != nil {
		return err
	}
	defer c.close()
	n := newRun(r.opts, c, give)
	n.behind = &r.behind
	inner, cancel := context.WithCancel(ctx)
	err = n.read(inner)
	cancel()
	c.close() // before waiting for the jobs, which may hang on a broker
	n.jobs.Wait()
	if ctx.Err() != nil && n.gaveErr == nil {
		return nil
	}
	return err
}
