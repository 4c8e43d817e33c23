package publisher

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	kafka "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/createtopics"
	"github.com/segmentio/kafka-go/protocol/describeconfigs"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"go.uber.org/zap"

	"sluice/publisher/wire"
)

// admin makes the few administrative requests. Each call is bounded by its
// context and by ten seconds.
type admin struct {
	transport kafka.RoundTripper
	addr      net.Addr
}

const adminTimeout = 10 * time.Second

type topicConfig struct {
	name                    string
	partitions, replication int
	settings                map[string]string
}

// brokerError is a broker's own answer, as opposed to a failure to get one.
type brokerError struct {
	code kafka.Error
	text string
}

func (e *brokerError) Error() string { return fmt.Sprintf("%s (%v)", e.text, e.code) }
func (e *brokerError) Unwrap() error { return e.code }

// errorCode returns the broker's code if err is a broker's answer.
func errorCode(err error) (kafka.Error, bool) {
	if b, ok := errors.AsType[*brokerError](err); ok {
		return b.code, true
	}
	return 0, false
}

func (a *admin) create(ctx context.Context, c topicConfig) error {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	topic := createtopics.RequestTopic{
		Name: c.name, NumPartitions: int32(c.partitions), ReplicationFactor: int16(c.replication),
	}
	for k, v := range c.settings {
		topic.Configs = append(topic.Configs, createtopics.RequestConfig{Name: k, Value: v})
	}
	res, err := wire.Call[*createtopics.Response](ctx, a.transport, a.addr, &createtopics.Request{
		Topics: []createtopics.RequestTopic{topic}, TimeoutMs: 3000,
	})
	if err != nil {
		return err
	}
	for _, t := range res.Topics {
		if t.ErrorCode != 0 {
			return &brokerError{kafka.Error(t.ErrorCode), t.ErrorMessage}
		}
	}
	return nil
}

// list names all topics of the cluster.
func (a *admin) list(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	res, err := wire.Call[*metadata.Response](ctx, a.transport, a.addr, &metadata.Request{})
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(res.Topics))
	for _, t := range res.Topics {
		names = append(names, t.Name)
	}
	return names, nil
}

// limits are what a topic's configuration means to Sluice.
type limits struct {
	maxMessageBytes int
	retention       time.Duration // negative = for ever
	compacted       bool
}

// describe returns the limits of those topics whose configuration the cluster shows.
func (a *admin) describe(ctx context.Context, names []string) (map[string]limits, error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	req := &describeconfigs.Request{}
	for _, n := range names {
		req.Resources = append(req.Resources, describeconfigs.RequestResource{
			ResourceType: int8(kafka.ResourceTypeTopic), ResourceName: n,
			ConfigNames: []string{"max.message.bytes", "retention.ms", "cleanup.policy"},
		})
	}
	res, err := wire.Call[*describeconfigs.Response](ctx, a.transport, a.addr, req)
	if err != nil {
		return nil, err
	}
	out := map[string]limits{}
	for _, r := range res.Resources {
		if r.ErrorCode != 0 {
			continue // no right to see it: the defaults hold
		}
		l := limits{retention: -1}
		for _, c := range r.ConfigEntries {
			switch c.ConfigName {
			case "max.message.bytes":
				l.maxMessageBytes, _ = strconv.Atoi(c.ConfigValue)
			case "retention.ms":
				if ms, err := strconv.ParseInt(c.ConfigValue, 10, 64); err == nil {
					l.retention = time.Duration(max(ms, -1)) * time.Millisecond
				}
			case "cleanup.policy":
				l.compacted = c.ConfigValue != "delete" && c.ConfigValue != ""
			}
		}
		out[r.ResourceName] = l
	}
	return out, nil
}

// describe looks at the topics that have come into use since the last time,
// tells the producer their size limit and the operator what is risky.
func (t *topics) describe(ctx context.Context) {
	var fresh []string
	for name, info := range t.prod.Topics() {
		if info.Missing {
			delete(t.described, name) // look again when it is back
		} else if info.Partitions > 0 && !t.described[name] {
			fresh = append(fresh, name)
		}
	}
	if len(fresh) == 0 {
		return
	}
	found, err := t.admin.describe(ctx, fresh)
	if err != nil {
		t.log.Debug("topics not described", zap.Error(err))
		return
	}
	for _, name := range fresh {
		t.described[name] = true
		l, ok := found[name]
		if !ok {
			continue
		}
		if l.maxMessageBytes > 0 {
			t.prod.SetMaxBatchBytes(name, l.maxMessageBytes)
			if l.maxMessageBytes < t.opts.MaxMessageBytes {
				t.log.Warn("topic takes smaller messages than sluice does; larger ones become dead letters",
					zap.String("topic", name), zap.Int("max_message_bytes", l.maxMessageBytes), zap.Int("wanted", t.opts.MaxMessageBytes))
			}
		}
		if l.compacted {
			t.log.Warn("topic is compacted: older events of a key will vanish", zap.String("topic", name))
		}
		if l.retention >= 0 && l.retention < t.opts.DedupeTTL {
			t.log.Warn("topic forgets events sooner than dedupe does", zap.String("topic", name),
				zap.Duration("retention", l.retention), zap.Duration("dedupe_ttl", t.opts.DedupeTTL))
		}
	}
	if _, _, err := t.list(ctx, ""); err != nil {
		t.log.Debug("topics not counted", zap.Error(err))
	}
}
