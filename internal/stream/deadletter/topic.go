// Package deadletter keeps records that a sink gives up on a topic.
//
// A record is appended with acks=all by the idempotent producer, so that its origin may be counted as kept once
// [Topic.Keep] has returned. Within a process no record is there twice; a process that is killed between the append and
// the commit of the origin leaves a second one behind, with the same origin in its headers.
//
// The package creates no topic, and decides neither what is given up nor what is noted about it.
package deadletter

import (
	"context"
	"errors"
	"fmt"

	kafka "github.com/segmentio/kafka-go"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"sluice/internal/stream"
	"sluice/publisher/connect"
	"sluice/publisher/idempotent"
)

// Options say which topic it is. It has to be there, or be about to be.
type Options struct {
	Brokers []string // required, host:port
	Connect connect.Options
	Topic   string      // required
	Log     *zap.Logger // required
}

// Topic keeps records. Its methods are safe for concurrent use.
type Topic struct {
	name      string
	end       context.CancelFunc
	transport *connect.Transport
	prod      *idempotent.Producer
}

// New connects in the background.
func New(o Options) (*Topic, error) {
	switch {
	case len(o.Brokers) == 0:
		return nil, errors.New("deadletter: Options.Brokers is empty")
	case o.Topic == "":
		return nil, errors.New("deadletter: Options.Topic is empty")
	case o.Log == nil:
		return nil, errors.New("deadletter: Options.Log is nil")
	}
	life, end := context.WithCancel(context.Background())
	transport, err := connect.NewTransport(life, o.Connect)
	if err != nil {
		end()
		return nil, err
	}
	prod, err := idempotent.New(idempotent.Options{
		Transport: transport, Opened: transport.Opened, Addr: kafka.TCP(o.Brokers...),
		Log: o.Log.WithOptions(zap.IncreaseLevel(zapcore.WarnLevel)), // what goes well needn't be told
	})
	if err != nil {
		end()
		return nil, err
	}
	prod.Watch(o.Topic)
	return &Topic{name: o.Topic, end: end, transport: transport, prod: prod}, nil
}

// Keep appends the record's key and value with the headers, and returns when all in-sync replicas have it. Brokers that
// don't answer are waited for until ctx ends. With an error the record isn't there, unless it is
// [idempotent.ErrUnresolved].
func (t *Topic) Keep(ctx context.Context, r *stream.Record, headers []stream.Header) error {
	partitions, err := t.partitions(ctx)
	if err != nil {
		return err
	}
	x := &idempotent.Record{Key: r.Key, Value: r.Value}
	for _, h := range headers {
		x.Headers = append(x.Headers, idempotent.Header{Key: h.Key, Value: string(h.Value), Null: h.Value == nil})
	}
	if err := t.prod.Produce(ctx, t.name, partitionOf(r.Key, partitions), x); err != nil {
		return fmt.Errorf("keeping it on %s: %w", t.name, err)
	}
	return nil
}

// partitions waits until brokers have told how many there are.
func (t *Topic) partitions(ctx context.Context) (int, error) {
	for {
		changed := t.prod.Changed()
		now, _ := t.prod.Topic(t.name)
		switch {
		case now.Partitions > 0:
			return now.Partitions, nil
		case errors.Is(now.Err, kafka.TopicAuthorizationFailed), errors.Is(now.Err, kafka.InvalidTopic):
			return 0, fmt.Errorf("topic %s: %w", t.name, now.Err)
		}
		t.prod.Refresh()
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, fmt.Errorf("waiting for topic %s: %w", t.name, ctx.Err())
		}
	}
}

// partitionOf chooses as the publisher does: murmur2 of the key.
func partitionOf(key []byte, partitions int) int32 {
	all := make([]int, partitions)
	for i := range all {
		all[i] = i
	}
	balancer := kafka.Murmur2Balancer{Consistent: true}
	return int32(balancer.Balance(kafka.Message{Key: key}, all...))
}

// Close ends what is under way.
func (t *Topic) Close() {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	t.prod.Close(now)
	t.transport.CloseIdleConnections()
	t.end()
}
