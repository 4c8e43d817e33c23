package ingest

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"
)

const (
	// cutGrace is how long before the drain's bound requests that are still
	// sending their bodies are told 408. It covers the half second for which
	// net/http holds such a connection after the answer, so that the bound cuts
	// nobody.
	cutGrace = time.Second
	// farewell is how long a connection that was told to go is kept, for its
	// peer to read that and close.
	farewell = 500 * time.Millisecond
	// sharedCut is how long a drain waits for bodies while others may be waiting
	// in the queue of a shared socket. The sender waits 4 s: with the half second
	// of net/http (see cutGrace) this leaves the successor two, to start and to
	// answer.
	sharedCut = 1500 * time.Millisecond
	// sweepEvery is how often a drain looks for idle connections.
	sweepEvery = 50 * time.Millisecond
)

// Drain ends the server so that every request that was begun gets its answer.
// It returns nil when no connection is left, and an error that says how many
// requests were cut off when ctx ended first. Serve returns after it.
//
// The steps, each with its bound:
//
//  1. Every answer from now on says "Connection: close".
//  2. No new connections (handshakeGrace): those whose handshake is done or
//     under way are still taken, then the socket is closed.
//  3. Connections end by themselves (IdleGrace): a keep-alive sender learns from
//     its next answer that it has to go.
//  4. Idle connections are told to go, with 408 and the end of our side. A
//     request that crosses with that gets the 408 as its answer, which the
//     sender retries soon; after an EOF it would wait an hour. If the request
//     was served all the same, the retry is a duplicate.
//  5. Shortly before ctx ends (cutGrace), bodies that are still arriving are
//     answered 408.
//  6. Close: what is left is cut.
//
// With a Listener of the caller's, step 2 closes this process's descriptor at
// once and takes nothing more: the socket goes on listening for its other
// holders, and what waits in its queue is theirs. Those clients wait from the
// drain's beginning on, so step 5 comes after sharedCut at the latest.
//
// http.Server.Shutdown isn't used because it closes connections on which a
// request has just been sent.
func (s *Server) Drain(ctx context.Context) error {
	s.end.Do(func() {
		s.endErr = s.drain(ctx)
		close(s.ended)
	})
	return s.endErr
}

func (s *Server) drain(ctx context.Context) error {
	began := time.Now()
	s.handler.closing.Store(true)
	if s.listener == nil {
		return nil
	}
	s.log.Info("draining", zap.String("step", "stop accepting"), zap.Int("connections", s.conns.count()))
	select {
	case <-s.serving:
		if err := s.listener.retire(); err != nil {
			s.log.Warn("draining", zap.String("step", "stop accepting"), zap.Error(err))
		}
	default: // nobody has accepted anything, and Serve will find it closed
		return s.closeNow()
	}

	beforeCut, cancel := earlier(ctx, cutGrace)
	defer cancel()
	if s.listener.shared {
		beforeCut, cancel = context.WithDeadline(beforeCut, began.Add(sharedCut))
		defer cancel()
	}
	if s.wait(beforeCut, s.opts.IdleGrace, false) {
		return s.drained(began)
	}
	s.log.Info("draining", zap.String("step", "end idle connections"), zap.Int("connections", s.conns.count()))
	if s.wait(beforeCut, 0, true) {
		return s.drained(began)
	}
	s.log.Info("draining", zap.String("step", "end slow requests"), zap.Int("connections", s.conns.count()))
	s.conns.stopReading()
	if s.wait(ctx, 0, true) {
		return s.drained(began)
	}
	cut := s.conns.active()
	if err := s.closeNow(); err != nil {
		s.log.Warn("draining", zap.String("step", "close"), zap.Error(err))
	}
	if cut == 0 {
		return s.drained(began)
	}
	return fmt.Errorf("ingest: draining: %d requests cut off: %w", cut, context.Cause(ctx))
}

func (s *Server) drained(began time.Time) error {
	if err := s.closeNow(); err != nil {
		return err
	}
	s.log.Info("drained", zap.Duration("took", time.Since(began)))
	return nil
}

// wait reports whether the last connection has gone and no other can come. It
// gives up when ctx ends or, if limit isn't 0, after limit. While it waits it
// tells idle connections to go, if endIdle.
func (s *Server) wait(ctx context.Context, limit time.Duration, endIdle bool) bool {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	for {
		if endIdle {
			s.conns.endIdle(time.Now())
		}
		select {
		case <-s.refuses: // every connection accepted is in the table
			if s.conns.count() == 0 {
				return true
			}
		default:
		}
		select {
		case <-ctx.Done():
			return false
		case <-s.conns.changed:
		case <-sweep.C:
		}
	}
}

// earlier is ctx ending d sooner, if it has a deadline.
func earlier(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok {
		return context.WithDeadline(ctx, deadline.Add(-d))
	}
	return context.WithCancel(ctx)
}
