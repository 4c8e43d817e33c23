package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"sluice/config"
	"sluice/event"
	"sluice/internal/stream"
	"sluice/internal/stream/topicsink"
	"sluice/publisher"
)

// Headers of replayed records, behind the original's own: of which replay they are, and of which record. A record that is
// replayed again has them twice; the last count.
const (
	replayIDHeader        = "sluice-replay-id"
	originTopicHeader     = "sluice-origin-topic"
	originPartitionHeader = "sluice-origin-partition"
	originOffsetHeader    = "sluice-origin-offset"
	originTimeHeader      = "sluice-origin-time"
)

// originTime is RFC 3339 to the millisecond, which is what Kafka keeps.
const originTime = "2006-01-02T15:04:05.000Z07:00"

// withOrigin adds to a record's headers where it is from.
func withOrigin(replay string, r *stream.Record) []stream.Header {
	h := make([]stream.Header, len(r.Headers), len(r.Headers)+6)
	copy(h, r.Headers)
	b := make([]byte, 0, len(replay)+len(r.Topic)+64) // one for all values
	add := func(name string, value []byte) {
		h = append(h, stream.Header{Key: name, Value: value[len(b):len(value):len(value)]})
		b = value
	}
	add(replayIDHeader, append(b, replay...))
	add(originTopicHeader, append(b, r.Topic...))
	add(originPartitionHeader, strconv.AppendInt(b, int64(r.Partition), 10))
	add(originOffsetHeader, strconv.AppendInt(b, r.Offset, 10))
	add(originTimeHeader, r.Time.UTC().AppendFormat(b, originTime))
	return h
}

// topicTarget writes to topics, and creates those that are missing if it may.
type topicTarget struct {
	*topicsink.Sink
	creator *publisher.Creator
}

// Close is part of [stream.Sink].
func (t topicTarget) Close() error {
	err := t.Sink.Close()
	t.creator.Close()
	return err
}

// journalOf is the folder of a checkpoint's journal.
func journalOf(checkpoint string) string {
	if checkpoint == "" {
		return ""
	}
	return checkpoint + ".journal"
}

// removeProgress removes a checkpoint, and then the journal that it names, if it has one: a journal alone is of no
// consequence.
func removeProgress(checkpoint string) error {
	if err := removeCheckpoint(checkpoint); err != nil {
		return err
	}
	if err := os.RemoveAll(journalOf(checkpoint)); err != nil {
		return fmt.Errorf("removing the journal: %w", err)
	}
	return nil
}

// topicMemory is what a process that writes to topics may take, where GOMEMLIMIT doesn't say otherwise: what is under way
// is bounded, and the collector needs no more room than that to keep up.
const topicMemory = 100 << 20

// newTopicTarget opens a sink; o's Topic and Ensure may be nil: then each record goes to the topic of its type, as type
// tells it.
func newTopicTarget(ctx context.Context, c *config.Config, o topicsink.Options, typeOf func(*stream.Record) (string, error)) (stream.Resumable, error) {
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		debug.SetMemoryLimit(topicMemory)
	}
	creator, err := publisher.NewCreator(publisher.Options{Brokers: c.KafkaBrokers, Connect: connection(c), Topics: topicOptions(c)})
	if err != nil {
		return nil, err
	}
	o.Brokers, o.Connect = c.KafkaBrokers, connection(c)
	if o.Topic == nil {
		o.Topic = func(r *stream.Record) (string, error) {
			eventType, err := typeOf(r)
			if err != nil || eventType == "" {
				return c.DeadLetterTopic, err
			}
			topic, err := creator.Find(ctx, eventType)
			return topic, explainNoTopic(err)
		}
	}
	types := topicOptions(c)
	o.Ensure = func(ctx context.Context, topic string) (int, error) {
		eventType, _ := types.EventType(topic) // for its settings
		if err := creator.Ensure(ctx, topic, eventType); err != nil {
			return 0, explainNoTopic(err)
		}
		return creator.MaxMessageBytes(ctx, topic), nil
	}
	sink, err := topicsink.New(ctx, o)
	if err != nil {
		creator.Close()
		return nil, err
	}
	return topicTarget{sink, creator}, nil
}

// explainNoTopic says what to do about a topic that can't be created.
func explainNoTopic(err error) error {
	if errors.Is(err, publisher.ErrNoTopic) {
		return fmt.Errorf("%w; create it, or allow it: --create-topics (SLUICE_CREATE_TOPICS), the right to create topics, --max-topics", err)
	}
	return err
}

// explainTopicSink says what to do about errors of the sink.
func explainTopicSink(err error) error {
	if _, is := errors.AsType[*topicsink.RefusedError](err); is {
		return fmt.Errorf("%w; raise that topic's max.message.bytes and go on, or leave the record out by a filter and begin anew", err)
	}
	if errors.Is(err, topicsink.ErrOtherCluster) {
		return fmt.Errorf("%w; check --kafka-brokers, or delete the checkpoint to begin anew", err)
	}
	return err
}

// eventTypeOf is the type that the record's header names, or else its value.
func eventTypeOf(r *stream.Record) (string, error) {
	if eventType := r.Header(eventTypeHeader); eventType != "" {
		return eventType, nil
	}
	e, err := event.Parse(r.Value)
	return e.Type, err
}

// checkToTopic refuses a topic that the replay reads.
func (r *replay) checkToTopic() error {
	names, match := r.chosen.topics()
	reads := match != nil && match(r.c.ToTopic)
	for _, name := range names {
		reads = reads || name == r.c.ToTopic
	}
	if reads || r.c.ToTopic == r.c.Topic {
		return fmt.Errorf("--to-topic %s: %w; name another one", r.c.ToTopic, topicsink.ErrSameTopic)
	}
	return nil
}

// openTopic opens the target of --to-topic: one topic, or a template.
func (r *replay) openTopic(ctx context.Context) (stream.Sink, error) {
	if err := r.checkToTopic(); err != nil {
		return nil, err
	}
	topic := func(*stream.Record) (string, error) { return r.c.ToTopic, nil }
	if strings.Contains(r.c.ToTopic, publisher.EventTypePlaceholder) {
		topic = func(x *stream.Record) (string, error) {
			eventType, err := eventTypeOf(x)
			if err != nil {
				return "", fmt.Errorf("%s[%d]@%d has no event type for --to-topic %s: %w", x.Topic, x.Partition, x.Offset, r.c.ToTopic, err)
			}
			return strings.Replace(r.c.ToTopic, publisher.EventTypePlaceholder, eventType, 1), nil
		}
	}
	return newTopicTarget(ctx, &r.c.Config, topicsink.Options{
		Journal: journalOf(r.path), State: r.state.Sink, Topic: topic, Log: noticesTo(lineWriter(r.show.say)),
		Headers: func(x *stream.Record) []stream.Header { return withOrigin(r.state.ID, x) },
	}, nil)
}
