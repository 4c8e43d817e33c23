package main

import (
	"io"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/progress"

	"sluice/internal/sender"
)

// sendBar draws a progress bar on a terminal.
type sendBar struct {
	writer  progress.Writer
	tracker *progress.Tracker
}

// barEvery is the time between two drawings.
const barEvery = 100 * time.Millisecond

func newSendBar(w io.Writer, total uint64) *sendBar {
	b := &sendBar{writer: progress.NewWriter(), tracker: &progress.Tracker{
		Message: progressText(sender.Progress{}), Total: int64(total),
		AutoStopDisabled: true, // the last event is under way when the count is full
	}}
	b.writer.SetOutputWriter(w)
	b.writer.SetAutoStop(true) // with its one tracker; Stop does nothing if it comes before Render has begun
	b.writer.SetUpdateFrequency(barEvery)
	b.writer.AppendTracker(b.tracker)
	return b
}

func (b *sendBar) start(read func() sender.Progress) (stop func()) {
	over := make(chan struct{})
	var running sync.WaitGroup
	running.Go(b.writer.Render)
	running.Go(func() {
		tick := time.NewTicker(barEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				b.update(read())
			case <-over:
				b.update(read())
				b.tracker.MarkAsDone()
				return
			}
		}
	})
	return func() {
		close(over)
		running.Wait()
	}
}

func (b *sendBar) update(p sender.Progress) {
	b.tracker.UpdateMessage(progressText(p))
	b.tracker.SetValue(p.Acknowledged + p.GivenUp)
}

func (b *sendBar) say(text string) { b.writer.Log("%s", text) }
