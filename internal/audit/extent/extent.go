// Package extent asks brokers how far partitions reach: from which offset on they hold records, where a time begins in
// them, and where they end.
//
// It reads no records and doesn't judge what is missing.
package extent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	kafka "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
	"github.com/segmentio/kafka-go/protocol/metadata"

	"sluice/publisher/connect"
	"sluice/publisher/wire"
)

// Extent is what a partition holds.
type Extent struct {
	Topic     string
	Partition int32
	First     int64 // the oldest offset
	Since     int64 // the first record of the time asked for or later; End if there is none
	End       int64 // one beyond the last offset
}

// Cut reports whether records of the time asked for may have been deleted: some were, and none is left from before it.
func (e Extent) Cut() bool { return e.First > 0 && e.Since <= e.First }

// patience is how long brokers may take to agree on who leads what, and retryGap the pause between two questions.
const (
	patience = 10 * time.Second
	retryGap = 250 * time.Millisecond
)

// Of asks for all partitions of the topics, which have to exist. It tries for ten seconds; the errors are the brokers'
// or those of connecting.
func Of(ctx context.Context, brokers []string, o connect.Options, topics []string, since time.Time) ([]Extent, error) {
	if len(topics) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	transport, err := connect.NewTransport(ctx, o)
	if err != nil {
		return nil, err
	}
	defer transport.CloseIdleConnections()
	transport.MetadataTopics = topics // by which kafka-go finds the leaders
	a := asker{transport: transport, brokers: brokers, topics: topics, since: since}
	for {
		found, err := a.ask(ctx)
		if err == nil || !a.again(err) {
			return found, err
		}
		timer := time.NewTimer(retryGap)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, err
		}
	}
}

type asker struct {
	transport *connect.Transport
	brokers   []string
	topics    []string
	since     time.Time
}

// again reports whether an error may pass.
func (a *asker) again(err error) bool {
	code, is := errors.AsType[kafka.Error](err)
	return is && (code.Temporary() || code == kafka.UnknownTopicOrPartition)
}

type partition struct {
	topic  string
	number int32
}

// ask goes once to each leader for each kind of offset.
func (a *asker) ask(ctx context.Context) ([]Extent, error) {
	leaders, err := a.leaders(ctx)
	if err != nil {
		return nil, err
	}
	var found []Extent
	for _, led := range leaders {
		firsts, err := a.offsets(ctx, led, kafka.FirstOffset)
		if err != nil {
			return nil, err
		}
		sinces, err := a.offsets(ctx, led, a.since.Add(time.Millisecond-1).UnixMilli())
		if err != nil {
			return nil, err
		}
		ends, err := a.offsets(ctx, led, kafka.LastOffset) // the last, so that it is at or beyond the others
		if err != nil {
			return nil, err
		}
		for _, p := range led {
			e := Extent{Topic: p.topic, Partition: p.number, First: firsts[p], Since: sinces[p], End: ends[p]}
			if e.Since < 0 {
				e.Since = e.End
			}
			found = append(found, e)
		}
	}
	slices.SortFunc(found, func(a, b Extent) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return found, nil
}

// leaders are the partitions by the broker that leads them.
func (a *asker) leaders(ctx context.Context) (map[int32][]partition, error) {
	res, err := wire.Call[*metadata.Response](ctx, a.transport, kafka.TCP(a.brokers...), &metadata.Request{TopicNames: a.topics})
	if err != nil {
		return nil, fmt.Errorf("asking for topics: %w", err)
	}
	leaders := make(map[int32][]partition)
	for _, t := range res.Topics {
		if t.ErrorCode != 0 {
			return nil, fmt.Errorf("asking for topic %s: %w", t.Name, kafka.Error(t.ErrorCode))
		}
		for _, p := range t.Partitions {
			if p.LeaderID < 0 {
				return nil, fmt.Errorf("asking for topic %s: %w", t.Name, kafka.LeaderNotAvailable)
			}
			leaders[p.LeaderID] = append(leaders[p.LeaderID], partition{t.Name, p.PartitionIndex})
		}
	}
	return leaders, nil
}

// offsets asks the leader of the first partition about all of them.
func (a *asker) offsets(ctx context.Context, led []partition, when int64) (map[partition]int64, error) {
	req := &listoffsets.Request{ReplicaID: -1, IsolationLevel: int8(kafka.ReadCommitted)}
	for _, p := range led {
		req.Topics = append(req.Topics, listoffsets.RequestTopic{Topic: p.topic, Partitions: []listoffsets.RequestPartition{
			{Partition: p.number, CurrentLeaderEpoch: -1, Timestamp: when},
		}})
	}
	res, err := wire.Call[*listoffsets.Response](ctx, a.transport, kafka.TCP(a.brokers...), req)
	if err != nil {
		return nil, fmt.Errorf("asking for offsets: %w", err)
	}
	found := make(map[partition]int64, len(led))
	for _, t := range res.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				return nil, fmt.Errorf("asking for offsets of %s[%d]: %w", t.Topic, p.Partition, kafka.Error(p.ErrorCode))
			}
			found[partition{t.Topic, p.Partition}] = p.Offset
		}
	}
	if len(found) != len(led) {
		return nil, fmt.Errorf("asking for offsets: %w", kafka.UnknownTopicOrPartition)
	}
	return found, nil
}
