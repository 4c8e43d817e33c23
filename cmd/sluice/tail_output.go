package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"sluice/internal/stream"
)

// tailFormat appends a record's text, line break included.
type tailFormat func(b []byte, r *stream.Record) []byte

// format is the format that --output asks for.
func (c *tailCmd) format(p *process, chosen *topicChoice) tailFormat {
	terminal := isTerminal(p.stdout)
	switch {
	case c.Output == "raw":
		return func(b []byte, r *stream.Record) []byte { return append(append(b, r.Value...), '\n') }
	case c.Output == "json" || c.Output == "auto" && !terminal:
		return func(b []byte, r *stream.Record) []byte { return append(stream.AppendLine(b, r), '\n') }
	}
	pretty := &prettyEvents{topics: chosen, zone: time.Local, width: func() int { return 0 }}
	if terminal {
		pretty.colours = wantsColours(p.environ)
		pretty.width = func() int { return widthOf(p.stdout) }
	}
	return pretty.append
}

// wantsColours follows no-color.org, and leaves dumb terminals alone.
func wantsColours(environ []string) bool {
	return !slices.ContainsFunc(environ, func(pair string) bool {
		name, value, _ := strings.Cut(pair, "=")
		return name == "NO_COLOR" && value != "" || name == "TERM" && value == "dumb"
	})
}

// widthOf is how many columns a terminal has, 0 if that can't be told.
func widthOf(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return columns
}

// tailOutput prints records. They are buffered until Flush.
type tailOutput struct {
	*bufio.Writer
	format tailFormat
	buf    []byte
}

func newTailOutput(w io.Writer, format tailFormat) *tailOutput {
	return &tailOutput{Writer: bufio.NewWriterSize(w, 64<<10), format: format}
}

func (o *tailOutput) print(r stream.Record) error {
	o.buf = o.format(o.buf[:0], &r)
	if _, err := o.Write(o.buf); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	if cap(o.buf) > 1<<20 {
		o.buf = nil
	}
	return nil
}
