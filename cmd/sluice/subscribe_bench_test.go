package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"sync/atomic"
	"testing"

	"sluice/internal/testenv"
)

var (
	subscribePrinted = flag.Int("subscribe.printed", 300_000, "events of 500 bytes that BenchmarkSubscribe has printed")
	subscribePosted  = flag.Int("subscribe.posted", 30_000, "of them: that it has posted")
)

// BenchmarkSubscribe has the real program read as a member of a new group, and print into a pipe or post to a handler in
// the benchmark's own process.
//
//	go test ./cmd/sluice -run '^$' -bench Subscribe -benchtime 3x
func BenchmarkSubscribe(b *testing.B) {
	testenv.Need(b, testenv.ServerKafka)
	kafka := testenv.Kafka(b, testenv.WithJVM("-Xmx1g", "-XX:TieredStopAtLevel=4"))
	const topic = "customerio_email_sent"
	kafka.CreateTopic(b, topic, 1, map[string]string{"retention.ms": "-1"})
	fill(b, kafka.Bootstrap(), topic, *subscribePrinted, 500)
	var posts atomic.Int64
	handler := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			posts.Add(1)
		}
	}))
	defer handler.Close()
	binary := testenv.Binary(b, "./cmd/sluice")
	group := 0
	for name, events := range map[string]int{"printed": *subscribePrinted, "posted": *subscribePosted} {
		b.Run(name, func(b *testing.B) {
			var sum measured
			for b.Loop() {
				group++
				args := []string{
					"subscribe", "--kafka-brokers", kafka.Bootstrap()[0], "--group", fmt.Sprint("bench", group), "-n", fmt.Sprint(events), "email_sent",
				}
				if name == "posted" {
					args = append(args, "--http", handler.URL, "--signing-keys", "main="+webhookKey, "--concurrency", "32", "--attempts", "0")
				}
				posts.Store(0)
				m := measure(b, exec.CommandContext(b.Context(), binary, args...))
				if name == "posted" && posts.Load() != int64(events) {
					b.Errorf("%d of %d events posted", posts.Load(), events)
				}
				b.Logf("%.0f/s, %.0f MB", float64(events)/m.seconds, m.rss)
				sum.seconds, sum.cpu, sum.rss = sum.seconds+m.seconds, sum.cpu+m.cpu, max(sum.rss, m.rss)
			}
			n := float64(b.N) * float64(events)
			b.ReportMetric(n/sum.seconds, "events/s")
			b.ReportMetric(sum.cpu/n*1e6, "cpu-µs/event")
			b.ReportMetric(sum.rss, "MB-rss")
		})
	}
}
