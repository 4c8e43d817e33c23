package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// readingMost bounds the files that are kept open for reading. A backlog a topic is read from its beginning on, so that
// most of them read the same few.
const readingMost = 32

// Read returns an unsettled entry's payload. An error that wraps [ErrDamaged] is for ever.
func (l *Log) Read(number uint64) ([]byte, error) {
	e, err := l.read(number)
	return e.Payload, err
}

func (l *Log) read(number uint64) (Entry, error) {
	for {
		l.mu.Lock()
		p, ok := l.find(number)
		if !ok {
			l.mu.Unlock()
			return Entry{}, fmt.Errorf("%w: there is no entry %d", ErrDamaged, number)
		}
		l.mu.Unlock()
		e, err := l.readPlace(p)
		if err == nil && e.Number != number {
			err = fmt.Errorf("%w: entry %d stands in place of %d", ErrDamaged, e.Number, number)
		}
		if err == nil {
			return e, nil
		}
		l.mu.Lock()
		now, ok := l.find(number)
		moved := !ok || now != p // it was written anew, and the file deleted, in this moment
		l.mu.Unlock()
		if moved || errors.Is(err, os.ErrClosed) { // or the file was closed for others to be open
			continue
		}
		if errors.Is(err, ErrDamaged) {
			l.metrics.fault(faultUnreadable)
		}
		return Entry{}, fmt.Errorf("spool: reading %s at %d: %w", p.in.path, p.offset, err)
	}
}

// readPlace reads what stands at a place.
func (l *Log) readPlace(p place) (e Entry, err error) {
	l.mu.Lock()
	f, err := l.reader(p.in)
	l.mu.Unlock()
	if err != nil {
		return e, err
	}
	body, err := readFrame(io.NewSectionReader(f, int64(p.offset), maxFrame+frameHead))
	if err == nil {
		e, e.supersedes, err = parseEntry(body)
	}
	e.Number += p.in.base
	for i := range e.supersedes {
		e.supersedes[i] += p.in.base
	}
	if errors.Is(err, errTorn) || errors.Is(err, errCorrupt) || errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return e, err
}

// reader opens a file for reading, or returns it if it is open. mu is held.
func (l *Log) reader(seg *segment) (*os.File, error) {
	if seg.in != nil {
		return seg.in, nil
	}
	if len(l.reading) >= readingMost {
		l.stopReading(l.reading[0])
	}
	f, err := os.Open(seg.path)
	if err != nil {
		return nil, err
	}
	seg.in = f
	l.reading = append(l.reading, seg)
	return f, nil
}

// stopReading closes a file, for reading. Whoever reads it in this moment is done first. mu is held.
func (l *Log) stopReading(seg *segment) {
	if seg.in == nil {
		return
	}
	_ = seg.in.Close() // nothing was written
	seg.in = nil
	l.reading = slices.DeleteFunc(l.reading, func(s *segment) bool { return s == seg })
}
