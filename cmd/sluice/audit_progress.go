package main

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/sender"
)

// auditProgress counts what has been read.
type auditProgress struct {
	lines, read, total atomic.Int64 // of ledgers; records, and how many there are about
}

// start shows now and then how far it is: on a terminal in one line, elsewhere in a line each. It shows nothing of what
// takes less than a second, or five seconds. The function that it returns ends it.
func (a *auditProgress) start(w io.Writer) (stop func()) {
	every, format, clear := 5*time.Second, "%s\n", ""
	if isTerminal(w) {
		every, format, clear = time.Second, "\r\x1b[K%s", "\r\x1b[K"
	}
	over := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				fmt.Fprintf(w, format, a.text())
			case <-over:
				fmt.Fprint(w, clear)
				return
			}
		}
	})
	return func() {
		close(over)
		running.Wait()
	}
}

func (a *auditProgress) text() string {
	text := fmt.Sprintf("ledgers %s lines", sender.Count(a.lines.Load()))
	if total := a.total.Load(); total > 0 {
		text += fmt.Sprintf(" topics %s of %s records", sender.Count(a.read.Load()), sender.Count(max(total, a.read.Load())))
	}
	return text
}
