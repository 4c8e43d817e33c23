package testenv

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// client asks a cluster through franz-go. It is a plain, unauthenticated client: on real clusters it is given the
// internal listener, which no proxy and no SASL stands before.
type client struct {
	bootstrap []string
}

// open connects a franz-go client; the caller closes it.
func (c client) open(opts ...kgo.Opt) (*kgo.Client, error) {
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.bootstrap...)}, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("making a Kafka client: %w", err)
	}
	return cl, nil
}

// topics lists the topics that begin with prefix, without Kafka's own, and how many partitions each has.
func (c client) topics(ctx context.Context, prefix string) (map[string]int, error) {
	cl, err := c.open()
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	req := kmsg.NewPtrMetadataRequest() // no topics named: all of them
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return nil, fmt.Errorf("listing topics: %w", err)
	}
	found := map[string]int{}
	for _, topic := range resp.Topics {
		if topic.Topic != nil && !topic.IsInternal && strings.HasPrefix(*topic.Topic, prefix) {
			found[*topic.Topic] = len(topic.Partitions)
		}
	}
	return found, nil
}

// createTopic creates a topic and fails when it exists.
func (c client) createTopic(ctx context.Context, name string, partitions int32, replication int16, config map[string]string) error {
	cl, err := c.open()
	if err != nil {
		return err
	}
	defer cl.Close()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, replication
	for key, value := range config {
		entry := kmsg.NewCreateTopicsRequestTopicConfig()
		entry.Name, entry.Value = key, new(value)
		topic.Configs = append(topic.Configs, entry)
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics = append(req.Topics, topic)
	req.TimeoutMillis = 10_000
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return fmt.Errorf("creating topic %s: %w", name, err)
	}
	if len(resp.Topics) != 1 {
		return fmt.Errorf("creating topic %s: %d answers", name, len(resp.Topics))
	}
	if err := kerr.ErrorForCode(resp.Topics[0].ErrorCode); err != nil {
		return fmt.Errorf("creating topic %s: %w", name, err)
	}
	return nil
}

// errNoLeader marks a partition that nobody leads.
var errNoLeader = errors.New("partition without a leader")

// leaders is the node id that leads each partition of a topic, by partition.
func (c client) leaders(ctx context.Context, name string) ([]int32, error) {
	cl, err := c.open()
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	req := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = new(name)
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return nil, fmt.Errorf("asking who leads %s: %w", name, err)
	}
	if len(resp.Topics) != 1 {
		return nil, fmt.Errorf("asking who leads %s: %d answers", name, len(resp.Topics))
	}
	found := resp.Topics[0]
	if err := kerr.ErrorForCode(found.ErrorCode); err != nil {
		return nil, fmt.Errorf("asking who leads %s: %w", name, err)
	}
	leaders := make([]int32, len(found.Partitions))
	for _, p := range found.Partitions {
		if p.Leader < 0 {
			return nil, fmt.Errorf("%w: %s/%d", errNoLeader, name, p.Partition)
		}
		leaders[p.Partition] = p.Leader
	}
	return leaders, nil
}

// readAll reads what the topics hold now.
func (c client) readAll(ctx context.Context, topics []string) ([]Record, error) {
	if len(topics) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, readWait)
	defer cancel()
	todo, err := c.spans(ctx, topics)
	if err != nil {
		return nil, err
	}
	start := map[string]map[int32]kgo.Offset{}
	for at, span := range todo {
		if start[at.topic] == nil {
			start[at.topic] = map[int32]kgo.Offset{}
		}
		start[at.topic][at.partition] = kgo.NewOffset().At(span.first)
	}
	if len(todo) == 0 {
		return nil, nil
	}
	cl, err := c.open(kgo.ConsumePartitions(start), kgo.KeepControlRecords())
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	var records []Record
	for len(todo) > 0 {
		fetched := cl.PollFetches(ctx)
		if err := fetched.Err(); err != nil {
			return nil, fmt.Errorf("reading %s, %d partitions unfinished: %w", strings.Join(topics, ", "), len(todo), err)
		}
		fetched.EachRecord(func(r *kgo.Record) {
			at := topicPartition{topic: r.Topic, partition: r.Partition}
			span, open := todo[at]
			if !open || r.Offset >= span.end {
				return // written after the reading began
			}
			if !r.Attrs.IsControl() {
				records = append(records, fromFranz(r))
			}
			if r.Offset == span.end-1 {
				delete(todo, at)
			}
		})
	}
	sortRecords(records)
	return records, nil
}

// topicPartition names a partition.
type topicPartition struct {
	topic     string
	partition int32
}

// span is the offsets that a partition holds: first up to, not including, end.
type span struct {
	first, end int64
}

// spans asks for the bounds of every partition of the topics and leaves out the empty ones.
func (c client) spans(ctx context.Context, topics []string) (map[topicPartition]span, error) {
	cl, err := c.open()
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	known, err := c.topics(ctx, "")
	if err != nil {
		return nil, err
	}
	bound := func(when int64) (map[topicPartition]int64, error) {
		req := kmsg.NewPtrListOffsetsRequest()
		req.ReplicaID = -1
		for _, name := range topics {
			topic := kmsg.NewListOffsetsRequestTopic()
			topic.Topic = name
			for p := range known[name] {
				partition := kmsg.NewListOffsetsRequestTopicPartition()
				partition.Partition = int32(p)
				partition.Timestamp = when
				topic.Partitions = append(topic.Partitions, partition)
			}
			req.Topics = append(req.Topics, topic)
		}
		resp, err := req.RequestWith(ctx, cl) // franz-go splits it over the leaders
		if err != nil {
			return nil, fmt.Errorf("asking for offsets: %w", err)
		}
		bounds := map[topicPartition]int64{}
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return nil, fmt.Errorf("asking for offsets of %s/%d: %w", topic.Topic, p.Partition, err)
				}
				bounds[topicPartition{topic.Topic, p.Partition}] = p.Offset
			}
		}
		return bounds, nil
	}
	for _, name := range topics {
		if _, ok := known[name]; !ok {
			return nil, fmt.Errorf("topic %s: %w", name, kerr.UnknownTopicOrPartition)
		}
	}
	const earliest, latest = -2, -1 // Kafka protocol, ListOffsets
	firsts, err := bound(earliest)
	if err != nil {
		return nil, err
	}
	ends, err := bound(latest)
	if err != nil {
		return nil, err
	}
	spans := map[topicPartition]span{}
	for at, end := range ends {
		if first := firsts[at]; first < end {
			spans[at] = span{first: first, end: end}
		}
	}
	return spans, nil
}

// fromFranz turns franz-go's record into ours.
func fromFranz(r *kgo.Record) Record {
	out := Record{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Time: r.Timestamp,
		Key: slices.Clone(r.Key), Value: slices.Clone(r.Value),
	}
	for _, h := range r.Headers {
		out.Headers = append(out.Headers, Header{Name: h.Key, Value: slices.Clone(h.Value)})
	}
	return out
}
