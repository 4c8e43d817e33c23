// Package groups looks at the consumer groups of a cluster and sets the offsets of those without members.
//
// It joins no group, deletes none, and reads no records: internal/stream does that. It knows nothing of event types.
// Every request goes to the broker that has to answer it, past kafka-go's picture of the cluster, and is bounded in
// time; what a coordinator that moves or starts answers is asked again.
package groups

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	kafka "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/findcoordinator"
	"github.com/segmentio/kafka-go/protocol/metadata"

	"sluice/internal/stream"
	"sluice/publisher/connect"
	"sluice/publisher/wire"
)

const (
	// requestTimeout bounds one request.
	requestTimeout = 3 * time.Second
	// patience is how long a request is tried again; a coordinator has twice as long: the first question ever about a
	// group has brokers create a topic.
	patience = 5 * time.Second
	retryGap = 200 * time.Millisecond
)

// Admin asks brokers about groups. It is safe for concurrent use.
type Admin struct {
	transport *connect.Transport
	addr      net.Addr
	brokers   []string
	clientID  string
	end       context.CancelFunc
	patience  time.Duration

	mu           sync.Mutex // guards coordinators
	coordinators map[string]int32
}

// New opens no connection yet. The errors name the file or setting that is wrong.
func New(ctx context.Context, brokers []string, o connect.Options) (*Admin, error) {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	transport, err := connect.NewTransport(life, o)
	if err != nil {
		end()
		return nil, err
	}
	return &Admin{
		transport: transport, addr: kafka.TCP(brokers...), brokers: brokers, clientID: o.ClientID, end: end,
		patience: patience, coordinators: make(map[string]int32),
	}, nil
}

// Close ends the connections.
func (a *Admin) Close() {
	a.transport.CloseIdleConnections()
	a.end()
}

// Cluster is the cluster's id, "" if it doesn't tell.
func (a *Admin) Cluster(ctx context.Context) (id string, err error) {
	err = a.insist(ctx, a.patience, func(ctx context.Context) error {
		res, err := a.metadata(ctx)
		if err == nil {
			id = res.ClusterID
		}
		return err
	})
	return id, err
}

// metadata asks for the brokers, and for no topic.
func (a *Admin) metadata(ctx context.Context) (*metadata.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	res, err := wire.Call[*metadata.Response](ctx, a.transport, a.addr, &metadata.Request{TopicNames: []string{}})
	if err != nil {
		return nil, fmt.Errorf("asking for the brokers: %w", err)
	}
	return res, nil
}

// insist calls ask until it succeeds, gets a final answer, or patience is over.
func (a *Admin) insist(ctx context.Context, patience time.Duration, ask func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var last error
	for {
		err := ask(limited)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !mayPass(err):
			return err
		}
		if last == nil || limited.Err() == nil { // the deadline's own error says less than the one before it
			last = err
		}
		timer := time.NewTimer(retryGap)
		select {
		case <-timer.C:
		case <-limited.Done():
			timer.Stop()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if limited.Err() != nil {
			return fmt.Errorf("%w at %s: %w", stream.ErrUnreachable, strings.Join(a.brokers, ", "), last)
		}
	}
}

// mayPass reports whether it may help to ask again: what isn't a broker's word, and what brokers say while they start
// or coordinators move.
func mayPass(err error) bool {
	code, said := errors.AsType[kafka.Error](err)
	if !said {
		return true
	}
	switch code {
	case kafka.GroupLoadInProgress, kafka.GroupCoordinatorNotAvailable, kafka.NotCoordinatorForGroup, kafka.RequestTimedOut,
		kafka.BrokerNotAvailable, kafka.NetworkException, kafka.LeaderNotAvailable:
		return true
	}
	return false
}

// atCoordinator calls ask with the broker that coordinates the group until that answers.
func (a *Admin) atCoordinator(ctx context.Context, group string, ask func(ctx context.Context, broker int32) error) error {
	return a.insist(ctx, 2*a.patience, func(ctx context.Context) error {
		broker, err := a.coordinator(ctx, group)
		if err != nil {
			return err
		}
		if err = ask(ctx, broker); err != nil && mayPass(err) {
			a.mu.Lock()
			delete(a.coordinators, group)
			a.mu.Unlock()
		}
		return err
	})
}

func (a *Admin) coordinator(ctx context.Context, group string) (int32, error) {
	a.mu.Lock()
	broker, known := a.coordinators[group]
	a.mu.Unlock()
	if known {
		return broker, nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	res, err := wire.Call[*findcoordinator.Response](ctx, a.transport, a.addr, &findcoordinator.Request{Key: group})
	if err == nil && res.ErrorCode != 0 {
		err = kafka.Error(res.ErrorCode)
	}
	if err != nil {
		return 0, fmt.Errorf("asking who coordinates group %s: %w", group, rights(err, "Describe on the group"))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.coordinators[group] = res.NodeID
	return res.NodeID, nil
}

// rights says which rights a login has to have that was refused something.
func rights(err error, needed string) error {
	for _, code := range []kafka.Error{kafka.GroupAuthorizationFailed, kafka.TopicAuthorizationFailed, kafka.ClusterAuthorizationFailed} {
		if errors.Is(err, code) {
			return fmt.Errorf("%w; this login needs the right to %s", err, needed)
		}
	}
	return err
}

// call has one broker answer a request.
func call[R protocol.Message](ctx context.Context, a *Admin, broker int32, req protocol.Message) (R, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return wire.Call[R](ctx, a.transport, a.addr, &directed{Message: req, broker: broker, clientID: a.clientID})
}

// directed is a request to one broker, whatever kafka-go believes about coordinators.
type directed struct {
	protocol.Message
	broker   int32
	clientID string
	version  int16
}

// Broker is part of kafka-go's message interface.
func (d *directed) Broker(protocol.Cluster) (protocol.Broker, error) {
	return protocol.Broker{ID: d.broker}, nil
}

// Required is part of kafka-go's message interface.
func (d *directed) Required(versions map[protocol.ApiKey]int16) bool {
	d.version = versions[d.ApiKey()]
	return true
}

// RawExchange is part of kafka-go's message interface.
func (d *directed) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	const correlation = 1 // one request at a time on a connection
	return protocol.RoundTrip(rw, d.version, correlation, d.clientID, d.Message)
}
