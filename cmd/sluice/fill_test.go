package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/ingest/signature"
)

// filledBody is a body of so many bytes, as Customer.io's are.
func filledBody(i, size int) []byte {
	body := fmt.Sprintf(`{"event_id":"01JZW2BAW2MQMJTYF%09d","object_type":"email","metric":"sent","timestamp":%d,"data":{"action_id":%d,"campaign_id":%d,`+
		`"customer_id":"user-%d","delivery_id":"dgOE2gEAAZ%08d","identifiers":{"cio_id":"d9c4%08d","email":"user%d@example.com","id":"user-%d"},"recipient":"user%d@example.com","subject":"`,
		i, 1767225600+i/1000, 40+i%7, 10+i%5, i%50_000, i, i%50_000, i%50_000, i%50_000, i%50_000)
	const end = `"}}`
	return []byte(body + strings.Repeat("x", max(0, size-len(body)-len(end))) + end)
}

// filledRecord is a record as serve writes it, with all its headers, but with a signature of no meaning unless a key is
// given.
func filledRecord(topic string, i, size int, key string) *kgo.Record {
	body := filledBody(i, size)
	at := time.UnixMilli(1767225600_000 + int64(i)).UTC()
	stamp, sig := strconv.FormatInt(at.Unix(), 10), strings.Repeat("0123456789abcdef", 4)
	if key != "" {
		sig = signature.Sign(key, stamp, body)
	}
	header := func(name, value string) kgo.RecordHeader {
		return kgo.RecordHeader{Key: name, Value: []byte(value)}
	}
	delivery := fmt.Sprintf("dgOE2gEAAZ%08d", i)
	return &kgo.Record{
		Topic: topic, Timestamp: at, Key: fmt.Appendf(nil, "user-%d", i%50_000), Value: body,
		Headers: []kgo.RecordHeader{
			header("event-type", "email_sent"), header("ce_specversion", "1.0"), header("ce_id", fmt.Sprintf("01JZW2BAW2MQMJTYF%09d", i)),
			header("ce_type", "io.customer.email_sent"), header("ce_source", "/customerio/main"),
			header("ce_time", at.Truncate(time.Second).Format(time.RFC3339Nano)), header("ce_subject", delivery),
			header("content-type", "application/json"), header("sluice-key", "main"),
			header("X-CIO-Timestamp", stamp), header("X-CIO-Signature", sig), header("X-CIO-Delivery-ID", delivery),
		},
	}
}

// fill writes n events of so many bytes to a topic that is there, as fast as it goes: the keys say to which partition.
func fill(tb testing.TB, brokers []string, topic string, n, size int) {
	tb.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(50_000))
	if err != nil {
		tb.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(tb.Context(), 5*time.Minute)
	defer cancel()
	var mu sync.Mutex
	var failed error
	for i := range n {
		client.Produce(ctx, filledRecord(topic, i, size, ""), func(_ *kgo.Record, err error) {
			if err != nil {
				mu.Lock()
				failed = errors.Join(failed, err)
				mu.Unlock()
				cancel()
			}
		})
	}
	if err := client.Flush(ctx); err != nil || failed != nil {
		tb.Fatal(err, failed)
	}
}
