package demo

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/internal/audit"
)

// Read returns what the topics with the prefix hold now.
func Read(ctx context.Context, brokers []string, prefix string) ([]audit.Record, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		return nil, fmt.Errorf("reading the topics: %w", err)
	}
	defer client.Close()
	ends, missing, err := endOffsets(ctx, client, prefix)
	if err != nil {
		return nil, fmt.Errorf("reading the topics: %w", err)
	}
	from := make(map[string]map[int32]kgo.Offset)
	for topic, partitions := range ends {
		from[topic] = make(map[int32]kgo.Offset)
		for p := range partitions {
			from[topic][p] = kgo.NewOffset().AtStart()
		}
	}
	client.AddConsumePartitions(from)

	var records []audit.Record
	for missing > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("reading the topics: %w", err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			end := ends[r.Topic][r.Partition]
			if r.Offset >= end {
				return
			}
			records = append(records, found(r))
			if r.Offset == end-1 {
				missing--
			}
		})
	}
	return records, nil
}

func found(r *kgo.Record) audit.Record {
	f := audit.Record{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Body: sha256.Sum256(r.Value)}
	for _, h := range r.Headers {
		if h.Key == "ce_id" {
			f.ID = string(h.Value)
		}
	}
	return f
}

// endOffsets asks where each partition ends, and how many of them hold anything.
func endOffsets(ctx context.Context, client *kgo.Client, prefix string) (ends map[string]map[int32]int64, filled int, err error) {
	metadata, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, client) // no topics named: all of them
	if err != nil {
		return nil, 0, err
	}
	ask := kmsg.NewPtrListOffsetsRequest()
	for _, t := range metadata.Topics {
		if t.Topic == nil || t.IsInternal || !strings.HasPrefix(*t.Topic, prefix) {
			continue
		}
		topic := kmsg.NewListOffsetsRequestTopic()
		topic.Topic = *t.Topic
		for _, p := range t.Partitions {
			partition := kmsg.NewListOffsetsRequestTopicPartition()
			partition.Partition, partition.Timestamp = p.Partition, -1 // the end
			topic.Partitions = append(topic.Partitions, partition)
		}
		ask.Topics = append(ask.Topics, topic)
	}
	ends = make(map[string]map[int32]int64)
	for _, shard := range client.RequestSharded(ctx, ask) {
		if shard.Err != nil {
			return nil, 0, shard.Err
		}
		for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return nil, 0, fmt.Errorf("%s[%d]: %w", t.Topic, p.Partition, err)
				}
				if p.Offset == 0 {
					continue
				}
				if ends[t.Topic] == nil {
					ends[t.Topic] = make(map[int32]int64)
				}
				ends[t.Topic][p.Partition] = p.Offset
				filled++
			}
		}
	}
	return ends, filled, nil
}
