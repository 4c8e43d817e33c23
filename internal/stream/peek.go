package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	kafka "github.com/segmentio/kafka-go"

	"sluice/publisher/connect"
)

// ErrForbidden is wrapped by errors of [Peek] when the login may not read a topic.
var ErrForbidden = errors.New("this login needs the right to Read on the topic")

// peekBytes is how much of each partition is fetched at a time for its first record.
const peekBytes = 64 << 10

// Peek reads the first record in each of the spans. Partitions without one aren't in the answer: there are only
// markers of transactions, or what compaction has left, or the records were deleted. It tries for five seconds; errors
// wrap [ErrUnreachable], or are a broker's refusal, also [ErrForbidden].
func Peek(ctx context.Context, brokers []string, o connect.Options, spans []Span) (map[Partition]Record, error) {
	c, err := dialCluster(ctx, brokers, o)
	if err != nil {
		return nil, err
	}
	defer c.close()
	p := peek{cluster: c, next: make(map[partitionID]int64), end: make(map[partitionID]int64), found: make(map[Partition]Record)}
	var topics []string
	for _, s := range spans {
		if s.Begin < s.End {
			id := partitionID{s.Topic, int32(s.ID)}
			p.next[id], p.end[id] = s.Begin, s.End
			topics = append(topics, s.Topic)
		}
	}
	err = c.insist(ctx, 5*time.Second, func(ctx context.Context) error { return p.look(ctx, topics) })
	return p.found, err
}

type peek struct {
	cluster   *cluster
	next, end map[partitionID]int64 // of the partitions that aren't done
	found     map[Partition]Record
}

// look fetches until every partition is done.
func (p *peek) look(ctx context.Context, topics []string) error {
	led, err := p.cluster.leadersOf(ctx, topics, nil)
	if err != nil {
		return err
	}
	for leader, ids := range led {
		for {
			var want []wanted
			for _, id := range ids {
				if next, open := p.next[id]; open {
					want = append(want, wanted{id, next})
				}
			}
			if len(want) == 0 {
				break
			}
			if err := p.fetch(ctx, leader, want); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *peek) fetch(ctx context.Context, leader int32, want []wanted) error {
	res, err := p.cluster.fetch(ctx, leader, want, peekBytes)
	if err != nil {
		return err
	}
	progress := false
	for _, t := range decode(res, want) {
		switch {
		case errors.Is(t.err, kafka.OffsetOutOfRange): // deleted since
			p.done(t.id)
			progress = true
		case errors.Is(t.err, kafka.TopicAuthorizationFailed):
			return fmt.Errorf("reading %s: %w: %w", t.id, t.err, ErrForbidden)
		case t.err != nil:
			return fmt.Errorf("reading %s: %w", t.id, t.err)
		case len(t.records) > 0 && t.records[0].Offset < p.end[t.id]:
			r := t.records[0].Clone()
			p.found[Partition{r.Topic, r.Partition}] = r
			p.done(t.id)
			progress = true
		case len(t.records) > 0 || t.next >= p.end[t.id]:
			p.done(t.id)
			progress = true
		case t.next > p.next[t.id]:
			p.next[t.id] = t.next
			progress = true
		}
	}
	if !progress {
		return errNoBytes
	}
	return nil
}

func (p *peek) done(id partitionID) { delete(p.next, id) }
