package main

import (
	"fmt"
	"os/exec"
	"testing"

	"sluice/internal/testenv"
)

// BenchmarkReplayToTopic replays a partition with the real program into a topic with six, on the same broker.
//
//	go test ./cmd/sluice -run '^$' -bench ReplayToTopic -benchtime 2x
func BenchmarkReplayToTopic(b *testing.B) {
	testenv.Need(b, testenv.ServerKafka)
	kafka := testenv.Kafka(b, testenv.WithJVM("-Xmx1g", "-XX:TieredStopAtLevel=4"))
	const topic = "customerio_email_sent"
	kafka.CreateTopic(b, topic, 1, map[string]string{"retention.ms": "-1"})
	fill(b, kafka.Bootstrap(), topic, *benchEvents, 500)
	binary := testenv.Binary(b, "./cmd/sluice")
	events, n := float64(*benchEvents), 0
	var all measured
	for b.Loop() {
		n++
		target := fmt.Sprint("target_", n)
		kafka.CreateTopic(b, target, 6, nil)
		cmd := exec.CommandContext(b.Context(), binary, "replay", "email_sent", "--kafka-brokers", kafka.Bootstrap()[0], "--to-topic", target)
		cmd.Dir = b.TempDir()
		m := measure(b, cmd)
		b.Logf("%.0f/s, %.0f MB", events/m.seconds, m.rss)
		all.seconds, all.cpu, all.rss = all.seconds+m.seconds, all.cpu+m.cpu, max(all.rss, m.rss)
	}
	runs := float64(b.N)
	b.ReportMetric(runs*events/all.seconds, "events/s")
	b.ReportMetric(all.cpu/runs/events*1e6, "cpu-µs/event")
	b.ReportMetric(all.rss, "MB-rss")
}
