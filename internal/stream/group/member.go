package group

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync/atomic"
	"time"

	kafka "github.com/segmentio/kafka-go"
	"go.uber.org/zap"

	"sluice/internal/stream"
	"sluice/publisher/connect"
)

// Member is a member of a consumer group. Run is called once.
type Member struct {
	opts      Options
	log       *zap.Logger
	transport *connect.Transport
	client    *kafka.Client

	// The rest belongs to the goroutine of Run, but for the counts.
	id       string
	first    map[string]bool // topics that existed when Run began; nil before
	waiting  bool            // the log was told that there are no topics
	bad      time.Time       // since when it can't take part; zero: it can
	troubled bool            // the log was told that
	counts   struct{ read, wanted, bytes, rebalances atomic.Int64 }
	flow     atomic.Pointer[stream.Flow] // that of now
}

// Counts are what has gone through a member. See [stream.Counts].
type Counts struct {
	stream.Counts
	Rebalances int64 // how often it was given partitions, or none
}

// New checks the options and connects to nothing.
func New(o Options) (*Member, error) {
	o, err := o.validate()
	if err != nil {
		return nil, err
	}
	return &Member{opts: o, log: o.Log}, nil
}

// Counts may be called while the member runs. What was delivered again counts again.
func (m *Member) Counts() Counts {
	c := Counts{Rebalances: m.counts.rebalances.Load()}
	c.Read, c.Wanted, c.Bytes = m.counts.read.Load(), m.counts.wanted.Load(), m.counts.bytes.Load()
	if f := m.flow.Load(); f != nil {
		now := f.Counts()
		c.Read, c.Wanted, c.Bytes = c.Read+now.Read, c.Wanted+now.Wanted, c.Bytes+now.Bytes
	}
	return c
}

// Run reads until ctx ends or Options say so (nil), the sink fails, or brokers refuse for good. Brokers that don't answer
// are waited for. It leaves the group at its end, so that others take over at once.
func (m *Member) Run(ctx context.Context) error {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var err error
	if m.transport, err = newTransport(life, m.opts.Connect); err != nil {
		return err
	}
	defer m.transport.CloseIdleConnections()
	m.client = &kafka.Client{Addr: kafka.TCP(m.opts.Brokers...), Transport: m.transport}
	defer m.leave(ctx)
	for ctx.Err() == nil {
		began := time.Now()
		err := m.once(ctx)
		switch {
		case errors.Is(err, errEnough):
			return nil
		case ctx.Err() != nil, err == nil:
			continue
		case isOneOf(err, kafka.RebalanceInProgress), expelled(err):
			if isOneOf(err, kafka.UnknownMemberId, kafka.FencedInstanceID) {
				m.id = ""
			}
			continue
		case final(err):
			return m.explain(err)
		case !transient(err):
			return err
		}
		if m.bad.IsZero() {
			m.bad = began
		}
		if !m.troubled && time.Since(m.bad) >= patience { // a coordinator that moves, or is made, takes a moment
			m.troubled = true
			m.log.Warn("can't take part in the group; trying on", zap.Error(err))
		}
		wait(ctx, retryGap)
	}
	return nil
}

// trouble is what passes by itself.
type trouble struct{ error }

func (t trouble) Unwrap() error { return t.error }

func transient(err error) bool {
	_, is := errors.AsType[trouble](err)
	return is || errors.Is(err, stream.ErrUnreachable)
}

// newTransport makes connections that end with life, whatever they wait for.
func newTransport(life context.Context, o connect.Options) (*connect.Transport, error) {
	t, err := connect.NewTransport(life, o)
	if err != nil {
		return nil, err
	}
	dial := t.Dial
	t.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &bounded{conn, context.AfterFunc(life, func() { _ = conn.Close() })}, nil
	}
	return t, nil
}

// bounded is a connection that is closed from elsewhere, unless it has been closed before.
type bounded struct {
	net.Conn
	stop func() bool
}

// Close closes the connection.
func (b *bounded) Close() error {
	b.stop()
	return b.Conn.Close()
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// once joins the group and reads until the next rebalance.
func (m *Member) once(ctx context.Context) error {
	topics, err := m.topics(ctx)
	if err != nil {
		return err
	}
	if m.first == nil {
		m.first = make(map[string]bool)
		for topic := range topics {
			m.first[topic] = true
		}
	}
	if len(topics) == 0 {
		if m.opts.CaughtUp {
			return errEnough
		}
		if !m.waiting {
			m.waiting = true
			m.log.Info("none of the topics exists yet; waiting")
		}
		wait(ctx, lookEvery)
		return nil
	}
	m.waiting = false
	g, err := m.join(ctx, topics)
	if err != nil {
		return err
	}
	if m.troubled {
		m.log.Info("Kafka answers again")
	}
	m.bad, m.troubled = time.Time{}, false
	m.counts.rebalances.Add(1)
	m.log.Info(g.text())
	return g.run(ctx)
}

// topics are the chosen ones that exist, and how many partitions they have.
func (m *Member) topics(ctx context.Context) (map[string]int, error) {
	names := m.opts.Topics
	if m.opts.Match != nil {
		names = nil
	}
	all, err := m.partitions(ctx, names)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(all, func(topic string, _ int) bool {
		return !slices.Contains(m.opts.Topics, topic) && (m.opts.Match == nil || !m.opts.Match(topic))
	})
	return all, nil
}

// leave tells the group that the member is gone. Otherwise its partitions would lie idle for a session.
func (m *Member) leave(ctx context.Context) {
	if m.id == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	if err := m.goodbye(ctx); err != nil && !expelled(err) {
		m.log.Warn("can't leave the group; its partitions are taken over when the session ends",
			zap.Duration("session", m.opts.Session), zap.Error(err))
	}
	m.id = ""
}

// text says what a member has been given.
func (g *generation) text() string {
	all := 0
	for _, n := range g.topics {
		all += n
	}
	return fmt.Sprintf("group %s, generation %d: reading %d of %d partitions", g.m.opts.Group, g.id, len(g.begin), all)
}
