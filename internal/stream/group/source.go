package group

import (
	"context"
	"errors"
	"sync"
	"time"

	"sluice/internal/stream"
)

// source is a reader as a [stream.Source] that may have an end.
type source struct {
	reader   *stream.Reader
	caughtUp bool
	enough   func() bool // asked after each record
	drain    func()      // called before what is under way is settled, if not everything is to be; nil: not wanted
}

// Run is part of [stream.Source].
func (s *source) Run(ctx context.Context, _ stream.Positions, give func(*stream.Record) error) error {
	inner, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer stop()
	if s.caughtUp {
		watching.Go(func() { s.await(inner, stop) })
	}
	err := s.reader.Run(inner, func(r stream.Record) error {
		if err := give(&r); err != nil {
			return err
		}
		if s.enough() {
			return errEnough
		}
		return ctx.Err() // else a whole fetch would be given out after the end
	})
	if ctx.Err() != nil && s.drain != nil {
		s.drain()
	}
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// await calls stop once all has been read.
func (s *source) await(ctx context.Context, stop func()) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if n, known := s.reader.Behind(); known && n == 0 {
				stop()
			}
		}
	}
}
