package stream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	kafka "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
	"github.com/segmentio/kafka-go/protocol/metadata"

	"sluice/publisher/connect"
	"sluice/publisher/wire"
)

// ErrUnreachable is returned when brokers don't answer, or not in a way that lets the reading go on.
var ErrUnreachable = errors.New("Kafka doesn't answer")

// cluster makes the requests; it keeps no picture of the cluster.
type cluster struct {
	transport *connect.Transport
	addr      net.Addr
	brokers   []string
	clientID  string
	end       context.CancelFunc

	mu    sync.Mutex // guards conns
	conns map[net.Conn]struct{}
}

// dialCluster opens no connection yet. The errors name the file or setting that is wrong.
func dialCluster(ctx context.Context, brokers []string, o connect.Options) (*cluster, error) {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	transport, err := connect.NewTransport(life, o)
	if err != nil {
		end()
		return nil, err
	}
	c := &cluster{
		transport: transport, addr: kafka.TCP(brokers...), brokers: brokers, clientID: o.ClientID,
		end: end, conns: make(map[net.Conn]struct{}),
	}
	dial := transport.Dial
	transport.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return c.track(life, conn)
	}
	return c, nil
}

// track remembers a connection, so that close ends it although a broker may still hold back an answer on it.
func (c *cluster) track(life context.Context, conn net.Conn) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := life.Err(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	c.conns[conn] = struct{}{}
	return &tracked{Conn: conn, cluster: c}, nil
}

type tracked struct {
	net.Conn
	cluster *cluster
}

// Close closes and forgets the connection.
func (t *tracked) Close() error {
	t.cluster.mu.Lock()
	delete(t.cluster.conns, t.Conn)
	t.cluster.mu.Unlock()
	return t.Conn.Close()
}

// close ends all connections and what is under way on them.
func (c *cluster) close() {
	c.transport.CloseIdleConnections()
	c.mu.Lock()
	c.end()
	for conn := range c.conns {
		_ = conn.Close() // nothing is lost with it
	}
	c.mu.Unlock()
}

// refused is a broker's final word on a topic or on this client.
func refused(err error) bool {
	for _, code := range []kafka.Error{
		kafka.TopicAuthorizationFailed, kafka.ClusterAuthorizationFailed, kafka.SASLAuthenticationFailed,
		kafka.UnsupportedSASLMechanism, kafka.InvalidTopic,
	} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

// topicsOf asks for topics by name; nil asks for all. A topic that is missing is not in the answer.
func (c *cluster) topicsOf(ctx context.Context, names []string) ([]metadata.ResponseTopic, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	res, err := wire.Call[*metadata.Response](ctx, c.transport, c.addr, &metadata.Request{TopicNames: names})
	if err != nil {
		return nil, fmt.Errorf("asking for topics: %w", err)
	}
	var found []metadata.ResponseTopic
	for _, t := range res.Topics {
		code := kafka.Error(t.ErrorCode)
		switch code {
		case kafka.UnknownTopicOrPartition:
		case 0, kafka.LeaderNotAvailable:
			found = append(found, t)
		default:
			return nil, fmt.Errorf("asking for topic %s: %w", t.Name, code)
		}
	}
	return found, nil
}

// insist calls ask until it succeeds, patience is over or the answer is final.
func (c *cluster) insist(ctx context.Context, patience time.Duration, ask func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var err error
	for {
		// The deadline's own error says less than the one before it.
		if now := ask(limited); now == nil {
			return nil
		} else if err == nil || limited.Err() == nil {
			err = now
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if refused(err) {
			return fmt.Errorf("Kafka at %s: %w", strings.Join(c.brokers, ", "), err)
		}
		if limited.Err() != nil || !wait(limited, 200*time.Millisecond) {
			break
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return c.unreachable(err)
}

func (c *cluster) unreachable(err error) error {
	return fmt.Errorf("%w at %s: %w", ErrUnreachable, strings.Join(c.brokers, ", "), err)
}

// wait reports false if ctx ends before d is over.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Topics names all topics of the cluster that this client may see, without Kafka's own, sorted. It tries for five
// seconds; errors wrap [ErrUnreachable], or are a broker's refusal.
func Topics(ctx context.Context, brokers []string, o connect.Options) ([]string, error) {
	c, err := dialCluster(ctx, brokers, o)
	if err != nil {
		return nil, err
	}
	defer c.close()
	var names []string
	err = c.insist(ctx, 5*time.Second, func(ctx context.Context) error {
		found, err := c.topicsOf(ctx, nil)
		for _, t := range found {
			if !t.IsInternal {
				names = append(names, t.Name)
			}
		}
		return err
	})
	slices.Sort(names)
	return names, err
}

// Times that ListOffsets takes for places: the Kafka protocol guide, "ListOffsets API".
const (
	latest   = -1
	earliest = -2
)

// listKey tells kafka-go's encoder listRequest from its own type.
const listKey protocol.OverrideTypeKey = 2

//nolint:gochecknoglobals // kafka-go's registry is one per process
var registerList = sync.OnceFunc(func() {
	protocol.RegisterOverride(&listRequest{}, &listoffsets.Response{}, listKey)
})

// listRequest is Kafka's ListOffsets request to one broker, whatever kafka-go believes about leaders.
type listRequest struct {
	ReplicaID      int32                      `kafka:"min=v1,max=v5"`
	IsolationLevel int8                       `kafka:"min=v2,max=v5"`
	Topics         []listoffsets.RequestTopic `kafka:"min=v1,max=v5"`

	broker int32
}

// ApiKey is part of kafka-go's message interface.
func (r *listRequest) ApiKey() protocol.ApiKey { return protocol.ListOffsets }

// TypeKey is part of kafka-go's message interface.
func (r *listRequest) TypeKey() protocol.OverrideTypeKey { return listKey }

// Broker is part of kafka-go's message interface.
func (r *listRequest) Broker(protocol.Cluster) (protocol.Broker, error) {
	return protocol.Broker{ID: r.broker}, nil
}

// offset is where a time is in a partition; at is -1 when no record is as late.
type offset struct {
	at   int64
	time time.Time // of the record there; zero for earliest and latest
	err  error     // a kafka.Error
}

// offsets asks a broker for the first offsets of a time in milliseconds, or for earliest or latest. Latest is where
// records that are committed end.
func (c *cluster) offsets(ctx context.Context, broker int32, ids []partitionID, when int64) (map[partitionID]offset, error) {
	registerList()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req := &listRequest{ReplicaID: -1, IsolationLevel: readCommitted, broker: broker}
	for _, id := range ids {
		req.Topics = append(req.Topics, listoffsets.RequestTopic{Topic: id.topic, Partitions: []listoffsets.RequestPartition{
			{Partition: id.partition, CurrentLeaderEpoch: -1, Timestamp: when},
		}})
	}
	res, err := wire.Call[*listoffsets.Response](ctx, c.transport, c.addr, req)
	if err != nil {
		return nil, fmt.Errorf("asking for offsets: %w", err)
	}
	found := make(map[partitionID]offset, len(ids))
	for _, t := range res.Topics {
		for _, p := range t.Partitions {
			o := offset{at: p.Offset}
			if p.Timestamp > 0 {
				o.time = time.UnixMilli(p.Timestamp).UTC()
			}
			if p.ErrorCode != 0 {
				o.err = kafka.Error(p.ErrorCode)
			}
			found[partitionID{t.Topic, p.Partition}] = o
		}
	}
	return found, nil
}
