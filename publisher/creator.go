package publisher

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	kafka "github.com/segmentio/kafka-go"
	"go.uber.org/zap"

	"sluice/publisher/connect"
)

// ErrNoTopic means that a topic doesn't exist and can't be created: creating is switched off, forbidden, or would exceed
// TopicOptions.Max.
var ErrNoTopic = errNoTopic

// createPause is how long to wait before a cluster that doesn't answer is asked again for a topic.
const createPause = 250 * time.Millisecond

// Creator makes sure of topics for whoever writes records past a [Publisher]. Its methods are safe for concurrent use.
type Creator struct {
	topics *topics
	stop   context.CancelFunc
	close  func()

	mu    sync.Mutex // guards found
	found map[string]string
}

// NewCreator connects to nothing yet. Of the options it uses Brokers, Connect and Topics.
func NewCreator(o Options) (*Creator, error) {
	o, err := o.validate()
	if err != nil {
		return nil, err
	}
	life, stop := context.WithCancel(context.Background())
	transport, err := connect.NewTransport(life, o.Connect)
	if err != nil {
		stop()
		return nil, err
	}
	return &Creator{
		topics: &topics{
			life: life, opts: o.Topics, admin: &admin{transport, kafka.TCP(o.Brokers...)}, log: zap.NewNop(),
			existing: prometheus.NewGauge(prometheus.GaugeOpts{Name: "topics", Help: "Topics, shown to nobody."}),
			creating: map[string]*creation{}, listed: map[string]bool{}, refused: map[string]time.Time{},
		},
		stop: stop, close: transport.CloseIdleConnections, found: map[string]string{},
	}, nil
}

// Close ends the connections.
func (c *Creator) Close() {
	c.stop()
	c.topics.wg.Wait()
	c.close()
}

// Ensure returns nil when the topic exists, which may be by its doing. It is created as that of an event type is; eventType
// may be "". The error wraps [ErrNoTopic] if it can't be created, and ctx's if that ends before the cluster answers.
func (c *Creator) Ensure(ctx context.Context, topic, eventType string) error {
	for {
		err := c.topics.create(ctx, topic, eventType)
		if err == nil || errors.Is(err, errNoTopic) {
			return err
		}
		timer := time.NewTimer(createPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("topic %s: %w: %w", topic, ctx.Err(), err)
		}
	}
}

// Find names the topic for an event type, which exists then: its own, or the overflow topic, as with [Publisher.Publish].
func (c *Creator) Find(ctx context.Context, eventType string) (string, error) {
	c.mu.Lock()
	topic, known := c.found[eventType]
	c.mu.Unlock()
	if known {
		return topic, nil
	}
	o := &c.topics.opts
	topic = o.Name(eventType)
	err := c.Ensure(ctx, topic, eventType)
	if errors.Is(err, errNoTopic) && topic != o.Overflow && o.PerType() {
		topic = o.Overflow
		if overflow := c.Ensure(ctx, topic, ""); overflow != nil {
			return "", errors.Join(err, overflow)
		}
		err = nil
	}
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.found[eventType] = topic
	return topic, nil
}

// MaxMessageBytes is the topic's max.message.bytes, 0 where the cluster doesn't show it.
func (c *Creator) MaxMessageBytes(ctx context.Context, topic string) int {
	found, err := c.topics.admin.describe(ctx, []string{topic})
	if err != nil {
		return 0
	}
	return found[topic].maxMessageBytes
}
