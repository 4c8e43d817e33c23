package wire

import (
	"bytes"
	"sync"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/protocol/rawproduce"
)

// override tells kafka-go's encoder which of several request types registered
// for one API a value has; kafka-go itself uses 0.
const override protocol.OverrideTypeKey = 1

// register is called by the constructors rather than at package start, so that
// importing the package changes nothing.
//
//nolint:gochecknoglobals // kafka-go's registry is one per process
var register = sync.OnceFunc(func() {
	protocol.RegisterOverride(&ProduceRequest{}, &produce.Response{}, override)
	protocol.RegisterOverride(&InitProducerIDRequest{}, &initproducerid.Response{}, override)
	protocol.RegisterOverride(&ClusterRequest{}, &metadata.Response{}, override)
})

// ProduceRequest is Kafka's Produce request (API key 0, versions 3 to 8) with
// encoded record batches, addressed to one broker whatever the client believes
// about the leaders: errors then come back per partition.
// Source: the Kafka protocol guide, "Produce API".
type ProduceRequest struct {
	TransactionalID string                    `kafka:"min=v3,max=v8,nullable"`
	Acks            int16                     `kafka:"min=v0,max=v8"`
	Timeout         int32                     `kafka:"min=v0,max=v8"`
	Topics          []rawproduce.RequestTopic `kafka:"min=v0,max=v8"`

	broker int32
}

// NewProduceRequest returns an empty request for the broker with acks=all.
// timeout is how long the broker may wait for the other replicas.
func NewProduceRequest(broker int32, timeout time.Duration) *ProduceRequest {
	register()
	return &ProduceRequest{Acks: -1, Timeout: int32(timeout.Milliseconds()), broker: broker}
}

// Add appends one encoded record batch. A partition must appear only once in
// a request: brokers refuse more than one batch per partition.
func (r *ProduceRequest) Add(topic string, partition int32, batch []byte) {
	p := rawproduce.RequestPartition{
		Partition: partition,
		RecordSet: protocol.RawRecordSet{Reader: bytes.NewReader(batch)},
	}
	if n := len(r.Topics); n > 0 && r.Topics[n-1].Topic == topic {
		r.Topics[n-1].Partitions = append(r.Topics[n-1].Partitions, p)
		return
	}
	for i := range r.Topics {
		if r.Topics[i].Topic == topic {
			r.Topics[i].Partitions = append(r.Topics[i].Partitions, p)
			return
		}
	}
	r.Topics = append(r.Topics, rawproduce.RequestTopic{Topic: topic, Partitions: []rawproduce.RequestPartition{p}})
}

// ApiKey is part of kafka-go's message interface.
func (r *ProduceRequest) ApiKey() protocol.ApiKey { return protocol.Produce }

// TypeKey is part of kafka-go's message interface.
func (r *ProduceRequest) TypeKey() protocol.OverrideTypeKey { return override }

// Broker is part of kafka-go's message interface.
func (r *ProduceRequest) Broker(protocol.Cluster) (protocol.Broker, error) {
	return protocol.Broker{ID: r.broker}, nil
}

// InitProducerIDRequest is Kafka's InitProducerId request (API key 22) for a
// producer without transactions. Any broker answers it; kafka-go's own type
// asks the transaction coordinator first, which needs rights and a topic that
// an idempotent producer doesn't.
// Source: the Kafka protocol guide, "InitProducerId API", and KIP-98.
type InitProducerIDRequest struct {
	_ struct{} `kafka:"min=v2,max=v4,tag"`

	TransactionalID      string `kafka:"min=v0,max=v4,nullable"`
	TransactionTimeoutMs int32  `kafka:"min=v0,max=v4"`
	ProducerID           int64  `kafka:"min=v3,max=v4"`
	ProducerEpoch        int16  `kafka:"min=v3,max=v4"`
}

// NewInitProducerIDRequest asks for a fresh producer id.
func NewInitProducerIDRequest() *InitProducerIDRequest {
	register()
	return &InitProducerIDRequest{TransactionTimeoutMs: 60000, ProducerID: -1, ProducerEpoch: -1}
}

// ApiKey is part of kafka-go's message interface.
func (r *InitProducerIDRequest) ApiKey() protocol.ApiKey { return protocol.InitProducerId }

// TypeKey is part of kafka-go's message interface.
func (r *InitProducerIDRequest) TypeKey() protocol.OverrideTypeKey { return override }

// ClusterRequest is Kafka's Metadata request (API key 3) without topics, addressed to one broker: the answer, a
// [metadata.Response], tells which cluster that broker is of.
// Source: the Kafka protocol guide, "Metadata API".
type ClusterRequest struct {
	TopicNames                         []string `kafka:"min=v0,max=v8,nullable"`
	AllowAutoTopicCreation             bool     `kafka:"min=v4,max=v8"`
	IncludeClusterAuthorizedOperations bool     `kafka:"min=v8,max=v8"`
	IncludeTopicAuthorizedOperations   bool     `kafka:"min=v8,max=v8"`

	broker int32
}

// NewClusterRequest returns a request for the broker.
func NewClusterRequest(broker int32) *ClusterRequest {
	register()
	return &ClusterRequest{TopicNames: []string{}, broker: broker} // null would mean all topics
}

// ApiKey is part of kafka-go's message interface.
func (r *ClusterRequest) ApiKey() protocol.ApiKey { return protocol.Metadata }

// TypeKey is part of kafka-go's message interface.
func (r *ClusterRequest) TypeKey() protocol.OverrideTypeKey { return override }

// Broker is part of kafka-go's message interface.
func (r *ClusterRequest) Broker(protocol.Cluster) (protocol.Broker, error) {
	return protocol.Broker{ID: r.broker}, nil
}
