package main

import (
	"os/exec"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/testenv"
)

// BenchmarkVerify verifies a partition of signed events of 500 bytes with the real program, with two keys.
//
//	go test ./cmd/sluice -run '^$' -bench Verify -benchtime 3x
func BenchmarkVerify(b *testing.B) {
	testenv.Need(b, testenv.ServerKafka)
	kafka := testenv.Kafka(b, testenv.WithJVM("-Xmx1g", "-XX:TieredStopAtLevel=4"))
	const topic = "customerio_email_sent"
	kafka.CreateTopic(b, topic, 1, map[string]string{"retention.ms": "-1"})
	client, err := kgo.NewClient(kgo.SeedBrokers(kafka.Bootstrap()...), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(50_000))
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	for i := range *benchEvents {
		client.Produce(b.Context(), filledRecord(topic, i, 500, "bench-key-of-the-test"), func(_ *kgo.Record, err error) {
			if err != nil {
				b.Error(err)
			}
		})
	}
	if err := client.Flush(b.Context()); err != nil || b.Failed() {
		b.Fatal(err)
	}
	binary := testenv.Binary(b, "./cmd/sluice")
	var sum measured
	for b.Loop() {
		m := measure(b, exec.CommandContext(b.Context(), binary, "verify", "email_sent", "--kafka-brokers", kafka.Bootstrap()[0],
			"--signing-keys", "main=bench-key-of-the-test,old=bench-key-of-former-times"))
		sum.seconds, sum.cpu, sum.rss = sum.seconds+m.seconds, sum.cpu+m.cpu, max(sum.rss, m.rss)
	}
	n := float64(b.N) * float64(*benchEvents)
	b.ReportMetric(n/sum.seconds, "events/s")
	b.ReportMetric(sum.cpu/n*1e6, "cpu-µs/event")
	b.ReportMetric(sum.rss, "MB-rss")
}
