package publisher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	kafka "github.com/segmentio/kafka-go"
	"go.uber.org/zap"

	"sluice/publisher/idempotent"
)

const (
	// checkInterval is how often missing topics are created again and new
	// ones are described.
	checkInterval = 2 * time.Second
	// refusalMemory is how long a topic that the cluster refused to create
	// isn't asked for again: its events go to the overflow topic meanwhile.
	refusalMemory = time.Minute
	maxRefused    = 1000
)

// errNoTopic means that the event has no topic and none may be created.
var errNoTopic = errors.New("topic doesn't exist and can't be created")

// topics knows which topics there are, and creates those that are missing.
type topics struct {
	opts     TopicOptions
	prod     *idempotent.Producer
	admin    *admin
	log      *zap.Logger
	existing prometheus.Gauge

	life context.Context //nolint:containedctx // ends creations; they are started on demand
	wg   sync.WaitGroup

	described map[string]bool // belongs to run

	mu       sync.Mutex
	creating map[string]*creation
	listed   map[string]bool // topics in the cluster that the template leads to
	listedAt time.Time
	refused  map[string]time.Time // until when not to ask again; "" = for any topic
}

// creation is one attempt to create a topic, shared by all who need it.
type creation struct {
	done chan struct{}
	err  error
}

func newTopics(life context.Context, o Options, prod *idempotent.Producer, adm *admin) *topics {
	t := &topics{
		life: life, opts: o.Topics, prod: prod, admin: adm, log: o.Log.Named("topics"),
		existing: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "sluice", Subsystem: "kafka", Name: "topics", Help: "Topics in the cluster that the template leads to.",
		}),
		creating: map[string]*creation{}, listed: map[string]bool{}, refused: map[string]time.Time{}, described: map[string]bool{},
	}
	if o.Registry != nil {
		o.Registry.MustRegister(t.existing)
	}
	prod.Watch(t.wanted()...)
	return t
}

// wanted are the topics that exist from the start.
func (t *topics) wanted() []string {
	names := []string{t.opts.DeadLetter}
	if !t.opts.PerType() {
		return append(names, t.opts.Template)
	}
	names = append(names, t.opts.Overflow)
	for _, typ := range t.opts.Types {
		names = append(names, t.opts.Name(typ))
	}
	return names
}

// find returns a topic with at least one partition for the event type: its
// own, or the overflow topic. It waits for Kafka, and for the topic's
// creation, until ctx ends.
func (t *topics) find(ctx context.Context, eventType string) (string, int, error) {
	name := t.opts.Name(eventType)
	n, err := t.ensure(ctx, name, eventType)
	if !errors.Is(err, errNoTopic) || name == t.opts.Overflow || !t.opts.PerType() {
		return name, n, err
	}
	n, oerr := t.ensure(ctx, t.opts.Overflow, "")
	if oerr != nil {
		return "", 0, errors.Join(err, oerr)
	}
	return t.opts.Overflow, n, nil
}

// ensure returns the topic's partition count, creating the topic if need be.
// The error wraps errNoTopic when there is no use in waiting.
func (t *topics) ensure(ctx context.Context, name, eventType string) (int, error) {
	var last error
	for {
		changed := t.prod.Changed()
		info, known := t.prod.Topic(name)
		switch {
		case info.Partitions > 0:
			return info.Partitions, nil
		case errors.Is(info.Err, kafka.TopicAuthorizationFailed), errors.Is(info.Err, kafka.InvalidTopic):
			return 0, fmt.Errorf("%w: %s: %w", errNoTopic, name, info.Err)
		case info.Missing, !known && !t.isListed(name):
			if last = t.create(ctx, name, eventType); errors.Is(last, errNoTopic) {
				return 0, last
			}
		}
		if last == nil {
			t.prod.Watch(name)
		}
		t.prod.Refresh()
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("waiting for topic %s: %w", name, errors.Join(ctx.Err(), last, t.prod.State().Err))
		case <-changed:
		}
	}
}

func (t *topics) isListed(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.listed[name]
}

// create asks for the topic once, however many wait for it. nil means that it
// exists or will in a moment.
func (t *topics) create(ctx context.Context, name, eventType string) error {
	now := time.Now()
	t.mu.Lock()
	if t.life.Err() != nil || now.Before(t.refused[name]) || now.Before(t.refused[""]) ||
		t.limited(eventType) && len(t.listed) >= t.opts.Max && now.Sub(t.listedAt) < refusalMemory {
		t.mu.Unlock()
		return fmt.Errorf("%w: %s", errNoTopic, name)
	}
	c := t.creating[name]
	if c == nil {
		c = &creation{done: make(chan struct{})}
		t.creating[name] = c
		t.wg.Go(func() {
			// Not the request's context: others wait for the same topic.
			c.err = t.createNow(t.life, name, eventType)
			t.mu.Lock()
			delete(t.creating, name)
			t.mu.Unlock()
			close(c.done)
		})
	}
	t.mu.Unlock()
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// limited reports whether the topic counts against TopicOptions.Max.
func (t *topics) limited(eventType string) bool { return eventType != "" && t.opts.PerType() }

func (t *topics) createNow(ctx context.Context, name, eventType string) error {
	exists, n, err := t.list(ctx, name)
	switch {
	case err != nil:
		return fmt.Errorf("listing topics: %w", err)
	case exists:
		return nil
	case !t.opts.Create:
		return t.refuse(name, fmt.Errorf("%w: %s: creating topics is switched off", errNoTopic, name))
	case t.limited(eventType) && n >= t.opts.Max:
		return t.refuse(name, fmt.Errorf("%w: %s: there are %d topics of %d allowed", errNoTopic, name, n, t.opts.Max))
	}
	err = t.admin.create(ctx, t.config(name, eventType))
	switch code, answered := errorCode(err); {
	case err == nil:
		t.log.Info("topic created", zap.String("topic", name))
		return nil
	case code == kafka.TopicAlreadyExists: // somebody was quicker
		return nil
	case code == kafka.TopicAuthorizationFailed, code == kafka.ClusterAuthorizationFailed:
		return t.refuse("", fmt.Errorf("%w: %s: %w", errNoTopic, name, err))
	case answered && !code.Temporary():
		return t.refuse(name, fmt.Errorf("%w: %s: %w", errNoTopic, name, err))
	default:
		return fmt.Errorf("creating topic %s: %w", name, err)
	}
}

// refuse remembers for a while that there is no use in asking again.
func (t *topics) refuse(name string, err error) error {
	now := time.Now()
	t.mu.Lock()
	if len(t.refused) >= maxRefused { // types are the sender's to invent
		clear(t.refused)
	}
	t.refused[name] = now.Add(refusalMemory)
	t.mu.Unlock()
	t.log.Error("topic not created; events of its type go to the overflow topic if there is one",
		zap.String("overflow", t.opts.Overflow), zap.Error(err))
	return err
}

// list asks the cluster for its topics and reports whether name is among them
// and how many the template leads to.
func (t *topics) list(ctx context.Context, name string) (exists bool, n int, err error) {
	names, err := t.admin.list(ctx)
	if err != nil {
		return false, 0, err
	}
	listed := map[string]bool{}
	for _, x := range names {
		exists = exists || x == name
		if _, led := t.opts.EventType(x); led {
			listed[x] = true
		}
	}
	t.mu.Lock()
	t.listed, t.listedAt = listed, time.Now()
	t.mu.Unlock()
	t.existing.Set(float64(len(listed)))
	return exists, len(listed), nil
}

func (t *topics) config(name, eventType string) topicConfig {
	c := topicConfig{
		name: name, partitions: t.opts.Partitions, replication: t.opts.Replication,
		settings: map[string]string{"max.message.bytes": strconv.Itoa(t.opts.MaxMessageBytes)},
	}
	retention := t.opts.Retention
	if o, ok := t.opts.Overrides[eventType]; ok {
		if o.Partitions != 0 {
			c.partitions = o.Partitions
		}
		if o.Replication != 0 {
			c.replication = o.Replication
		}
		if o.Retention != 0 {
			retention = o.Retention
		}
	}
	c.settings["retention.ms"] = strconv.FormatInt(max(retention.Milliseconds(), -1), 10)
	return c
}

// run creates the wanted topics as soon as Kafka is there, again when somebody
// deletes one, and describes topics once they are seen.
func (t *topics) run(ctx context.Context) {
	tick := time.NewTicker(checkInterval)
	defer tick.Stop()
	var told []string
	for {
		var missing []string
		for _, name := range t.wanted() {
			if info, ok := t.prod.Topic(name); ok && info.Missing {
				missing = append(missing, name)
			}
		}
		if t.opts.Create {
			t.createAll(ctx, missing)
		} else if !slices.Equal(missing, told) {
			told = missing
			t.log.Warn("topics are missing and creating them is switched off; create them, or their events go to the overflow topic",
				zap.Strings("topics", missing), zap.String("overflow", t.opts.Overflow))
		}
		t.describe(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-t.firstAnswer(ctx):
		}
	}
}

// firstAnswer is ready when Kafka answers for the first time, and nil after.
func (t *topics) firstAnswer(ctx context.Context) <-chan struct{} {
	if t.prod.Topics() != nil || ctx.Err() != nil {
		return nil
	}
	return t.prod.Changed()
}

func (t *topics) createAll(ctx context.Context, names []string) {
	for _, name := range names {
		if err := t.create(ctx, name, ""); err != nil && ctx.Err() == nil && !errors.Is(err, errNoTopic) {
			t.log.Warn("topic not created yet", zap.String("topic", name), zap.Error(err))
		}
	}
	if len(names) > 0 {
		t.prod.Refresh()
	}
}
