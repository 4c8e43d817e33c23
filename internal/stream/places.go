package stream

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	kafka "github.com/segmentio/kafka-go"

	"sluice/publisher/connect"
)

// Place is how far the records of a partition reach.
type Place struct {
	Partition
	Begin int64 // the oldest record that the broker still has
	End   int64 // the offset after the last record that is committed
	// At has, for each time that was asked for, the first record of that time or later; End if there is none.
	At []int64
}

// Places asks where the partitions of topics begin, end and have times. match chooses further topics among all of the
// cluster; nil chooses none. Topics that aren't there are left out. It tries for five seconds; errors wrap
// [ErrUnreachable], or are a broker's refusal.
func Places(ctx context.Context, brokers []string, o connect.Options, topics []string, match func(string) bool, times ...time.Time) ([]Place, error) {
	c, err := dialCluster(ctx, brokers, o)
	if err != nil {
		return nil, err
	}
	defer c.close()
	var found []Place
	err = c.insist(ctx, 5*time.Second, func(ctx context.Context) error {
		found = nil
		led, err := c.leadersOf(ctx, topics, match)
		if err != nil {
			return err
		}
		for leader, ids := range led {
			places, err := c.places(ctx, leader, ids, times)
			if err != nil {
				return err
			}
			found = append(found, places...)
		}
		return nil
	})
	slices.SortFunc(found, func(a, b Place) int { return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.ID, b.ID)) })
	return found, err
}

// leadersOf are the partitions of the chosen topics by the broker that leads them.
func (c *cluster) leadersOf(ctx context.Context, topics []string, match func(string) bool) (map[int32][]partitionID, error) {
	led := make(map[int32][]partitionID)
	names := topics
	if match != nil {
		names = nil
	} else if len(topics) == 0 {
		return led, nil
	}
	found, err := c.topicsOf(ctx, names)
	if err != nil {
		return nil, err
	}
	for i := range found {
		t := &found[i]
		if t.IsInternal || !slices.Contains(topics, t.Name) && (match == nil || !match(t.Name)) {
			continue
		}
		if t.ErrorCode != 0 {
			return nil, fmt.Errorf("topic %s: %w", t.Name, errNoLeader)
		}
		for _, p := range t.Partitions {
			id := partitionID{t.Name, p.PartitionIndex}
			if p.LeaderID < 0 {
				return nil, fmt.Errorf("%s: %w", id, errNoLeader)
			}
			led[p.LeaderID] = append(led[p.LeaderID], id)
		}
	}
	return led, nil
}

// places asks one broker. The end comes last, so that it is at or beyond the others.
func (c *cluster) places(ctx context.Context, leader int32, ids []partitionID, times []time.Time) ([]Place, error) {
	whens := []int64{earliest}
	for _, t := range times {
		whens = append(whens, t.Add(time.Millisecond-1).UnixMilli()) // the first whole millisecond that isn't before
	}
	whens = append(whens, latest)
	answers := make([]map[partitionID]offset, len(whens))
	for i, when := range whens {
		var err error
		if answers[i], err = c.offsets(ctx, leader, ids, when); err != nil {
			return nil, err
		}
	}
	places := make([]Place, len(ids))
	for i, id := range ids {
		for _, answer := range answers {
			o, answered := answer[id]
			if !answered {
				o.err = kafka.UnknownTopicOrPartition
			}
			if o.err != nil {
				return nil, fmt.Errorf("asking for offsets of %s: %w", id, o.err)
			}
		}
		p := Place{Partition: Partition{id.topic, int(id.partition)}, Begin: answers[0][id].at, End: answers[len(answers)-1][id].at}
		for _, answer := range answers[1 : len(answers)-1] {
			at := answer[id].at
			if at < 0 {
				at = p.End
			}
			p.At = append(p.At, min(at, p.End))
		}
		places[i] = p
	}
	return places, nil
}
