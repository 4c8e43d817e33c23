package filesink

import (
	"context"
	"fmt"
	"io"

	"sluice/internal/stream"
)

// Stream is a [stream.Sink] that writes lines to something that can't be gone on with, such as standard output. A line is
// written at once unless the lines before it are still being written.
type Stream struct{ lines }

// NewStream writes to w, which Close doesn't close.
func NewStream(w io.Writer) *Stream {
	s := &Stream{}
	s.begin(plain{w})
	return s
}

// Write is part of [stream.Sink].
func (s *Stream) Write(ctx context.Context, r *stream.Record, t stream.Ticket) error {
	_, err := s.add(ctx, r)
	if err == nil && len(s.piece) > 0 && len(s.free) == pieces-1 { // nothing is being written
		err = s.hand(ctx, false)
	}
	if err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	t.Kept()
	return nil
}

// Settle is part of [stream.Sink].
func (s *Stream) Settle(ctx context.Context) error {
	if err := s.flush(ctx); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}

// Close is part of [stream.Sink].
func (s *Stream) Close() error {
	if err := s.end(); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}
