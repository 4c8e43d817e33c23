package group

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	kafka "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/joingroup"

	"sluice/publisher/wire"
)

// kafka-go's client can't join beside members that name no partitions of their own in their subscriptions, kafka-go's own
// consumers among them: it reads all subscriptions as of version 1. Here only what all versions begin with is read: the
// Kafka protocol's ConsumerProtocolSubscription.

// joined is what the coordinator answers to a member that has joined.
type joined struct {
	generation int
	protocol   string
	leads      bool         // it divides the partitions
	members    []subscriber // all, if it leads
}

// subscriber is a member and the topics that it wants.
type subscriber struct {
	id     string
	topics []string
}

// errSubscription says that a member of another program can't be understood.
var errSubscription = errors.New("malformed subscription of another member")

// subscription is one of version 0.
func subscription(topics []string) []byte {
	b := binary.BigEndian.AppendUint16(nil, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(topics)))
	for _, topic := range topics {
		b = binary.BigEndian.AppendUint16(b, uint16(len(topic)))
		b = append(b, topic...)
	}
	return binary.BigEndian.AppendUint32(b, 0) // no data of its own
}

// parseSubscription reads the topics of a subscription of any version.
func parseSubscription(b []byte) (topics []string, err error) {
	if len(b) < 6 {
		return nil, errSubscription
	}
	n, b := int32(binary.BigEndian.Uint32(b[2:])), b[6:]
	for range n {
		if len(b) < 2 {
			return nil, errSubscription
		}
		size := int(binary.BigEndian.Uint16(b))
		if b = b[2:]; size > len(b) {
			return nil, errSubscription
		}
		topics, b = append(topics, string(b[:size])), b[size:]
	}
	return topics, nil
}

// ask joins. The coordinator gives a new member an id first, with which it has to come again.
func (m *Member) ask(ctx context.Context, topics []string) (*joined, error) {
	for {
		subscribed := subscription(topics)
		res, err := wire.Call[*joingroup.Response](ctx, m.transport, m.client.Addr, &joingroup.Request{
			GroupID: m.opts.Group, MemberID: m.id, ProtocolType: "consumer",
			SessionTimeoutMS: int32(m.opts.Session.Milliseconds()), RebalanceTimeoutMS: int32(m.opts.rebalance().Milliseconds()),
			// Whoever leads the group divides as it likes; the names only have to be common to all members, of which some may be
			// other programs'.
			Protocols: []joingroup.RequestProtocol{{Name: "roundrobin", Metadata: subscribed}, {Name: "range", Metadata: subscribed}},
		})
		if err != nil {
			return nil, trouble{err}
		}
		switch code := kafka.Error(res.ErrorCode); code {
		case 0:
		case kafka.MemberIDRequired:
			m.id = res.MemberID
			continue
		default:
			return nil, passing(code)
		}
		m.id = res.MemberID
		j := &joined{generation: int(res.GenerationID), protocol: res.ProtocolName, leads: res.LeaderID == res.MemberID}
		for _, x := range res.Members {
			topics, err := parseSubscription(x.Metadata)
			if err != nil {
				return nil, fmt.Errorf("%w: %s", err, x.MemberID)
			}
			j.members = append(j.members, subscriber{x.MemberID, topics})
		}
		return j, nil
	}
}
