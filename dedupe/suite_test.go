package dedupe

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap/zaptest"

	"sluice/internal/testenv"
)

// soon bounds the waits for what should happen at once, on a machine that is busy with other tests.
const soon = 20 * time.Second

// server is a Redis for one test, fake or real.
type server struct {
	addr string
	mini *miniredis.Miniredis // nil with a real one
	real *testenv.RedisServer // nil with a fake
	raw  *redis.Client        // to look at what the deduper did
}

// onBoth runs a test on miniredis and on a real Redis.
func onBoth(t *testing.T, test func(t *testing.T, s *server)) {
	t.Helper()
	t.Run("miniredis", func(t *testing.T) {
		mini := testenv.Miniredis(t)
		test(t, newServer(t, &server{addr: mini.Addr(), mini: mini}))
	})
	t.Run("redis", func(t *testing.T) {
		test(t, realRedis(t))
	})
}

func realRedis(t *testing.T, args ...string) *server {
	t.Helper()
	real := testenv.Redis(t, args...)
	return newServer(t, &server{addr: real.Addr(), real: real})
}

func newServer(t *testing.T, s *server) *server {
	t.Helper()
	s.raw = redis.NewClient(&redis.Options{Addr: s.addr, Protocol: 2, DisableIdentity: true})
	t.Cleanup(func() { _ = s.raw.Close() })
	return s
}

func (s *server) url() string { return "redis://" + s.addr }

// pass lets a little time pass where it doesn't by itself: miniredis' clock stands still.
func (s *server) pass(d time.Duration) {
	if s.mini != nil {
		s.mini.FastForward(d)
	}
}

// value is what a key holds, empty if there is none.
func (s *server) value(t *testing.T, id string) string {
	t.Helper()
	v, err := s.raw.Get(t.Context(), Key("slu:", id)).Result()
	switch {
	case err == nil || errors.Is(err, redis.Nil):
		return v
	case redis.HasErrorPrefix(err, "WRONGTYPE "):
		return "(no string)"
	}
	t.Fatalf("reading %s: %v", id, err)
	return ""
}

// waitValue waits until the key holds want.
func (s *server) waitValue(t *testing.T, id, want string) {
	t.Helper()
	testenv.Eventually(t, soon, func() error {
		if got := s.value(t, id); got != want {
			return fmt.Errorf("%s holds %q, want %q", id, got, want)
		}
		return nil
	})
}

// deduper starts one with the server's URL unless options say otherwise. It ends with the test.
func (s *server) deduper(t *testing.T, o Options) *Deduper {
	t.Helper()
	if o.URL == "" {
		o.URL = s.url()
	}
	return newDeduper(t, o)
}

// newDeduper starts a deduper that ends with the test. Where options leave it open, waits are far longer than the
// defaults: a test of what happens, on a slow machine, is no test of how fast.
func newDeduper(t *testing.T, o Options) *Deduper {
	t.Helper()
	if o.Instance == "" {
		o.Instance = "test"
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	if o.ClaimTimeout == 0 {
		o.ClaimTimeout = 10 * time.Second
	}
	if o.Log == nil {
		o.Log = zaptest.NewLogger(t)
	}
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // what a test still wants written it has waited for
		_ = d.Close(ctx)
	})
	return d
}

// claim claims and checks the verdict.
func claim(t *testing.T, d *Deduper, id string, want Verdict) *Claim {
	t.Helper()
	c, err := d.Claim(t.Context(), id)
	if err != nil {
		t.Fatalf("claiming %s: %v", id, err)
	}
	if c.Verdict() != want {
		t.Fatalf("claiming %s: %v, want %v", id, c.Verdict(), want)
	}
	return c
}

// claimSoon claims, with Redis' time passing, until the verdict is want.
func claimSoon(t *testing.T, s *server, d *Deduper, id string, want Verdict) *Claim {
	t.Helper()
	var got *Claim
	testenv.Eventually(t, soon, func() error {
		s.pass(200 * time.Millisecond)
		c, err := d.Claim(t.Context(), id)
		if err != nil {
			return err
		}
		if c.Verdict() != want {
			return fmt.Errorf("verdict %v", c.Verdict())
		}
		got = c
		return nil
	})
	return got
}

// refused claims and checks the error.
func refused(t *testing.T, d *Deduper, id string, want error) {
	t.Helper()
	c, err := d.Claim(t.Context(), id)
	if !errors.Is(err, want) {
		t.Fatalf("claiming %s: %v (%v), want %v", id, err, c, want)
	}
}

// waitUp waits until the deduper sees Redis up or away.
func waitUp(t *testing.T, d *Deduper, up bool) {
	t.Helper()
	testenv.Eventually(t, soon, func() error {
		if s := d.State(); s.Up != up {
			return fmt.Errorf("state %+v", s)
		}
		return nil
	})
}
