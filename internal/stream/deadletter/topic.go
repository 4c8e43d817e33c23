// Package deadletter keeps records that a sink gives up on a topic.
//
// A record is appended with acks=all by the idempotent producer, so that its origin may be counted as kept once
// [Topic.Keep] has returned. Within a process no record is there twice; a process that is killed between the append and
// the commit of the origin leaves a second one behind, with the same origin in its headers.
//
// The package decides neither what is given up nor what is noted about it.
package deadletter

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	kafka "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/createtopics"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"sluice/internal/stream"
	"sluice/publisher/connect"
	"sluice/publisher/idempotent"
	"sluice/publisher/wire"
)

// Options say which topic it is, and what it is to be like if it has to be created.
type Options struct {
	Brokers []string // required, host:port
	Connect connect.Options
	Topic   string // required

	Create                  bool
	Partitions, Replication int           // -1: the brokers' defaults
	Retention               time.Duration // negative: for ever
	MaxMessageBytes         int           // the topic's max.message.bytes; 0: the brokers' default

	Log *zap.Logger // required
}

// ErrNoTopic says that the topic doesn't exist and can't be created.
var ErrNoTopic = errors.New("no topic for dead letters")

// Topic keeps records. Its methods are safe for concurrent use.
type Topic struct {
	opts      Options
	log       *zap.Logger
	end       context.CancelFunc
	transport *kafka.Transport
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
		Transport: transport, Addr: kafka.TCP(o.Brokers...),
		Log: o.Log.WithOptions(zap.IncreaseLevel(zapcore.WarnLevel)), // what goes well needn't be told
	})
	if err != nil {
		end()
		return nil, err
	}
	prod.Watch(o.Topic)
	return &Topic{opts: o, log: o.Log, end: end, transport: transport, prod: prod}, nil
}

// Ensure waits until the topic is there, and creates it if it may. Brokers that don't answer are waited for, which the log
// is told once. Errors are ctx's, a broker's refusal, or wrap [ErrNoTopic].
func (t *Topic) Ensure(ctx context.Context) error {
	began, told, created := time.Now(), false, false
	for {
		changed := t.prod.Changed()
		now, _ := t.prod.Topic(t.opts.Topic)
		switch {
		case now.Partitions > 0:
			return nil
		case errors.Is(now.Err, kafka.TopicAuthorizationFailed), errors.Is(now.Err, kafka.InvalidTopic):
			return fmt.Errorf("topic %s: %w", t.opts.Topic, now.Err)
		case now.Missing && !created:
			var err error
			if created, err = t.create(ctx); err != nil {
				return err
			}
		}
		if state := t.prod.State(); !told && !state.Up && time.Since(began) > 3*time.Second {
			told = true
			t.log.Warn("Kafka doesn't answer; waiting", zap.Error(state.Err))
		}
		t.prod.Refresh()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// create asks for the topic, and reports false if that has to be tried again.
func (t *Topic) create(ctx context.Context) (done bool, err error) {
	if !t.opts.Create {
		return false, fmt.Errorf("%w: %s doesn't exist, and creating topics is switched off", ErrNoTopic, t.opts.Topic)
	}
	topic := createtopics.RequestTopic{
		Name: t.opts.Topic, NumPartitions: int32(t.opts.Partitions), ReplicationFactor: int16(t.opts.Replication),
		Configs: []createtopics.RequestConfig{{Name: "retention.ms", Value: strconv.FormatInt(max(t.opts.Retention.Milliseconds(), -1), 10)}},
	}
	if t.opts.MaxMessageBytes > 0 {
		topic.Configs = append(topic.Configs, createtopics.RequestConfig{Name: "max.message.bytes", Value: strconv.Itoa(t.opts.MaxMessageBytes)})
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	res, err := wire.Call[*createtopics.Response](ctx, t.transport, kafka.TCP(t.opts.Brokers...), &createtopics.Request{
		Topics: []createtopics.RequestTopic{topic}, TimeoutMs: 3000,
	})
	if err != nil {
		return false, nil //nolint:nilerr // it is tried again; whether Kafka answers is told by the producer's state
	}
	for _, x := range res.Topics {
		switch code := kafka.Error(x.ErrorCode); {
		case code == 0:
			t.log.Info("topic " + t.opts.Topic + " created for dead letters")
		case code == kafka.TopicAlreadyExists: // somebody was quicker
		case code.Temporary():
			return false, nil
		default:
			return false, fmt.Errorf("%w: creating %s: %s (%w)", ErrNoTopic, t.opts.Topic, x.ErrorMessage, code)
		}
	}
	return true, nil
}

// Keep appends the record's key and value with the headers, and returns when all in-sync replicas have it. With an error
// it isn't there, unless the error is [idempotent.ErrUnresolved].
func (t *Topic) Keep(ctx context.Context, r *stream.Record, headers []stream.Header) error {
	topic, _ := t.prod.Topic(t.opts.Topic)
	if topic.Partitions == 0 {
		return fmt.Errorf("%w: %s", ErrNoTopic, t.opts.Topic)
	}
	x := &idempotent.Record{Key: r.Key, Value: r.Value}
	for _, h := range headers {
		x.Headers = append(x.Headers, idempotent.Header{Key: h.Key, Value: string(h.Value)})
	}
	if err := t.prod.Produce(ctx, t.opts.Topic, partitionOf(r.Key, topic.Partitions), x); err != nil {
		return fmt.Errorf("keeping it on %s: %w", t.opts.Topic, err)
	}
	return nil
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
