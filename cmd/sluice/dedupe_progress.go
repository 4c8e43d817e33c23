package main

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/progress"
)

// rebuildShown is how far a rebuild has come.
type rebuildShown struct {
	total, read int64 // records of this run; total is 0 until it is known
	marked      int64
	began       time.Time // zero until the total is known
}

// text is a line about it.
func (s rebuildShown) text(now time.Time) string {
	if s.began.IsZero() {
		return "looking at the topics"
	}
	return fmt.Sprintf("read %s of %s marked %s", count(s.read), count(max(s.total, s.read)), count(s.marked)) +
		pace(s.read, s.total, now.Sub(s.began))
}

// pace is how fast something goes, and how long it will take; "" where that can't be told yet.
func pace(done, total int64, took time.Duration) string {
	if took < time.Second || done == 0 {
		return ""
	}
	speed := float64(done) / took.Seconds()
	text := fmt.Sprintf(", %s/s", count(int64(speed)))
	if rest := total - done; rest > 0 {
		text += fmt.Sprintf(", %s left", time.Duration(float64(rest)/speed*float64(time.Second)).Round(time.Second))
	}
	return text
}

// extent is how much of it has been read.
func (s rebuildShown) extent() (done, total int64) { return s.read, s.total }

// shown is how far something has come.
type shown interface {
	text(now time.Time) string
	extent() (done, total int64)
}

// countedProgress shows how far something has come, and what there is to say in between.
type countedProgress interface {
	// start begins to show what read returns, until the function that it returns is called.
	start(read func() shown) (stop func())
	// say shows a message. It is safe for concurrent use.
	say(text string)
}

// newCountedProgress suits w. A bar begins with the text.
func newCountedProgress(w io.Writer, text string) countedProgress {
	if isTerminal(w) {
		return newCountedBar(w, text)
	}
	return &countedLines{sendLines{w: w, every: 5 * time.Second}}
}

// every calls do from time to time until the function that it returns is called.
func every(pause time.Duration, do func()) (stop func()) {
	over := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				do()
			case <-over:
				return
			}
		}
	})
	return func() {
		close(over)
		running.Wait()
	}
}

// countedLines prints a line from time to time.
type countedLines struct{ lines sendLines }

func (l *countedLines) start(read func() shown) (stop func()) {
	return every(l.lines.every, func() { l.lines.print(read().text(time.Now())) })
}

func (l *countedLines) say(text string) { l.lines.say(text) }

// countedBar draws a progress bar on a terminal.
type countedBar struct {
	writer  progress.Writer
	tracker *progress.Tracker

	mu      sync.Mutex // guards started
	started bool
	w       io.Writer
}

func newCountedBar(w io.Writer, text string) *countedBar {
	b := &countedBar{w: w, writer: progress.NewWriter(), tracker: &progress.Tracker{
		Message:          text,
		AutoStopDisabled: true, // when all is counted, something may still be under way
	}}
	b.writer.SetOutputWriter(w)
	b.writer.SetAutoStop(true)
	b.writer.SetUpdateFrequency(barEvery)
	b.writer.AppendTracker(b.tracker)
	return b
}

func (b *countedBar) start(read func() shown) (stop func()) {
	b.mu.Lock()
	b.started = true
	b.mu.Unlock()
	var drawing sync.WaitGroup
	drawing.Go(b.writer.Render)
	update := func() {
		s := read()
		b.tracker.UpdateMessage(s.text(time.Now()))
		n, total := s.extent()
		b.tracker.UpdateTotal(max(total, n))
		b.tracker.SetValue(n)
	}
	end := every(barEvery, update)
	return func() {
		end()
		update()
		b.tracker.MarkAsDone()
		drawing.Wait()
	}
}

// say writes past the bar as long as that isn't drawn.
func (b *countedBar) say(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.started {
		fmt.Fprintln(b.w, "sluice: "+text)
		return
	}
	b.writer.Log("%s", text)
}

// lineWriter calls the function for each line that is written, one a Write.
type lineWriter func(string)

// Write is part of io.Writer.
func (w lineWriter) Write(line []byte) (int, error) {
	w(string(bytes.TrimPrefix(bytes.TrimSuffix(line, []byte("\n")), []byte("sluice: "))))
	return len(line), nil
}
