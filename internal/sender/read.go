package sender

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
)

// MaxBody is the longest body that is read from a file or a line, in bytes: more than any receiver accepts.
const MaxBody = 16 << 20

// ErrTooLong says that a body is longer than [MaxBody].
var ErrTooLong = fmt.Errorf("longer than %d bytes", MaxBody)

// Format is how bodies lie in a file.
type Format string

// The formats.
const (
	FormatByName Format = ""       // NDJSON if it is called *.ndjson or *.jsonl or is standard input, else one body
	FormatNDJSON Format = "ndjson" // one body a line, without the line break; empty lines are skipped
	FormatBody   Format = "body"   // one body, byte for byte
)

// Stdin is the file name that stands for standard input.
const Stdin = "-"

// Files says what to read.
type Files struct {
	Names  []string
	Format Format
	// Stdin is read for the name "-".
	Stdin io.Reader
	// DeliveryIDs gives events the delivery id in their body as X-CIO-Delivery-ID, if they have one.
	DeliveryIDs bool
}

// Events reads the files one after the other, a line or a body at a time, whenever the next event is asked for. An error
// names the file, and the line if there are lines; it is the last thing yielded.
func (f Files) Events() iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for _, name := range f.Names {
			if !f.read(name, yield) {
				return
			}
		}
	}
}

// read yields one file's events and reports whether to go on.
func (f Files) read(name string, yield func(Event, error) bool) bool {
	r, shown := f.Stdin, "standard input"
	if name != Stdin {
		file, err := os.Open(name)
		if err != nil {
			yield(Event{}, fmt.Errorf("reading events: %w", err))
			return false
		}
		defer func() { _ = file.Close() }() // it was only read
		r, shown = file, name
	}
	bodies := oneBody(r)
	if f.lines(name) {
		bodies = lines(r)
	}
	for body, err := range bodies {
		if err != nil {
			yield(Event{}, fmt.Errorf("reading %s: %w", shown, err))
			return false
		}
		if !yield(parsed(body, f.DeliveryIDs), nil) {
			return false
		}
	}
	return true
}

// lines reports whether the file is to be read as NDJSON.
func (f Files) lines(name string) bool {
	if f.Format != FormatByName {
		return f.Format == FormatNDJSON
	}
	switch strings.ToLower(filepath.Ext(name)) {
	case ".ndjson", ".jsonl":
		return true
	}
	return name == Stdin
}

// oneBody yields all that r holds.
func oneBody(r io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		body, err := io.ReadAll(io.LimitReader(r, MaxBody+1))
		if err == nil && len(body) > MaxBody {
			err = ErrTooLong
		}
		yield(body, err)
	}
}

// lines yields the lines of r without their breaks, "\n" or "\r\n". The last one may lack it.
func lines(r io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		s := bufio.NewScanner(r)
		s.Buffer(make([]byte, 0, 64<<10), MaxBody+len("\r\n"))
		number := 0
		for s.Scan() {
			number++
			line := s.Bytes()
			if len(line) == 0 {
				continue
			}
			if len(line) > MaxBody {
				yield(nil, fmt.Errorf("line %d: %w", number, ErrTooLong))
				return
			}
			if !yield(bytes.Clone(line), nil) {
				return
			}
		}
		switch err := s.Err(); {
		case errors.Is(err, bufio.ErrTooLong):
			yield(nil, fmt.Errorf("line %d: %w", number+1, ErrTooLong))
		case err != nil:
			yield(nil, fmt.Errorf("line %d: %w", number+1, err))
		}
	}
}
