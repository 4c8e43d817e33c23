package publisher

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"sluice/event"
	"sluice/internal/testenv"
)

// BenchmarkBacklog puts b.N events of 450 bytes on disk while Kafka is away, from 64 callers at a time, starts again on
// them, and sends them when Kafka is back. It tells the rates, how long the start took, the memory that a waiting event
// takes, and how large the process's heap was at most while the backlog was sent. With SLUICE_TEST_KAFKA_LIBS it does so on a real broker:
//
//	go test -run '^$' -bench Backlog -benchtime 1000000x ./publisher
func BenchmarkBacklog(b *testing.B) {
	kafka := testenv.Kafka(b, testenv.WithProxies())
	proxy := kafka.Broker(0).Proxy()
	proxy.Set(b, testenv.Refuse)
	o := options("bb", kafka.Bootstrap())
	o.Spool = &SpoolOptions{Dir: b.TempDir(), Instance: "one", MaxBytes: 64 << 30}
	o.Log = zap.NewNop()
	p, err := New(o)
	if err != nil {
		b.Fatal(err)
	}
	types := []string{"email_sent", "email_delivered", "email_opened", "email_clicked"}
	filler := strings.Repeat("x", 350)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	var next atomic.Int64
	var callers sync.WaitGroup
	began := time.Now()
	for range 64 {
		callers.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= b.N {
					return
				}
				body := fmt.Appendf(nil, `{"event_id":"e%09d","event_type":%q,"data":{"identifiers":{"id":"c%d"},"filler":%q}}`, n, types[n%len(types)], n%1000, filler)
				m := &Message{Body: body, KeyName: "bench", DedupeID: func() string { return fmt.Sprintf("e%09d", n) }}
				m.Event, _ = event.Parse(body)
				for {
					if out, _ := p.Publish(b.Context(), m); out == Spooled {
						break
					}
				}
			}
		})
	}
	callers.Wait()
	kept := time.Since(began)
	waiting := heap() - before

	if err := p.Close(b.Context()); err != nil {
		b.Error(err)
	}
	began = time.Now()
	if p, err = New(o); err != nil {
		b.Fatal(err)
	}
	started := time.Since(began)
	p.Recovered()
	proxy.Set(b, testenv.Pass)
	began = time.Now()
	var most uint64
	testenv.Eventually(b, 9*time.Minute, func() error {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		most = max(most, m.HeapInuse)
		if n := p.opts.Book.Balance().Spooled; n > 0 {
			return fmt.Errorf("%d events are left", n)
		}
		return nil
	})
	sent := time.Since(began)
	b.ReportMetric(float64(b.N)/kept.Seconds(), "kept/s")
	b.ReportMetric(float64(b.N)/started.Seconds(), "read/s")
	b.ReportMetric(float64(b.N)/sent.Seconds(), "sent/s")
	b.ReportMetric(float64(waiting)/float64(b.N), "heap-B/waiting")
	b.ReportMetric(float64(most)/1e6, "heap-MB-sending")
	b.ReportMetric(0, "ns/op")
	if err := p.Close(b.Context()); err != nil {
		b.Error(err)
	}
	if total := len(kafka.ConsumeAll(b, "bb_")); total != b.N {
		b.Errorf("%d records of %d events", total, b.N)
	}
}
