package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/ingest/signature"
)

// scriptKafka starts a fake Kafka for a script, whose address is then in SLUICE_KAFKA_BROKERS, with topics of one
// partition: "kafka email_sent=5 push_sent=0". Records are a second apart, the first from an hour ago, and signed with
// the key "script-key".
func scriptKafka(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: kafka [type=records...]")
	}
	var topics []string
	records := make(map[string]int)
	for _, arg := range args {
		eventType, n, _ := strings.Cut(arg, "=")
		topic := "customerio_" + eventType
		topics = append(topics, topic)
		var err error
		records[topic], err = strconv.Atoi(n)
		ts.Check(err)
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topics...))
	ts.Check(err)
	ts.Defer(cluster.Close)
	ts.Setenv("SLUICE_KAFKA_BROKERS", strings.Join(cluster.ListenAddrs(), ","))
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	ts.Check(err)
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	at := time.Now().Add(-time.Hour).Truncate(time.Second)
	for _, topic := range topics {
		eventType := strings.TrimPrefix(topic, "customerio_")
		for i := range records[topic] {
			at = at.Add(time.Second)
			id, stamp := fmt.Sprintf("%s-%d", eventType, i), strconv.FormatInt(at.Unix(), 10)
			body := fmt.Appendf(nil, `{"event_id":%q,"event_type":%q}`, id, eventType)
			ts.Check(client.ProduceSync(ctx, &kgo.Record{
				Topic: topic, Timestamp: at, Key: []byte("42"), Value: body,
				Headers: []kgo.RecordHeader{
					{Key: "event-type", Value: []byte(eventType)},
					{Key: "ce_id", Value: []byte(id)},
					{Key: "X-CIO-Timestamp", Value: []byte(stamp)},
					{Key: "X-CIO-Signature", Value: []byte(signature.Sign("script-key", stamp, body))},
				},
			}).FirstErr())
		}
	}
}
