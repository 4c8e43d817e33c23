package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"sluice/internal/sender"
)

// sendProgress shows how far a run has come, and what there is to say in between.
type sendProgress interface {
	// start begins to show what read returns, until the function that it returns is called.
	start(read func() sender.Progress) (stop func())
	// say shows a message. It is safe for concurrent use.
	say(text string)
}

// newSendProgress suits w. total is the number of events, 0 if that isn't known.
func newSendProgress(w io.Writer, total uint64) sendProgress {
	if isTerminal(w) {
		return newSendBar(w, total)
	}
	return &sendLines{w: w, every: 5 * time.Second}
}

// sendLines prints a line from time to time.
type sendLines struct {
	mu    sync.Mutex // held while writing
	w     io.Writer
	every time.Duration
}

func (l *sendLines) start(read func() sender.Progress) (stop func()) {
	over := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(l.every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				l.print(progressText(read()))
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

func (l *sendLines) say(text string) { l.print("sluice: " + text) }

func (l *sendLines) print(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintln(l.w, line)
}

// progressText is a line about how far a run has come.
func progressText(p sender.Progress) string {
	text := fmt.Sprintf("sent %s acknowledged %s", sender.Count(p.Sent), sender.Count(p.Acknowledged))
	if p.Failed > 0 {
		text += fmt.Sprintf(" failed posts %s", sender.Count(p.Failed))
	}
	if p.GivenUp > 0 {
		text += fmt.Sprintf(" given up %s", sender.Count(p.GivenUp))
	}
	return text
}
