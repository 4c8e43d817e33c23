package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// load is one stretch of requests.
type load struct {
	published int
	elapsed   time.Duration
}

// rate is published events per second.
func (l load) rate() float64 { return float64(l.published) / l.elapsed.Seconds() }

// reuse says whether the requests may be sent more than once. It is for servers that keep nothing.
type reuse bool

var errNoRequestsLeft = errors.New("all prepared requests are sent; raise -max-rate")

// closedLoop has every connection send its next request as soon as the last one is answered, for the time given. A
// connection that breaks, and running out of requests, is an error; other answers than "published" are not, but
// don't count as load.
func closedLoop(ctx context.Context, all []*client, r *requests, again reuse, duration time.Duration) (load, error) {
	var (
		next, done atomic.Int64
		stop       atomic.Bool
		group      sync.WaitGroup
		errs       = make([]error, len(all))
	)
	began := time.Now()
	timer := time.AfterFunc(duration, func() { stop.Store(true) })
	defer timer.Stop()
	defer context.AfterFunc(ctx, func() { stop.Store(true) })()
	for worker, c := range all {
		group.Go(func() {
			answered := int64(0)
			for !stop.Load() {
				i := int(next.Add(1) - 1)
				if i >= r.len() {
					if !again {
						errs[worker] = errNoRequestsLeft
						break
					}
					i %= r.len()
				}
				o, err := c.exchange(r.at(i))
				r.outcomes[i] = o
				if err != nil {
					errs[worker] = fmt.Errorf("connection %d: %w", worker, err)
					break
				}
				if o.kept() {
					answered++
				}
			}
			done.Add(answered)
		})
	}
	group.Wait()
	l := load{published: int(done.Load()), elapsed: time.Since(began)}
	return l, errors.Join(context.Cause(ctx), oneOf(errs))
}
