package idempotent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"

	kafka "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/produce"

	"sluice/publisher/wire"
)

// fault is what the model cluster does to one request or one partition of it.
type fault int

const (
	none          fault = iota
	dialRefused         // nothing sent
	lostRequest         // sent, never executed, no answer
	lostResponse        // executed, no answer
	timedOut            // appended, REQUEST_TIMED_OUT
	afterAppend         // appended, NOT_ENOUGH_REPLICAS_AFTER_APPEND
	notEnough           // not appended, NOT_ENOUGH_REPLICAS
	notLeader           // not appended, NOT_LEADER_OR_FOLLOWER
	notLeaderLate       // appended, NOT_LEADER_OR_FOLLOWER
	unknownTopic        // not appended, UNKNOWN_TOPIC_OR_PARTITION
	badTime             // not appended, INVALID_TIMESTAMP
	faults
)

// model is a cluster that keeps Kafka's rules for idempotent batches: epochs
// only rise, sequences have no gaps, the last five batches of a producer are
// remembered and answered again.
type model struct {
	mu         sync.Mutex
	cluster    string
	opened     int64 // connections
	nextID     int64
	brokers    int32
	partitions map[string]int
	leader     func(topic string, partition int32) int32
	pick       func(whole bool) fault
	maxBatch   int
	logs       map[partitionKey]*modelLog
	past       [][]modelBatch // requests that a broker may still find in a socket
	requests   int
	replay     *rand.Rand
}

type modelLog struct {
	values    []string
	producers map[int64]*modelProducer
}

type modelProducer struct {
	epoch  int16
	last   int32 // last sequence appended
	recent []stamp
	counts []int
}

func newModel(partitions map[string]int) *model {
	return &model{
		brokers: 1, partitions: partitions, logs: map[partitionKey]*modelLog{}, maxBatch: math.MaxInt,
		leader: func(string, int32) int32 { return 1 },
		pick:   func(bool) fault { return none },
	}
}

func (m *model) RoundTrip(ctx context.Context, _ net.Addr, req kafka.Request) (kafka.Response, error) {
	if d, ok := req.(interface{ Request() protocol.Message }); ok {
		req = d.Request()
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch r := req.(type) {
	case *metadata.Request:
		return m.metadata(r), nil
	case *wire.ClusterRequest:
		if m.pick(true) != none {
			return nil, io.ErrUnexpectedEOF
		}
		return &metadata.Response{ClusterID: m.cluster}, nil
	case *wire.InitProducerIDRequest:
		m.nextID++
		return &initproducerid.Response{ProducerID: 4000 + m.nextID}, nil
	case *wire.ProduceRequest:
		return m.produce(r)
	}
	return nil, fmt.Errorf("unexpected %T", req)
}

func (m *model) metadata(r *metadata.Request) *metadata.Response {
	res := &metadata.Response{ClusterID: m.cluster}
	for i := range m.brokers {
		res.Brokers = append(res.Brokers, metadata.ResponseBroker{NodeID: i + 1})
	}
	for _, name := range r.TopicNames {
		n, ok := m.partitions[name]
		t := metadata.ResponseTopic{Name: name}
		if !ok {
			t.ErrorCode = int16(kafka.UnknownTopicOrPartition)
		}
		for i := range n {
			t.Partitions = append(t.Partitions, metadata.ResponsePartition{PartitionIndex: int32(i), LeaderID: m.leader(name, int32(i))})
		}
		res.Topics = append(res.Topics, t)
	}
	return res
}

func (m *model) produce(r *wire.ProduceRequest) (protocol.Message, error) {
	m.requests++
	batches := m.read(r)
	if m.replay != nil && len(m.past) > 0 && m.replay.IntN(4) == 0 {
		// A request that was given up surfaces, as from the socket buffer of a
		// broker that had been stopped. Nobody hears the answer.
		i := m.replay.IntN(len(m.past))
		for _, b := range m.past[i] {
			_ = m.append(b)
		}
		m.past = slices.Delete(m.past, i, i+1)
	}
	f := m.pick(true)
	if f != none {
		m.opened++
	}
	switch f {
	case dialRefused:
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	case lostRequest:
		m.past = append(m.past, batches)
		return nil, io.ErrUnexpectedEOF
	}
	res := &produce.Response{}
	for _, b := range slices.Backward(batches) { // another order than asked

		var code kafka.Error
		switch pf := m.pick(false); pf {
		case notEnough:
			code = kafka.NotEnoughReplicas
		case notLeader:
			code = kafka.NotLeaderForPartition
		case unknownTopic:
			code = kafka.UnknownTopicOrPartition
		case badTime:
			code = kafka.InvalidTimestamp
		default:
			code = m.append(b)
			if code == 0 {
				switch pf {
				case timedOut:
					code = kafka.RequestTimedOut
				case afterAppend:
					code = kafka.NotEnoughReplicasAfterAppend
				case notLeaderLate:
					code = kafka.NotLeaderForPartition
				}
			}
		}
		res.Topics = append(res.Topics, produce.ResponseTopic{
			Topic: b.key.topic, Partitions: []produce.ResponsePartition{{Partition: b.key.id, ErrorCode: int16(code)}},
		})
	}
	if f == lostResponse {
		return nil, io.EOF
	}
	return res, nil
}

type modelBatch struct {
	key    partitionKey
	stamp  stamp
	values []string
	size   int
}

// read decodes with kafka-go's own decoder, which checks length and checksum.
func (m *model) read(r *wire.ProduceRequest) (batches []modelBatch) {
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			raw, _ := io.ReadAll(p.RecordSet.Reader)
			b, err := decodeBatch(raw)
			if err != nil {
				panic(err)
			}
			b.key, b.size = partitionKey{t.Topic, p.Partition}, len(raw)
			batches = append(batches, b)
		}
	}
	return batches
}

func (m *model) append(b modelBatch) kafka.Error {
	if len(b.values) > 1 && b.size > m.maxBatch || len(b.values[0]) > m.maxBatch {
		return kafka.MessageSizeTooLarge
	}
	l := m.logs[b.key]
	if l == nil {
		l = &modelLog{producers: map[int64]*modelProducer{}}
		m.logs[b.key] = l
	}
	pr := l.producers[b.stamp.producerID]
	if pr != nil {
		for i, s := range pr.recent {
			if s == b.stamp && pr.counts[i] == len(b.values) {
				return 0 // answered again, content unseen
			}
		}
		switch {
		case b.stamp.epoch < pr.epoch:
			return kafka.InvalidProducerEpoch
		case b.stamp.epoch > pr.epoch:
			if b.stamp.sequence != 0 {
				return kafka.OutOfOrderSequenceNumber
			}
		case b.stamp.sequence != nextSequence(pr.last, 1):
			return kafka.OutOfOrderSequenceNumber
		}
	} else {
		pr = &modelProducer{}
		l.producers[b.stamp.producerID] = pr
	}
	pr.epoch, pr.last = b.stamp.epoch, nextSequence(b.stamp.sequence, len(b.values)-1)
	pr.recent, pr.counts = append(pr.recent, b.stamp), append(pr.counts, len(b.values))
	if len(pr.recent) > 5 {
		pr.recent, pr.counts = pr.recent[1:], pr.counts[1:]
	}
	l.values = append(l.values, b.values...)
	return 0
}

// connections is for Options.Opened.
func (m *model) connections() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.opened
}

// replace puts an empty cluster in the place of this one, whose producer ids begin anew.
func (m *model) replace(cluster string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.logs)
	m.past, m.nextID, m.cluster = nil, 0, cluster
	m.opened++
}

// counts says how often each value is in any log.
func (m *model) counts() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := map[string]int{}
	for _, l := range m.logs {
		for _, v := range l.values {
			c[v]++
		}
	}
	return c
}

func start(t testing.TB, m kafka.RoundTripper, change func(*Options)) *Producer {
	t.Helper()
	opts := Options{Transport: m, Addr: kafka.TCP("model:9092")}
	if change != nil {
		change(&opts)
	}
	p, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func watch(t testing.TB, p *Producer, topics ...string) {
	t.Helper()
	p.Watch(topics...)
	for range 100 {
		changed := p.Changed()
		known := 0
		for _, name := range topics {
			if info, ok := p.Topic(name); ok && info.Partitions > 0 {
				known++
			}
		}
		if known == len(topics) {
			return
		}
		<-changed
	}
	t.Fatalf("topics %v never showed up", topics)
}

var errPending = errors.New("not settled")
