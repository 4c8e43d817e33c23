package spool

import (
	"bytes"
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

// BenchmarkAppend writes batches of 16 events down: one, and 17 that fly together; and with a sync, as while Kafka is away.
func BenchmarkAppend(b *testing.B) {
	for _, bench := range []struct {
		name    string
		batches int
		sync    bool
	}{{"1", 1, false}, {"17", 17, false}, {"17-synced", 17, true}} {
		b.Run(bench.name, func(b *testing.B) {
			l := hotLog(b)
			appendAll := appending(b, l, hotAdditions(bench.batches))
			b.ReportAllocs()
			b.SetBytes(int64(bench.batches * 16 * 627))
			for b.Loop() {
				appendAll()
				if bench.sync {
					if err := l.Sync(); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
