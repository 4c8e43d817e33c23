package group

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	kafka "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/heartbeat"
	"github.com/segmentio/kafka-go/protocol/leavegroup"

	"sluice/publisher/wire"
)

// kafka-go's own Heartbeat and LeaveGroup can't be used: it sends a heartbeat to any broker instead of the coordinator, and
// takes the throttle time in both responses for the error. Here they are sent in version 1, whose response is the throttle
// time and the error: the Kafka protocol guide, "Heartbeat API" and "LeaveGroup API".

// codedRequest is a request to the group's coordinator that is answered with an error code.
type codedRequest struct {
	group, clientID string
	request         protocol.Message
}

// codedResponse is that error code.
type codedResponse struct {
	key  protocol.ApiKey
	code kafka.Error
}

// ApiKey is part of kafka-go's message interface.
func (r *codedRequest) ApiKey() protocol.ApiKey { return r.request.ApiKey() }

// ApiKey is part of kafka-go's message interface.
func (r *codedResponse) ApiKey() protocol.ApiKey { return r.key }

// Group has the request sent to the group's coordinator.
func (r *codedRequest) Group() string { return r.group }

// Required is part of kafka-go's message interface.
func (r *codedRequest) Required(map[protocol.ApiKey]int16) bool { return true }

// RawExchange is part of kafka-go's message interface.
func (r *codedRequest) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	const version, correlation = 1, 1 // one request at a time on a connection
	if err := protocol.WriteRequest(rw, version, correlation, r.clientID, r.request); err != nil {
		return nil, err
	}
	var in [4 + 4 + 4 + 2]byte // size, correlation, throttle time, error
	if _, err := io.ReadFull(rw, in[:]); err != nil {
		return nil, err
	}
	if size := binary.BigEndian.Uint32(in[:]); size != uint32(len(in)-4) {
		return nil, fmt.Errorf("%v: the answer has %d bytes", r.ApiKey(), size)
	}
	return &codedResponse{r.ApiKey(), kafka.Error(binary.BigEndian.Uint16(in[12:]))}, nil
}

// call sends a request to the coordinator. The error may be a kafka.Error.
func (m *Member) call(ctx context.Context, request protocol.Message) error {
	res, err := wire.Call[*codedResponse](ctx, m.transport, m.client.Addr,
		&codedRequest{group: m.opts.Group, clientID: m.opts.Connect.ClientID, request: request})
	switch {
	case err != nil:
		return err
	case res.code != 0:
		return res.code
	}
	return nil
}

func (m *Member) sign(ctx context.Context, generation int, member string) error {
	return m.call(ctx, &heartbeat.Request{GroupID: m.opts.Group, GenerationID: int32(generation), MemberID: member})
}

func (m *Member) goodbye(ctx context.Context) error {
	return m.call(ctx, &leavegroup.Request{GroupID: m.opts.Group, MemberID: m.id})
}
