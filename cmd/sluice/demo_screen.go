//go:build !nodemo

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"
)

// screen shows a text that changes, and lets other lines pass above it. Where it isn't live it shows only the text's
// last line, now and then.
type screen struct {
	live bool

	mu    sync.Mutex
	out   io.Writer
	shown string // what stands on the terminal and is to be replaced
}

func newScreen(out io.Writer, live bool) *screen { return &screen{live: live, out: out} }

// every is how often to show.
func (s *screen) every() time.Duration {
	if s.live {
		return 250 * time.Millisecond
	}
	return 2 * time.Second
}

// show puts the new text in the old one's place.
func (s *screen) show(table string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.live {
		fmt.Fprintln(s.out, table[strings.LastIndexByte(table, '\n')+1:])
		return
	}
	erase := s.erasure()
	s.shown = s.fit(table) + "\n"
	fmt.Fprint(s.out, erase+s.shown) // in one go, or it flickers
}

// fit cuts a text to the terminal's size: a line that wraps, or one that has scrolled away, couldn't be erased again. Of
// too many lines the first and the last stay.
func (s *screen) fit(table string) string {
	width, height := 80, 24
	if f, ok := s.out.(*os.File); ok {
		if w, h, err := term.GetSize(int(f.Fd())); err == nil && w > 0 && h > 0 {
			width, height = w, h
		}
	}
	lines := strings.Split(table, "\n")
	if most := max(height-1, 3); len(lines) > most {
		lines = append(lines[:most-2], "…", lines[len(lines)-1])
	}
	for i, line := range lines {
		lines[i] = text.Trim(line, width-1)
	}
	return strings.Join(lines, "\n")
}

// Write lets whole lines pass, such as a log's.
func (s *screen) Write(lines []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := fmt.Fprint(s.out, s.erasure(), string(lines), s.shown); err != nil {
		return 0, err
	}
	return len(lines), nil
}

// clear takes the text away.
func (s *screen) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprint(s.out, s.erasure())
	s.shown = ""
}

// erasure takes away what is shown and leaves the cursor where it began.
func (s *screen) erasure() string {
	return strings.Repeat(text.CursorUp.Sprint()+text.EraseLine.Sprint(), strings.Count(s.shown, "\n"))
}
