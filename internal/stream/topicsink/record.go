package topicsink

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	kafka "github.com/segmentio/kafka-go"

	"sluice/internal/stream"
	"sluice/publisher/idempotent"
)

// sent is a record on its way.
type sent struct {
	idempotent.Record
	sink   *Sink
	topic  string
	ticket stream.Ticket
	size   int
	again  bool // it is an earlier process's
}

// overhead is what a record takes in memory beside its bytes.
const overhead = 200

// record makes of a record what is sent. Its bytes stay those of the source; the values of its headers, and what the
// journal keeps beside it, are copied into one text.
func (s *Sink) record(r *stream.Record) *sent {
	headers := s.opts.Headers(r)
	b := appendOrigin(s.scratch[:0], r)
	tag := len(b)
	for i := range headers {
		b = append(b, headers[i].Value...)
	}
	s.scratch = b
	text := string(b)
	x := &sent{sink: s, size: overhead + len(r.Key) + len(r.Value) + len(text)}
	x.Key, x.Value = r.Key, r.Value
	x.Tag, text = text[:tag], text[tag:]
	x.Headers = make([]idempotent.Header, len(headers))
	for i := range headers {
		h := &headers[i]
		x.Headers[i] = idempotent.Header{Key: h.Key, Value: text[:len(h.Value)], Null: h.Value == nil}
		text = text[len(h.Value):]
	}
	x.Late = func(err error) { x.late(x.Tag, err) }
	return x
}

// late takes the outcome.
func (x *sent) late(tag string, err error) {
	switch refused, is := errors.AsType[*idempotent.RefusedError](err); {
	case err == nil && x.again:
	case err == nil:
		x.sink.written.Add(1)
		x.ticket.Kept()
	case errors.Is(err, idempotent.ErrUnresolved), errors.Is(err, idempotent.ErrNotSent):
		// Of a producer that was closed, or of a topic that was deleted.
		err = fmt.Errorf("writing to topic %s: %w", x.topic, err)
	case is:
		from, _ := parseOrigin(tag)
		err = &RefusedError{Origin: from.String(), Topic: x.topic, Err: refused.Code}
	default:
		err = fmt.Errorf("writing to topic %s: %w", x.topic, err)
	}
	x.sink.leave(x.size, err)
}

// target is a topic that is written to.
type target struct {
	partitions []int
	keyless    int
}

// target finds a topic, waiting for it to be there.
func (s *Sink) target(ctx context.Context, topic string) (*target, error) {
	if t := s.topics[topic]; t != nil {
		return t, nil
	}
	if s.opts.Ensure != nil {
		most, err := s.opts.Ensure(ctx, topic)
		if err != nil {
			return nil, err
		}
		if most > 0 {
			s.prod.SetMaxBatchBytes(topic, most)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.Patience)
	defer cancel()
	s.prod.Watch(topic)
	for {
		changed := s.prod.Changed()
		known, asked := s.prod.Topic(topic)
		switch {
		case known.Partitions > 0:
			// It stays so for this run, whatever is added: a key's records go to one partition.
			t := &target{partitions: make([]int, known.Partitions)}
			for i := range t.partitions {
				t.partitions[i] = i
			}
			s.topics[topic] = t
			return t, nil
		case known.Missing && s.opts.Ensure == nil:
			return nil, fmt.Errorf("%w: %s", ErrNoTopic, topic)
		case asked && known.Err != nil && !temporary(known.Err):
			return nil, fmt.Errorf("topic %s: %w", topic, known.Err)
		}
		s.prod.Refresh()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("topic %s doesn't show up: %w", topic, cmp.Or(known.Err, context.Cause(ctx)))
		}
	}
}

// temporary reports whether a broker's answer about a topic may be another one soon.
func temporary(err error) bool {
	code, is := errors.AsType[kafka.Error](err)
	return is && code.Temporary()
}

// partition chooses as the publisher does, and Kafka's Java client: murmur2 of the key. Records without one go round.
func (t *target) partition(key []byte) int32 {
	if len(t.partitions) == 1 {
		return 0
	}
	if key == nil {
		t.keyless = (t.keyless + 1) % len(t.partitions)
		return int32(t.keyless)
	}
	murmur := kafka.Murmur2Balancer{Consistent: true}
	return int32(murmur.Balance(kafka.Message{Key: key}, t.partitions...))
}
