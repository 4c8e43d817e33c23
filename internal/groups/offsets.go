package groups

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	kafka "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/offsetcommit"
	"github.com/segmentio/kafka-go/protocol/offsetdelete"
	"github.com/segmentio/kafka-go/protocol/offsetfetch"

	"sluice/internal/stream"
)

// ErrJoined is wrapped by errors of [Admin.Set] and [Admin.Forget] when the group has got a member in the meantime.
var ErrJoined = errors.New("the group has a member now; offsets that were refused are as they were")

// Offset is a committed offset: the next record that the group reads.
type Offset struct {
	At       int64
	Epoch    int32 // the leader epoch of the record before it, -1: not known
	Metadata string
}

// Offsets are the offsets that a group has committed. A group that isn't there has none.
func (a *Admin) Offsets(ctx context.Context, group string) (map[stream.Partition]Offset, error) {
	found := make(map[stream.Partition]Offset)
	err := a.atCoordinator(ctx, group, func(ctx context.Context, broker int32) error {
		clear(found)
		res, err := call[*offsetfetch.Response](ctx, a, broker, &offsetfetch.Request{GroupID: group})
		if err == nil && res.ErrorCode != 0 {
			err = kafka.Error(res.ErrorCode)
		}
		if errors.Is(err, kafka.GroupIdNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("asking for the offsets of group %s: %w", group, rights(err, "Describe on the group"))
		}
		for _, t := range res.Topics {
			for _, p := range t.Partitions {
				if p.ErrorCode != 0 {
					return fmt.Errorf("asking for the offset of group %s in %s/%d: %w", group, t.Name, p.PartitionIndex,
						rights(kafka.Error(p.ErrorCode), "Describe on the topic"))
				}
				if p.CommittedOffset >= 0 {
					found[stream.Partition{Topic: t.Name, ID: int(p.PartitionIndex)}] = Offset{p.CommittedOffset, p.ComittedLeaderEpoch, p.Metadata}
				}
			}
		}
		return nil
	})
	return found, err
}

// Set commits offsets for a group without members. Kafka refuses it, with [ErrJoined], if the group has got some in the
// meantime. After an error some of the offsets may be set.
func (a *Admin) Set(ctx context.Context, group string, offsets map[stream.Partition]Offset) error {
	if len(offsets) == 0 {
		return nil
	}
	req := &offsetcommit.Request{GroupID: group, GenerationID: -1, RetentionTimeMs: -1}
	for _, of := range byTopic(offsets) {
		t := offsetcommit.RequestTopic{Name: of.topic}
		for _, id := range of.partitions {
			o := offsets[stream.Partition{Topic: of.topic, ID: id}]
			t.Partitions = append(t.Partitions, offsetcommit.RequestPartition{
				PartitionIndex: int32(id), CommittedOffset: o.At, CommittedLeaderEpoch: o.Epoch, CommittedMetadata: o.Metadata,
			})
		}
		req.Topics = append(req.Topics, t)
	}
	return a.atCoordinator(ctx, group, func(ctx context.Context, broker int32) error {
		res, err := call[*offsetcommit.Response](ctx, a, broker, req)
		if err != nil {
			return fmt.Errorf("setting offsets of group %s: %w", group, err)
		}
		var refused refusals
		for _, t := range res.Topics {
			for _, p := range t.Partitions {
				refused.add(t.Name, p.PartitionIndex, p.ErrorCode)
			}
		}
		return refused.err("setting offsets of group "+group, "Read on the group and on the topics")
	})
}

// Forget deletes committed offsets of a group without members, so that it has none in those partitions.
func (a *Admin) Forget(ctx context.Context, group string, partitions []stream.Partition) error {
	if len(partitions) == 0 {
		return nil
	}
	none := make(map[stream.Partition]Offset, len(partitions))
	for _, p := range partitions {
		none[p] = Offset{}
	}
	req := &offsetdelete.Request{GroupID: group}
	for _, of := range byTopic(none) {
		t := offsetdelete.RequestTopic{Name: of.topic}
		for _, id := range of.partitions {
			t.Partitions = append(t.Partitions, offsetdelete.RequestPartition{PartitionIndex: int32(id)})
		}
		req.Topics = append(req.Topics, t)
	}
	what := "deleting offsets of group " + group
	return a.atCoordinator(ctx, group, func(ctx context.Context, broker int32) error {
		res, err := call[*offsetdelete.Response](ctx, a, broker, req)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		var refused refusals
		if res.ErrorCode != 0 && kafka.Error(res.ErrorCode) != kafka.GroupIdNotFound { // then it has none
			refused.code = kafka.Error(res.ErrorCode)
		}
		for _, t := range res.Topics {
			for _, p := range t.Partitions {
				refused.add(t.Name, p.PartitionIndex, p.ErrorCode)
			}
		}
		return refused.err(what, "Delete on the group and Read on the topics")
	})
}

// refusals are what a coordinator has refused, with the first code.
type refusals struct {
	code   kafka.Error
	places []string
}

func (r *refusals) add(topic string, partition int32, code int16) {
	if code == 0 {
		return
	}
	if r.code == 0 {
		r.code = kafka.Error(code)
	}
	r.places = append(r.places, fmt.Sprintf("%s/%d", topic, partition))
}

func (r *refusals) err(what, needed string) error {
	if r.code == 0 {
		return nil
	}
	if len(r.places) > 0 {
		more := ""
		if n := len(r.places) - 3; n > 0 {
			more = fmt.Sprintf(" and %d more", n)
		}
		what += " in " + strings.Join(r.places[:min(3, len(r.places))], ", ") + more
	}
	switch r.code {
	case kafka.UnknownMemberId, kafka.IllegalGeneration, kafka.RebalanceInProgress, kafka.NonEmptyGroup, kafka.GroupSubscribedToTopic:
		return fmt.Errorf("%s: %w: %w", what, ErrJoined, r.code)
	}
	return fmt.Errorf("%s: %w", what, rights(r.code, needed))
}

// ofTopic are partitions of one topic.
type ofTopic struct {
	topic      string
	partitions []int
}

// byTopic groups partitions, all in order.
func byTopic(offsets map[stream.Partition]Offset) (found []ofTopic) {
	topics := make(map[string][]int)
	for p := range offsets {
		topics[p.Topic] = append(topics[p.Topic], p.ID)
	}
	for _, topic := range slices.Sorted(maps.Keys(topics)) {
		slices.Sort(topics[topic])
		found = append(found, ofTopic{topic, topics[topic]})
	}
	return found
}
