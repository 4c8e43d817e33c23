package filesink

import (
	"context"
	"io"
	"sync"

	"sluice/internal/stream"
)

const (
	// pieceBytes is how many bytes of lines are handed over at once.
	pieceBytes = 512 << 10
	// pieces is how many there are: one is filled while others are written.
	pieces = 4
)

// output writes pieces of lines.
type output interface {
	// write writes lines. With end a member ends behind them.
	write(lines []byte, end bool) error
}

// plain is an output without members.
type plain struct{ io.Writer }

func (p plain) write(lines []byte, _ bool) error {
	_, err := p.Write(lines)
	return err
}

// lines turns records into pieces of lines, which another goroutine writes. Where a piece ends depends on the records
// alone, and on flush. Its methods belong to one goroutine.
type lines struct {
	piece   []byte
	free    chan []byte
	full    chan handed
	written sync.WaitGroup // pieces
	writing sync.WaitGroup // the goroutine
	ended   bool

	mu  sync.Mutex // guards err
	err error      // the first
}

type handed struct {
	lines []byte
	end   bool
}

// begin starts the goroutine that writes; end stops it.
func (l *lines) begin(to output) {
	l.free, l.full = make(chan []byte, pieces), make(chan handed, pieces)
	for range pieces - 1 {
		l.free <- nil
	}
	l.writing.Go(func() {
		for h := range l.full {
			if l.failed() == nil {
				l.fail(to.write(h.lines, h.end))
			}
			l.free <- h.lines[:0]
			l.written.Done()
		}
	})
}

func (l *lines) failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *lines) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
}

// add takes a record over and returns its line's length.
func (l *lines) add(ctx context.Context, r *stream.Record) (int, error) {
	before := len(l.piece)
	l.piece = append(stream.AppendLine(l.piece, r), '\n')
	n := len(l.piece) - before
	if len(l.piece) < pieceBytes {
		return n, nil
	}
	return n, l.hand(ctx, false)
}

// hand has the piece written. With end a member ends behind it.
func (l *lines) hand(ctx context.Context, end bool) error {
	if err := l.failed(); err != nil {
		return err
	}
	select {
	case next := <-l.free:
		l.written.Add(1)
		l.full <- handed{l.piece, end}
		l.piece = next
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// flush has everything written, and waits.
func (l *lines) flush(ctx context.Context) error {
	if len(l.piece) > 0 {
		if err := l.hand(ctx, false); err != nil {
			return err
		}
	}
	l.written.Wait()
	return l.failed()
}

// end waits for what is being written.
func (l *lines) end() error {
	if l.ended {
		return nil
	}
	l.ended = true
	close(l.full)
	l.writing.Wait()
	return l.failed()
}
