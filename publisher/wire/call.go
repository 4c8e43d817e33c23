package wire

import (
	"context"
	"errors"
	"fmt"
	"net"

	kafka "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// Call sends req through rt and returns the broker's response. kafka-go's
// metadata cache is neither asked nor updated, so a metadata request is
// answered by a broker and a CreateTopics request returns at once.
//
// An error leaves open whether the broker has executed the request, unless
// [NotSent] reports true for it.
func Call[R protocol.Message](ctx context.Context, rt kafka.RoundTripper, addr net.Addr, req protocol.Message) (R, error) {
	var none R
	res, err := rt.RoundTrip(ctx, addr, direct{req})
	if err != nil {
		return none, err
	}
	if w, ok := res.(reply); ok {
		res = w.Message
	}
	r, ok := res.(R)
	if !ok {
		return none, fmt.Errorf("%v answered with a %T", req.ApiKey(), res)
	}
	return r, nil
}

// NotSent reports whether err proves that no byte of the request left this
// process: the connection could not be opened, or the broker is not among
// those the cluster lists. Everything else is ambiguous.
func NotSent(err error) bool {
	if errors.Is(err, kafka.BrokerNotAvailable) {
		return true
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Op == "dial"
	}
	var dns *net.DNSError
	return errors.As(err, &dns)
}

// direct makes kafka-go treat a request as one that it has to split over
// brokers: the only path through kafka.Transport that neither answers from
// the cache nor post-processes the response.
type direct struct{ protocol.Message }

// Request returns the request inside, for test doubles of the transport.
func (d direct) Request() protocol.Message { return d.Message }

func (d direct) Split(protocol.Cluster) ([]protocol.Message, protocol.Merger, error) {
	return []protocol.Message{d.Message}, d, nil
}

func (d direct) Merge(_ []protocol.Message, results []any) (protocol.Message, error) {
	m, err := protocol.Result(results[0])
	if err != nil {
		return nil, err
	}
	return reply{m}, nil
}

// reply keeps the response's type from kafka-go, which would otherwise assume
// that a metadata response belongs to a request of its own type.
type reply struct{ protocol.Message }
