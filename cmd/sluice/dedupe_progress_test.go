package main

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestRebuildShown(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		shown rebuildShown
		want  string
	}{
		{rebuildShown{}, "looking at the topics"},
		{rebuildShown{total: 5000, began: now}, "read 0 of 5,000 marked 0"},
		{rebuildShown{total: 5000, read: 1000, marked: 900, began: now.Add(-10 * time.Second)}, "read 1,000 of 5,000 marked 900, 100/s, 40s left"},
		{rebuildShown{total: 5000, read: 5000, marked: 900, began: now.Add(-10 * time.Second)}, "read 5,000 of 5,000 marked 900, 500/s"},
		{rebuildShown{began: now.Add(-time.Minute)}, "read 0 of 0 marked 0"},
	} {
		if got := test.shown.text(now); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

// lockedBuffer takes what several goroutines write.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// The bar ends, however short the run, and what is said before and beside it is seen.
func TestRebuildBar(t *testing.T) {
	out := &lockedBuffer{}
	bar := newCountedBar(out, "")
	log := noticesTo(lineWriter(bar.say))
	log.Warn("before it")
	stop := bar.start(func() shown { return rebuildShown{total: 7, read: 7, marked: 6, began: time.Now()} })
	log.Warn("beside it")
	stop()
	for _, want := range []string{"sluice: before it\n", "beside it", "read 7 of 7 marked 6"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q isn't in %q", want, out.String())
		}
	}
}
