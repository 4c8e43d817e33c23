package spool

import (
	"bytes"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
)

// hotLog is a log that takes entries for ever, since they are settled by and by.
func hotLog(t testing.TB) *Log {
	t.Helper()
	l, err := Open(Options{Dir: t.TempDir(), Instance: "one", Keep: time.Nanosecond, Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	if err := l.Entries(func(Entry) {}); err != nil {
		t.Fatal(err)
	}
	return l
}

// hotAdditions are n batches of 16 events of 600 bytes each, as they go to a broker in one request.
func hotAdditions(n int) []Addition {
	batch := bytes.Repeat([]byte("x"), 16*600)
	tags := bytes.Repeat([]byte("t"), 16*27)
	additions := make([]Addition, n)
	for i := range additions {
		additions[i] = Addition{Payload: tags, Rest: batch}
	}
	return additions
}

// appending appends the additions again and again, each time settling those of the time before.
func appending(t testing.TB, l *Log, additions []Addition) func() {
	t.Helper()
	before := make([]uint64, len(additions))
	first := true
	return func() {
		n, err := l.Append(time.Now(), additions...)
		if err != nil {
			t.Fatal(err)
		}
		if !first {
			l.Settle(before...)
		}
		first = false
		for i := range before {
			before[i] = n + uint64(i)
		}
	}
}

// BenchmarkAppend writes batches of 16 events down, without a sync: one, and 17 that fly together.
func BenchmarkAppend(b *testing.B) {
	for _, batches := range []int{1, 17} {
		b.Run(strconv.Itoa(batches), func(b *testing.B) {
			appendAll := appending(b, hotLog(b), hotAdditions(batches))
			b.ReportAllocs()
			b.SetBytes(int64(batches * 16 * 627))
			for b.Loop() {
				appendAll()
			}
		})
	}
}

// BenchmarkKeep is what happens while Kafka is away: each of 64 callers writes an event of its own down, and they share the
// syncs. An op is all of them, ns/event a single one's share.
func BenchmarkKeep(b *testing.B) {
	const callers = 64
	l := hotLog(b)
	payload := bytes.Repeat([]byte("x"), 600)
	keep := func() {
		n, err := l.Append(time.Now(), Addition{Payload: payload})
		if err == nil {
			err = l.Sync()
		}
		if err != nil {
			b.Error(err)
		}
		l.Settle(n)
	}
	b.ReportAllocs()
	b.SetBytes(int64(callers * len(payload)))
	for b.Loop() {
		var all sync.WaitGroup
		for range callers {
			all.Go(keep)
		}
		all.Wait()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(callers*b.N), "ns/event")
}
