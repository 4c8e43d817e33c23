package group

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	kafka "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/metadata"

	"sluice/internal/stream"
	"sluice/publisher/wire"
)

// requestTimeout is for what a broker answers at once.
const requestTimeout = 5 * time.Second

// join takes part in a rebalance and returns what this member has been given. It waits for the others.
func (m *Member) join(ctx context.Context, topics map[string]int) (*generation, error) {
	limited, cancel := context.WithTimeout(ctx, m.opts.rebalance()+requestTimeout)
	defer cancel()
	joined, err := m.ask(limited, slices.Sorted(maps.Keys(topics)))
	if err != nil {
		return nil, fmt.Errorf("joining the group %s: %w", m.opts.Group, err)
	}
	sync := &kafka.SyncGroupRequest{
		GroupID: m.opts.Group, GenerationID: joined.generation, MemberID: m.id,
		ProtocolType: "consumer", ProtocolName: joined.protocol,
	}
	if joined.leads {
		if sync.Assignments, err = m.divide(limited, joined.members); err != nil {
			return nil, err
		}
	}
	res, err := m.client.SyncGroup(limited, sync)
	if err == nil {
		err = res.Error
	} else {
		err = trouble{err}
	}
	if err != nil {
		return nil, fmt.Errorf("joining the group %s: %w", m.opts.Group, passing(err))
	}
	g := &generation{m: m, id: joined.generation, member: m.id, leads: joined.leads, topics: topics}
	g.begin, err = m.places(limited, res.Assignment.AssignedPartitions, topics)
	return g, err
}

// passing marks a broker's word that isn't final as trouble.
func passing(err error) error {
	if final(err) || expelled(err) || isOneOf(err, kafka.RebalanceInProgress) {
		return err
	}
	return trouble{err}
}

// divide deals the partitions of all members' topics out in turn, as Kafka's RoundRobinAssignor does, so that many topics
// of one partition don't all go to the same member.
func (m *Member) divide(ctx context.Context, members []subscriber) ([]kafka.SyncGroupRequestAssignment, error) {
	var names []string
	for _, x := range members {
		names = append(names, x.topics...)
	}
	slices.Sort(names)
	counts, err := m.partitions(ctx, slices.Compact(names))
	if err != nil {
		return nil, err
	}
	slices.SortFunc(members, func(a, b subscriber) int { return cmp.Compare(a.id, b.id) })
	given := make([]kafka.SyncGroupRequestAssignment, len(members))
	for i, x := range members {
		given[i].MemberID = x.id
		given[i].Assignment.AssignedPartitions = make(map[string][]int)
	}
	next := 0
	for _, topic := range slices.Sorted(maps.Keys(counts)) {
		for partition := range counts[topic] {
			for !slices.Contains(members[next].topics, topic) {
				next = (next + 1) % len(members)
			}
			of := given[next].Assignment.AssignedPartitions
			of[topic] = append(of[topic], partition)
			next = (next + 1) % len(members)
		}
	}
	return given, nil
}

// places are where to begin in a member's partitions: where the group has got to, else where the options say. Partitions
// that were added to a topic, and topics that are newer than this process, are read from their oldest record.
func (m *Member) places(ctx context.Context, assigned map[string][]int, counts map[string]int) (stream.Positions, error) {
	begin := make(stream.Positions)
	want := make(map[string][]int)
	for topic, partitions := range assigned {
		if len(partitions) == 0 {
			continue
		}
		for id := range max(counts[topic], slices.Max(partitions)+1) { // all, to see whether the group knows the topic
			want[topic] = append(want[topic], id)
		}
	}
	if len(want) == 0 {
		return begin, nil // asking for no topics would be asking for all
	}
	res, err := m.client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: m.opts.Group, Topics: want})
	if err != nil {
		return nil, trouble{err}
	}
	if res.Error != nil {
		return nil, fmt.Errorf("asking for the group's offsets: %w", passing(res.Error))
	}
	for topic, partitions := range assigned {
		at := make(map[int]int64)
		for _, p := range res.Topics[topic] {
			if p.Error != nil {
				return nil, fmt.Errorf("asking for the group's offsets in %s: %w", topic, passing(p.Error))
			}
			if p.CommittedOffset >= 0 {
				at[p.Partition] = p.CommittedOffset
			}
		}
		for _, id := range partitions {
			next, committed := at[id]
			switch {
			case committed:
			case len(at) == 0 && m.first[topic]:
				next = stream.Begin
			default:
				next = stream.Oldest
			}
			begin[stream.Partition{Topic: topic, ID: id}] = next
		}
	}
	return begin, nil
}

// partitions asks how many partitions topics have; nil asks for all topics. Those that don't exist aren't in the answer.
func (m *Member) partitions(ctx context.Context, names []string) (map[string]int, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	res, err := wire.Call[*metadata.Response](ctx, m.transport, m.client.Addr, &metadata.Request{TopicNames: names})
	if err != nil {
		return nil, fmt.Errorf("asking for topics: %w", trouble{err})
	}
	counts := make(map[string]int)
	for _, t := range res.Topics {
		switch code := kafka.Error(t.ErrorCode); code {
		case kafka.UnknownTopicOrPartition:
		case 0, kafka.LeaderNotAvailable:
			if len(t.Partitions) > 0 && !t.IsInternal {
				counts[t.Name] = len(t.Partitions)
			}
		default:
			return nil, fmt.Errorf("asking for topic %s: %w", t.Name, passing(code))
		}
	}
	return counts, nil
}
