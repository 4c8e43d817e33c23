package group

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	kafka "github.com/segmentio/kafka-go"

	"sluice/internal/stream"
)

func isRebalance(err error) bool { return isOneOf(err, kafka.RebalanceInProgress) }

// beat gives signs of life. It ends the generation when the group rebalances, and goes on while the member settles what
// is under way. When the group has gone on without it, or that has to be assumed, the generation is lost.
func (g *generation) beat(ctx context.Context, end context.CancelCauseFunc) {
	tick := time.NewTicker(min(beatEvery, g.m.opts.Session/4))
	defer tick.Stop()
	alive := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := g.sign(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			alive = time.Now()
		case isRebalance(err):
			alive = time.Now()
			end(errRebalance)
		case expelled(err):
			end(errLost)
			return
		case final(err):
			end(err)
			return
		case time.Since(alive) > g.m.opts.Session:
			end(errLost)
			return
		}
	}
}

func (g *generation) sign(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, g.m.opts.Session/3)
	defer cancel()
	return g.m.sign(ctx, g.id, g.member)
}

// watch ends the generation when there are other topics than at its beginning, or, for who divides them, other numbers of
// partitions.
func (g *generation) watch(ctx context.Context, end context.CancelCauseFunc) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, err := g.m.topics(ctx)
		if err != nil {
			continue // what matters of it shows elsewhere
		}
		if !maps.EqualFunc(now, g.topics, func(a, b int) bool { return a == b || !g.leads }) {
			end(errTopics)
			return
		}
	}
}

// commit tells the group how far its partitions have been read. It belongs to one goroutine at a time.
func (g *generation) commit(ctx context.Context, next stream.Positions) error {
	due := g.uncommitted(next)
	if len(due) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req := &kafka.OffsetCommitRequest{
		GroupID: g.m.opts.Group, GenerationID: g.id, MemberID: g.member, Topics: make(map[string][]kafka.OffsetCommit),
	}
	for p, at := range due {
		req.Topics[p.Topic] = append(req.Topics[p.Topic], kafka.OffsetCommit{Partition: p.ID, Offset: at})
	}
	res, err := g.m.client.OffsetCommit(ctx, req)
	if err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	var failed error
	for topic, partitions := range res.Topics {
		for _, x := range partitions {
			p := stream.Partition{Topic: topic, ID: x.Partition}
			switch {
			case x.Error == nil:
				g.committed[p] = due[p]
			case errors.Is(x.Error, kafka.UnknownTopicOrPartition): // deleted: there is nothing left to be read again
			default:
				failed = fmt.Errorf("committing %s[%d]: %w", topic, x.Partition, x.Error)
			}
		}
	}
	return failed
}
