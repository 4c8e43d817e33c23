package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"sluice/internal/sender"
	"sluice/internal/stream"
	"sluice/internal/stream/deadletter"
	"sluice/internal/stream/httpsink"
	"sluice/publisher"
)

// posted posts events.
type posted struct {
	options   httpsink.Options
	transport *http.Transport
	dead      *deadletter.Topic // nil: none
	deadTopic string

	mu   sync.Mutex // guards the rest
	now  *httpsink.Sink
	past httpsink.Counts
}

func (c *subscribeCmd) deadLetterTopic(chosen *topicChoice) string {
	if c.GroupDeadLetter != "" {
		return c.GroupDeadLetter
	}
	return chosen.where.DeadLetterOf(c.Group)
}

// openHTTP makes sure that there is a key to sign with, and a topic for what is given up.
func (c *subscribeCmd) openHTTP(ctx context.Context, chosen *topicChoice, log *zap.Logger) (*posted, error) {
	p := &posted{options: c.Posts.options(c.HTTP, log), transport: sender.NewTransport(c.Posts.Concurrency)}
	p.options.Transport = p.transport // connections last over rebalances
	var err error
	if _, p.options.SigningKey, err = signingKey(&c.Config, c.Posts.SignWith); err != nil {
		return nil, err
	}
	if c.Posts.Attempts == 0 {
		return p, nil
	}
	p.deadTopic = c.deadLetterTopic(chosen)
	if err := c.ensure(ctx, p.deadTopic, log); err != nil {
		return nil, err
	}
	p.dead, err = deadletter.New(deadletter.Options{
		Brokers: c.KafkaBrokers, Connect: connection(&c.Config), Topic: p.deadTopic, Log: log,
	})
	p.options.GiveUp = func(ctx context.Context, r *stream.Record, why httpsink.Reason) error {
		return p.dead.Keep(ctx, r, slices.Concat(r.Headers, deadLetterHeaders(r, c.Group, why, time.Now())))
	}
	return p, err
}

// ensure waits until the topic for what is given up is there, and creates it if it may. What can't be kept there would
// hold the group up, so that this is found out before anything is posted.
func (c *subscribeCmd) ensure(ctx context.Context, topic string, log *zap.Logger) error {
	creator, err := publisher.NewCreator(publisher.Options{
		Brokers: c.KafkaBrokers, Connect: connection(&c.Config), Topics: topicOptions(&c.Config),
	})
	if err != nil {
		return err
	}
	defer creator.Close()
	late := time.AfterFunc(3*time.Second, func() { log.Warn("waiting for Kafka, to see whether there is a topic " + topic) })
	defer late.Stop()
	err = creator.Ensure(ctx, topic, "")
	if errors.Is(err, publisher.ErrNoTopic) {
		err = fmt.Errorf("%w; create it, name another with --group-dead-letter, or post without end with --attempts 0", err)
	}
	return err
}

// deadLetterHeaders say why a record is a dead letter, and where it came from.
func deadLetterHeaders(r *stream.Record, group string, why httpsink.Reason, now time.Time) []stream.Header {
	reason := why.Label
	if why.Code != 0 {
		reason = "http_" + reason
	}
	var headers []stream.Header
	for _, h := range [][2]string{
		{"sluice-reason", reason},
		{"sluice-step", "subscribe"},
		{"sluice-error", why.Error()},
		{"sluice-time", now.UTC().Format(time.RFC3339Nano)},
		{"sluice-group", group},
		{"sluice-attempts", strconv.Itoa(why.Attempts)},
		{originTopicHeader, r.Topic},
		{originPartitionHeader, strconv.Itoa(r.Partition)},
		{originOffsetHeader, strconv.FormatInt(r.Offset, 10)},
		{originTimeHeader, r.Time.UTC().Format(originTime)},
	} {
		headers = append(headers, stream.Header{Key: h[0], Value: []byte(h[1])})
	}
	return headers
}

// sink is for the time between two rebalances.
func (p *posted) sink() (stream.Sink, error) {
	s, err := httpsink.New(p.options)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.past, p.now = p.counts(), s
	return s, nil
}

// counts are those of all sinks. p.mu is held.
func (p *posted) counts() httpsink.Counts {
	c := p.past
	if p.now != nil {
		now := p.now.Counts()
		c.Accepted, c.GivenUp, c.Failed = c.Accepted+now.Accepted, c.GivenUp+now.GivenUp, c.Failed+now.Failed
	}
	return c
}

func (p *posted) summary() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.counts()
	text := fmt.Sprintf(": %s accepted", count(c.Accepted))
	if c.Failed > 0 {
		text += fmt.Sprintf(", %s posts failed", count(c.Failed))
	}
	if c.GivenUp > 0 {
		text += fmt.Sprintf(", %s given up: they are on %s", count(c.GivenUp), p.deadTopic)
	}
	return text
}

func (p *posted) close() {
	if p.dead != nil {
		p.dead.Close()
	}
	p.transport.CloseIdleConnections()
}
