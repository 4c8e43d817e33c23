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
	line := fmt.Sprintf("read %s of %s marked %s", count(s.read), count(max(s.total, s.read)), count(s.marked))
	took := now.Sub(s.began).Seconds()
	if took < 1 || s.read == 0 {
		return line
	}
	speed := float64(s.read) / took
	line += fmt.Sprintf(", %s/s", count(int64(speed)))
	if rest := s.total - s.read; rest > 0 {
		line += fmt.Sprintf(", %s left", time.Duration(float64(rest)/speed*float64(time.Second)).Round(time.Second))
	}
	return line
}

// rebuildProgress shows how far a rebuild has come, and what there is to say in between.
type rebuildProgress interface {
	// start begins to show what read returns, until the function that it returns is called.
	start(read func() rebuildShown) (stop func())
	// say shows a message. It is safe for concurrent use.
	say(text string)
}

// newRebuildProgress suits w.
func newRebuildProgress(w io.Writer) rebuildProgress {
	if isTerminal(w) {
		return newRebuildBar(w)
	}
	return &rebuildLines{sendLines{w: w, every: 5 * time.Second}}
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

// rebuildLines prints a line from time to time.
type rebuildLines struct{ lines sendLines }

func (l *rebuildLines) start(read func() rebuildShown) (stop func()) {
	return every(l.lines.every, func() { l.lines.print(read().text(time.Now())) })
}

func (l *rebuildLines) say(text string) { l.lines.say(text) }

// rebuildBar draws a progress bar on a terminal.
type rebuildBar struct {
	writer  progress.Writer
	tracker *progress.Tracker

	mu      sync.Mutex // guards started
	started bool
	w       io.Writer
}

func newRebuildBar(w io.Writer) *rebuildBar {
	b := &rebuildBar{w: w, writer: progress.NewWriter(), tracker: &progress.Tracker{
		Message:          rebuildShown{}.text(time.Time{}),
		AutoStopDisabled: true, // with the last record read, its mark isn't written yet
	}}
	b.writer.SetOutputWriter(w)
	b.writer.SetAutoStop(true)
	b.writer.SetUpdateFrequency(barEvery)
	b.writer.AppendTracker(b.tracker)
	return b
}

func (b *rebuildBar) start(read func() rebuildShown) (stop func()) {
	b.mu.Lock()
	b.started = true
	b.mu.Unlock()
	var drawing sync.WaitGroup
	drawing.Go(b.writer.Render)
	update := func() {
		s := read()
		b.tracker.UpdateMessage(s.text(time.Now()))
		b.tracker.UpdateTotal(max(s.total, s.read))
		b.tracker.SetValue(s.read)
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
func (b *rebuildBar) say(text string) {
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
