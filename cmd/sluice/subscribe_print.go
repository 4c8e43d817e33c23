package main

import (
	"context"
	"fmt"
	"io"

	"sluice/internal/stream"
)

// printed prints events.
type printed struct {
	w      io.Writer
	format tailFormat
}

func (p *printed) sink() (stream.Sink, error) { return &printSink{w: p.w, format: p.format}, nil }
func (p *printed) summary() string            { return "" }

// flushAt is how much is printed at once, in bytes.
const flushAt = 64 << 10

// printSink prints records. They are kept once they have been written to w: what w does with them, as a pipe, is not known.
type printSink struct {
	w       io.Writer
	format  tailFormat
	buf     []byte
	tickets []stream.Ticket // of the records in buf
}

// Write is part of [stream.Sink].
func (s *printSink) Write(_ context.Context, r *stream.Record, t stream.Ticket) error {
	s.buf = s.format(s.buf, r)
	s.tickets = append(s.tickets, t)
	if len(s.buf) < flushAt {
		return nil
	}
	return s.Idle()
}

// Idle prints what is at hand, when nothing more is.
func (s *printSink) Idle() error {
	if _, err := s.w.Write(s.buf); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	for _, t := range s.tickets {
		t.Kept()
	}
	s.buf, s.tickets = s.buf[:0], s.tickets[:0]
	if cap(s.buf) > 1<<20 {
		s.buf = nil
	}
	return nil
}

// Settle is part of [stream.Sink].
func (s *printSink) Settle(context.Context) error { return s.Idle() }

// Close is part of [stream.Sink].
func (s *printSink) Close() error { return nil }
