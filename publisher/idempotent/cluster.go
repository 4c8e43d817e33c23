package idempotent

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	kafka "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"go.uber.org/zap"

	"sluice/publisher/wire"
)

const (
	minRefreshGap   = 50 * time.Millisecond
	troubleInterval = 250 * time.Millisecond
)

var errNotConnected = errors.New("not connected to Kafka yet")

// Topic is what brokers last said of a watched topic.
type Topic struct {
	Partitions int   // 0 while unknown
	Missing    bool  // brokers know no such topic
	Err        error // why nothing is known, for example a lack of rights
}

// State tells whether Kafka answers.
type State struct {
	Up    bool
	Since time.Time // of the last change of Up
	Err   error     // of the last failed attempt, nil while Up
}

// view is an immutable picture for readers that must not wait.
type view struct {
	topics map[string]Topic
	since  time.Time
	err    error
}

// Topic returns what is known of a watched topic; ok is false until brokers
// have been asked.
func (p *Producer) Topic(name string) (t Topic, ok bool) {
	t, ok = p.view.Load().topics[name]
	return t, ok
}

// State tells whether Kafka answers metadata requests.
func (p *Producer) State() State {
	v := p.view.Load()
	return State{Up: v.err == nil, Since: v.since, Err: v.err}
}

// Cluster is the id of the cluster that the producer writes to, "" until a broker has told it.
func (p *Producer) Cluster() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cluster
}

// Watch adds topics to those whose leaders are followed.
func (p *Producer) Watch(topics ...string) {
	p.mu.Lock()
	added := false
	for _, t := range topics {
		added = added || !p.watched[t]
		p.watched[t] = true
	}
	p.mu.Unlock()
	if added {
		p.Refresh()
	}
}

// Refresh has leaders and partition counts asked for soon, without waiting.
func (p *Producer) Refresh() {
	select {
	case p.refresh <- struct{}{}:
	default:
	}
}

// Changed returns a channel that is closed when brokers have next been asked.
func (p *Producer) Changed() <-chan struct{} { return *p.changed.Load() }

// control asks for metadata and, when needed, for a producer id.
func (p *Producer) control(ctx context.Context) {
	for ctx.Err() == nil {
		err := p.update(ctx)
		if err == nil {
			err = p.initialise(ctx)
		}
		wait := p.opts.MetadataInterval
		if err != nil || p.troubled() {
			wait = min(wait, troubleInterval)
		}
		sleep(ctx, minRefreshGap)
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-p.refresh:
		case <-t.C:
		}
		t.Stop()
	}
}

// troubled reports whether records wait for a leader or a producer id.
func (p *Producer) troubled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pt := range p.partitions {
		if pt.hasWork() && (pt.leader < 0 || pt.failures > 0 || pt.producerID < 0) {
			return true
		}
	}
	return false
}

func (p *Producer) update(ctx context.Context) error {
	p.mu.Lock()
	names := slices.Sorted(maps.Keys(p.watched))
	p.mu.Unlock()
	if names == nil {
		names = []string{} // null would mean all topics
	}
	cctx, cancel := context.WithTimeout(ctx, p.opts.RequestTimeout+time.Second/2)
	defer cancel()
	res, err := wire.Call[*metadata.Response](cctx, p.opts.Transport, p.opts.Addr, &metadata.Request{TopicNames: names})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	old := p.view.Load()
	next := &view{topics: old.topics, since: old.since, err: err}
	if err == nil {
		p.setCluster(res.ClusterID)
		next.topics = p.apply(res, time.Now())
	}
	if (err == nil) != (old.err == nil) {
		next.since = time.Now()
	}
	switch {
	case err != nil && (old.err == nil || brokerCode(err) != brokerCode(old.err)):
		// Also when the cause turns out to be another: a login that is refused, after the end of the connection before.
		p.log.Error("Kafka doesn't answer", zap.Error(err))
	case err == nil && old.err != nil:
		p.log.Info("Kafka answers", zap.Int("brokers", len(res.Brokers)))
	}
	p.metrics.setUp(err == nil)
	p.view.Store(next)
	close(*p.changed.Swap(new(make(chan struct{}))))
	return err
}

// setCluster takes note of the cluster's id. Producer ids are a cluster's own: in another one ours is nobody's, or another
// producer's, whose batches ours would be taken for. A broker that doesn't tell the id says nothing of a change.
func (p *Producer) setCluster(id string) {
	if id == "" {
		return
	}
	p.mu.Lock()
	former := p.cluster
	if p.cluster = id; former != id {
		p.producerID = -1
	}
	p.mu.Unlock()
	if former != "" && former != id {
		p.log.Error("Kafka is another cluster than before: what the former one held isn't here", zap.String("former", former), zap.String("cluster", id))
	}
}

// brokerCode is what a broker gave as the reason, 0 if none did.
func brokerCode(err error) kafka.Error {
	code, _ := errors.AsType[kafka.Error](err)
	return code
}

// apply takes over leaders and partition counts.
func (p *Producer) apply(res *metadata.Response, now time.Time) map[string]Topic {
	topics := make(map[string]Topic, len(res.Topics))
	var out settlements
	p.mu.Lock()
	for _, t := range res.Topics {
		code := kafka.Error(t.ErrorCode)
		if code != 0 {
			if code == kafka.UnknownTopicOrPartition {
				topics[t.Name] = Topic{Missing: true}
				out = append(out, p.topicMissing(t.Name, now)...)
				continue
			}
			topics[t.Name] = Topic{Err: code}
			continue
		}
		delete(p.missing, t.Name)
		topics[t.Name] = Topic{Partitions: len(t.Partitions)}
		out = append(out, p.applyTopic(t)...)
	}
	p.mu.Unlock()
	p.deliver(out)
	return topics
}

func (p *Producer) applyTopic(t metadata.ResponseTopic) (out settlements) {
	count := int32(len(t.Partitions))
	for _, tp := range t.Partitions {
		k := partitionKey{t.Name, tp.PartitionIndex}
		pt := p.partitions[k]
		if pt == nil {
			pt = &partition{topic: k.topic, id: k.id, journal: p.opts.Journal, leader: -1, producerID: -1, exhausted: -1, maxBytes: p.opts.MaxBatchBytes}
			if n, ok := p.batchBytes[t.Name]; ok {
				pt.maxBytes = min(n, pt.maxBytes)
			}
			p.partitions[k] = pt
			p.bring(pt)
		}
		p.setLeader(pt, tp.LeaderID)
	}
	out = p.orphans(func(k partitionKey) bool { return k.topic == t.Name && k.id >= count }, kafka.UnknownTopicOrPartition)
	for k, pt := range p.partitions { // a topic created anew with fewer partitions
		if k.topic == t.Name && k.id >= count && !pt.busy {
			p.setLeader(pt, -1)
			out = append(out, pt.giveUp(ErrNoPartition)...)
		}
	}
	return out
}

// topicMissing stops sending to a topic that brokers deny, and after a while
// gives up what waits for it: the log that might have held it is gone.
func (p *Producer) topicMissing(name string, now time.Time) (out settlements) {
	since, ok := p.missing[name]
	if !ok {
		p.missing[name], since = now, now
	}
	if now.Sub(since) >= p.opts.TopicGoneAfter {
		out = p.orphans(func(k partitionKey) bool { return k.topic == name }, kafka.UnknownTopicOrPartition)
	}
	for k, pt := range p.partitions {
		if k.topic != name || pt.busy {
			continue
		}
		p.setLeader(pt, -1)
		if now.Sub(since) >= p.opts.TopicGoneAfter {
			out = append(out, pt.giveUp(ErrNotSent)...)
		}
	}
	return out
}

// giveUp settles everything that waits for a partition that no longer exists.
func (p *partition) giveUp(err error) (out settlements) {
	for p.batch != nil || len(p.restored) > 0 {
		if p.batch == nil {
			p.batch, p.restored = p.restored[0], p.restored[1:]
		}
		for _, r := range p.batch.records {
			r.abandoned = false
		}
		s, _ := p.dissolve()
		out = append(out, s...)
	}
	return append(out, p.clearQueue(err)...)
}

// clearQueue empties the queue.
func (p *partition) clearQueue(err error) (out settlements) {
	for _, r := range p.queue {
		if !r.abandoned {
			r.queued = false
			out = append(out, settlement{r, err})
		}
	}
	p.queue, p.gone = nil, 0
	return out
}

// initialise gets a producer id if a partition waits for one. Brokers answer
// COORDINATOR_LOAD_IN_PROGRESS for a moment after their start.
func (p *Producer) initialise(ctx context.Context) error {
	p.mu.Lock()
	have := p.producerID >= 0
	p.mu.Unlock()
	if have {
		return nil
	}
	cctx, cancel := context.WithTimeout(ctx, p.opts.RequestTimeout+time.Second/2)
	defer cancel()
	res, err := wire.Call[*initproducerid.Response](cctx, p.opts.Transport, p.opts.Addr, wire.NewInitProducerIDRequest())
	if err == nil && res.ErrorCode != 0 {
		err = kafka.Error(res.ErrorCode)
	}
	if err != nil {
		if ctx.Err() == nil {
			p.log.Info("no producer id yet, as for a moment after a broker's start", zap.Error(err))
		}
		return err
	}
	p.mu.Lock()
	p.producerID = res.ProducerID
	for _, l := range p.lanes {
		l.poke()
	}
	p.mu.Unlock()
	p.log.Info("producer id", zap.Int64("producer_id", res.ProducerID))
	return nil
}

// Topics returns what is known of all watched topics. The map is not to be
// changed.
func (p *Producer) Topics() map[string]Topic { return p.view.Load().topics }
