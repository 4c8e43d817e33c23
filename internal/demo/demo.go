// Package demo is a Kafka and a Redis inside this process, for trying Sluice out with nothing installed, and a reader of
// what that Kafka holds.
//
// Both speak their protocols over loopback, so whatever connects to them takes the same path as with real servers. They
// keep everything in memory and lose it when the process ends. The reader is franz-go, which shares no code with
// Sluice's producer.
package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/twmb/franz-go/pkg/kfake"
)

// Servers are a running Kafka and Redis.
type Servers struct {
	// Kafka is the fake cluster, for tests that make it misbehave.
	Kafka *kfake.Cluster

	redis *miniredis.Miniredis
	stop  context.CancelFunc // ends the clock
	clock sync.WaitGroup
}

// Open starts both on free ports of loopback; Kafka at kafkaAddr (host:port) if that is free.
func Open(kafkaAddr string) (*Servers, error) {
	kafka, err := newKafka(kafkaAddr)
	if errors.Is(err, syscall.EADDRINUSE) {
		kafka, err = newKafka("127.0.0.1:0")
	}
	if err != nil {
		return nil, fmt.Errorf("starting the demo's Kafka: %w", err)
	}
	redis := miniredis.NewMiniRedis()
	if err := redis.StartAddr("127.0.0.1:0"); err != nil {
		kafka.Close()
		return nil, fmt.Errorf("starting the demo's Redis: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Servers{Kafka: kafka, redis: redis, stop: stop}
	s.clock.Go(func() { s.tick(ctx) })
	return s, nil
}

// newKafka starts one broker. Topics have one partition and aren't made unasked.
func newKafka(addr string) (*kfake.Cluster, error) {
	listen := func(network, _ string) (net.Listener, error) { return net.Listen(network, addr) }
	return kfake.NewCluster(kfake.NumBrokers(1), kfake.DefaultNumPartitions(1), kfake.ListenFn(listen))
}

// tick lets time pass in Redis, whose clock otherwise stands still: leases and marks expire as in a real one.
func (s *Servers) tick(ctx context.Context) {
	const step = time.Second
	ticker := time.NewTicker(step)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.redis.FastForward(step)
		}
	}
}

// Brokers are Kafka's addresses.
func (s *Servers) Brokers() []string { return s.Kafka.ListenAddrs() }

// RedisURL is Redis's address.
func (s *Servers) RedisURL() string { return "redis://" + s.redis.Addr() + "/0" }

// Close ends both.
func (s *Servers) Close() {
	s.stop()
	s.clock.Wait()
	s.Kafka.Close()
	s.redis.Close()
}
