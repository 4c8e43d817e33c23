package groups

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	kafka "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/publisher/wire"
)

// consumerDescribe is the API key of ConsumerGroupDescribe, which describes groups of the protocol of KIP-848. kafka-go
// doesn't know it.
const consumerDescribe protocol.ApiKey = 69

// maxDescription is more than the description of any group takes.
const maxDescription = 64 << 20

// errDescription says that what came is no description of a group.
var errDescription = errors.New("malformed description of a group")

// describeConsumer describes a group of the protocol of KIP-848, as "Dead" if there is no such group or the broker
// doesn't know that protocol.
func (a *Admin) describeConsumer(ctx context.Context, broker int32, name string) (*Group, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	res, err := wire.Call[*consumerDescribed](ctx, a.transport, a.addr, &describeConsumer{name: name, broker: broker, clientID: a.clientID})
	if err == nil && res.group.ErrorCode != 0 {
		err = kafka.Error(res.group.ErrorCode)
	}
	switch {
	case errors.Is(err, kafka.GroupIdNotFound):
		return &Group{Name: name, State: dead}, nil
	case errors.Is(err, kafka.TopicAuthorizationFailed):
		return &Group{Name: name, State: Unknown, Why: "this login needs the right to Describe on all topics that it reads"}, nil
	case err != nil:
		return nil, fmt.Errorf("describing group %s: %w", name, rights(err, "Describe on the group"))
	}
	g := &Group{Name: name, State: res.group.State}
	for i := range res.group.Members {
		m := &res.group.Members[i]
		member := Member{ID: m.MemberID, ClientID: m.ClientID, Host: hostOf(m.ClientHost)}
		for _, t := range m.Assignment.TopicPartitions {
			member.add(t.Topic, t.Partitions)
		}
		g.Members = append(g.Members, member)
	}
	return g, nil
}

// describeConsumer is Kafka's ConsumerGroupDescribe request, version 0, for one group.
type describeConsumer struct {
	name     string
	broker   int32
	clientID string
	known    bool
}

// consumerDescribed is the response.
type consumerDescribed struct {
	group kmsg.ConsumerGroupDescribeResponseGroup
}

// ApiKey is part of kafka-go's message interface.
func (*consumerDescribed) ApiKey() protocol.ApiKey { return consumerDescribe }

// ApiKey is part of kafka-go's message interface.
func (*describeConsumer) ApiKey() protocol.ApiKey { return consumerDescribe }

// Broker is part of kafka-go's message interface.
func (d *describeConsumer) Broker(protocol.Cluster) (protocol.Broker, error) {
	return protocol.Broker{ID: d.broker}, nil
}

// Required is part of kafka-go's message interface.
func (d *describeConsumer) Required(versions map[protocol.ApiKey]int16) bool {
	_, d.known = versions[consumerDescribe]
	return true
}

// RawExchange is part of kafka-go's message interface.
func (d *describeConsumer) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	out := &consumerDescribed{}
	if !d.known { // such a broker has no groups of this kind
		out.group.ErrorCode = int16(kafka.GroupIdNotFound)
		return out, nil
	}
	const correlation = 1 // one request at a time on a connection
	req := kmsg.NewPtrConsumerGroupDescribeRequest()
	req.Groups = []string{d.name}
	if _, err := rw.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID(d.clientID)).AppendRequest(nil, req, correlation)); err != nil {
		return nil, err
	}
	// Read exactly what belongs to the response: nothing may be left behind in a buffer.
	var head [4]byte
	if _, err := io.ReadFull(rw, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size < 5 || size > maxDescription {
		return nil, fmt.Errorf("%w: %d bytes long", errDescription, size)
	}
	answer := make([]byte, size)
	if _, err := io.ReadFull(rw, answer); err != nil {
		return nil, err
	}
	// Four bytes are the correlation id; brokers put no tagged fields behind it, of which the fifth is the number.
	if answer[4] != 0 {
		return nil, fmt.Errorf("%w: tagged fields in its header", errDescription)
	}
	res := kmsg.NewPtrConsumerGroupDescribeResponse()
	if err := res.ReadFrom(answer[5:]); err != nil {
		return nil, fmt.Errorf("%w: %w", errDescription, err)
	}
	if len(res.Groups) != 1 {
		return nil, fmt.Errorf("%w: of %d groups", errDescription, len(res.Groups))
	}
	out.group = res.Groups[0]
	return out, nil
}
