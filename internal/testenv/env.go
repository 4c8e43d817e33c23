package testenv

import (
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// Env is a Kafka and a Redis for one test, so that one suite runs unchanged on fakes and on real servers:
//
//	for name, env := range map[string]func(testing.TB) *testenv.Env{"fake": testenv.Fake, "real": testenv.Real} { … }
type Env struct {
	Kafka Source
	// Prefix begins the names of this test's topics, since the real broker is shared with other tests. It ends
	// without a separator.
	Prefix string

	redisURL string
	mini     *miniredis.Miniredis // nil with a real Redis
}

// Fake is kfake and miniredis, both inside the test binary.
func Fake(t testing.TB) *Env {
	t.Helper()
	mini := Miniredis(t)
	return &Env{Kafka: Kfake(t), Prefix: prefix(), redisURL: "redis://" + mini.Addr() + "/0", mini: mini}
}

// Real is the shared real broker (see SharedKafka) and a real Redis of its own.
func Real(t testing.TB) *Env {
	t.Helper()
	Need(t, ServerKafka, ServerRedis, ServerKcat)
	return RealOn(t, SharedKafka(t))
}

// RealOn is Real on a cluster of the test's own.
func RealOn(t testing.TB, c *Cluster) *Env {
	t.Helper()
	Need(t, ServerRedis, ServerKcat)
	return &Env{Kafka: c, Prefix: prefix(), redisURL: Redis(t).URL()}
}

// prefix is 8 random letters and digits behind a letter.
func prefix() string { return "t" + strings.ToLower(rand.Text()[:8]) }

// IsFake tells kfake and miniredis from real servers.
func (e *Env) IsFake() bool { return e.mini != nil }

// Brokers is the addresses of the Kafka brokers.
func (e *Env) Brokers() []string { return e.Kafka.Bootstrap() }

// RedisURL is the address of the Redis, as SLUICE_REDIS_URL takes it.
func (e *Env) RedisURL() string { return e.redisURL }

// Topic is the name of this test's topic for an event type, as the setting SLUICE_TOPIC=<Prefix>_{event_type} makes
// it.
func (e *Env) Topic(eventType string) string { return fmt.Sprintf("%s_%s", e.Prefix, eventType) }

// Records reads what the topics hold; without a name, all topics of this test.
func (e *Env) Records(t testing.TB, topics ...string) []Record {
	t.Helper()
	if len(topics) == 0 {
		return e.Kafka.ConsumeAll(t, e.Prefix)
	}
	return e.Kafka.Consume(t, topics...)
}

// Elapse lets d pass for Redis: miniredis's clock is moved on, real Redis is waited for.
func (e *Env) Elapse(t testing.TB, d time.Duration) {
	t.Helper()
	if e.mini != nil {
		e.mini.FastForward(d)
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}
