package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/internal/testenv"
	"sluice/publisher/balance"
)

// TestBalanceInstants takes balances while Kafka and Redis come and go, with a spool and without.
func TestBalanceInstants(t *testing.T) {
	for name, spooling := range map[string]bool{"spool": true, "no spool": false} {
		t.Run(name, func(t *testing.T) {
			env := testenv.Fake(t)
			redis := testenv.Proxy(t, strings.TrimSuffix(strings.TrimPrefix(env.RedisURL(), "redis://"), "/0"))
			away := env.Kafka.(*testenv.FakeCluster).Outage()
			extra := []string{"SLUICE_REDIS_URL=redis://" + redis.Addr(), "SLUICE_DEDUPE_WHEN_DOWN=closed"}
			if spooling {
				extra = append(extra, "SLUICE_SPOOL_DIR="+t.TempDir())
			}
			s := serve(t, settings(env, extra...))
			tr := (&truth{kept: map[string]bool{}}).next()
			ctx, cancel := context.WithCancel(t.Context())
			clients := tr.load(ctx, t, 8, "i", s.url)
			var watching sync.WaitGroup
			taken := 0
			watching.Go(func() { taken = tr.instants(ctx, t, s.admin) })
			// Each phase lasts until the clients have had enough answers in it.
			enough := func(status string, n int64) {
				t.Helper()
				_, _, before := tr.now()
				testenv.Eventually(t, time.Minute, func() error {
					if _, _, now := tr.now(); now[status]-before[status] < n {
						return fmt.Errorf("%v, after %v", now, before)
					}
					return nil
				})
			}
			for range 2 {
				enough("published", 100)
				enough("duplicate", 10)
				away.Store(true)
				if spooling {
					enough("spooled", 100)
				} else {
					enough("refused", 8)
				}
				away.Store(false)
				enough("published", 100)
				redis.Set(t, testenv.Refuse)
				enough("refused", 8)
				redis.Set(t, testenv.Pass)
			}
			cancel()
			clients.Wait()
			watching.Wait()
			if taken < 10 {
				t.Errorf("%d balances taken", taken)
			}
			tr.check(t, settled(t, s.admin, true))
			if code := s.stop(); code != exitOK {
				t.Errorf("exit code %d", code)
			}
			n := lastBalance(t, s.logs.String())
			tr.check(t, n)
			if p, d := tr.onTopics(t, env); p != n.Published || d != n.DeadLettered {
				t.Errorf("%d events and %d dead letters on the topics, want %v", p, d, n)
			}
			t.Logf("%d balances taken, at the end %v", taken, n)
		})
	}
}

// TestBalanceOfUnknown leaves an event in flight that was answered 503 while Kafka may have had it: until Kafka answers, or
// for good where the process ends before.
func TestBalanceOfUnknown(t *testing.T) {
	t.Parallel() // it mostly waits
	env := testenv.Fake(t)
	var deaf atomic.Bool
	kafka := env.Kafka.(*testenv.FakeCluster)
	kafka.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		kafka.KeepControl()
		if deaf.Load() {
			return nil, errUnavailable, true // hangs up
		}
		return nil, nil, false
	})
	s := serve(t, settings(env, "SLUICE_SHUTDOWN_TIMEOUT=4s"))
	post := func(n int) answer {
		return request{body: fmt.Appendf(nil, `{"event_id":"unknown-%d","event_type":"email_sent"}`, n)}.must(t, s.url)
	}
	request{body: []byte(`{"event_id":"unknown","event_type":"email_sent"}`)}.insist(t, s.url)
	began := settled(t, s.admin, false)
	deaf.Store(true)
	if a := post(1); a.Reason != "outcome_unknown" {
		t.Errorf("%+v", a)
	}
	want := began
	want.Accepted, want.InFlight = began.Accepted+1, 1
	if n := mustBalance(t, s.admin); n != want {
		t.Errorf("%v, want %v", n, want)
	}
	deaf.Store(false)
	want.InFlight, want.Published = 0, began.Published+1
	if n := settled(t, s.admin, true); n != want {
		t.Errorf("%v, want %v", n, want)
	}
	if a := post(1); a.Status != "duplicate" {
		t.Errorf("again: %+v", a)
	}
	deaf.Store(true)
	post(2)
	if code := s.stop(); code != exitFailure {
		t.Errorf("exit code %d", code)
	}
	want.Accepted, want.Duplicate, want.InFlight = want.Accepted+2, want.Duplicate+1, 1
	if n := lastBalance(t, s.logs.String()); n != want {
		t.Errorf("%v, want %v", n, want)
	}
	if !strings.Contains(s.logs.String(), "what became of some events isn't known") {
		t.Error("the log says nothing of the event in flight")
	}
}

// TestBalanceOverLives follows events through outages, an orderly end, a kill and another instance's taking the folder over.
func TestBalanceOverLives(t *testing.T) {
	t.Parallel() // it mostly waits
	t.Run("fake", func(t *testing.T) {
		t.Parallel()
		env := testenv.Fake(t)
		on := env.Kafka.(*testenv.FakeCluster).Outage()
		balanceOverLives(t, env, on.Store)
	})
	t.Run("real", func(t *testing.T) {
		t.Parallel()
		kafka := testenv.Kafka(t)
		balanceOverLives(t, testenv.RealOn(t, kafka), func(away bool) {
			if away {
				kafka.Broker(0).Kill(t)
			} else {
				kafka.Broker(0).Restart(t)
			}
		})
	})
}

func balanceOverLives(t *testing.T, env *testenv.Env, setAway func(bool)) {
	dir := t.TempDir()
	all := &truth{kept: map[string]bool{}}
	var published, deadLettered int64 // in all lives
	live := func(s *instance, tr *truth, name string, during func(enough func(status string, n int64))) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		clients := tr.load(ctx, t, 4, name, s.url)
		var watching sync.WaitGroup
		watching.Go(func() { tr.instants(ctx, t, s.admin) })
		during(func(status string, n int64) {
			t.Helper()
			testenv.Eventually(t, time.Minute, func() error {
				if _, _, now := tr.now(); now[status] < n {
					return fmt.Errorf("answers %v", now)
				}
				return nil
			})
		})
		cancel()
		clients.Wait()
		watching.Wait()
	}

	// Kafka goes away, and the process ends in order.
	a := startProcess(t, env, "SLUICE_SPOOL_DIR="+dir, "SLUICE_INSTANCE=a")
	tr := all.next()
	live(a, tr, "one", func(enough func(string, int64)) {
		enough("published", 100)
		enough("duplicate", 10)
		setAway(true)
		enough("spooled", 100)
	})
	tr.check(t, mustBalance(t, a.admin))
	a.Terminate(t, 30*time.Second) // records that Kafka hasn't answered make it fail
	n := lastBalance(t, a.Logs())
	tr.check(t, n)
	left := spooledIn(t, dir, "a")
	if n.Spooled != left || n.InFlight != 0 {
		t.Errorf("first life: %v, and %d events on disk", n, left)
	}
	published, deadLettered = published+n.Published, deadLettered+n.DeadLettered

	// The next process finds them, and is killed.
	a.start(t)
	if n = mustBalance(t, a.admin); n != (balance.Balance{Recovered: left, Spooled: left}) {
		t.Errorf("second life begins with %v, want %d recovered", n, left)
	}
	tr = all.next()
	live(a, tr, "two", func(enough func(string, int64)) { enough("spooled", 100) })
	n = settled(t, a.admin, false)
	tr.check(t, n)
	a.Kill(t)
	if left = spooledIn(t, dir, "a"); n.Spooled != left || n.Published+n.DeadLettered > 0 {
		t.Errorf("second life: %v, and %d events on disk", n, left)
	}

	// Another instance takes them over, and Kafka comes back.
	b := startProcess(t, env, "SLUICE_SPOOL_DIR="+dir, "SLUICE_INSTANCE=b")
	if n = mustBalance(t, b.admin); n != (balance.Balance{Recovered: left, Spooled: left}) {
		t.Errorf("the other instance begins with %v, want %d recovered", n, left)
	}
	tr = all.next()
	live(b, tr, "three", func(enough func(string, int64)) {
		enough("spooled", 50)
		setAway(false)
		enough("published", 100)
	})
	n = settled(t, b.admin, true)
	tr.check(t, n)
	published, deadLettered = published+n.Published, deadLettered+n.DeadLettered
	if p, d := all.onTopics(t, env); p != published || d != deadLettered {
		t.Errorf("%d events and %d dead letters on the topics, want %d and %d", p, d, published, deadLettered)
	}

	// Killed under load: what the next process recovers is what is on disk, and that may be in Kafka already.
	tr = all.next()
	ctx, cancel := context.WithCancel(t.Context())
	clients := tr.load(ctx, t, 8, "four", b.url)
	testenv.Eventually(t, time.Minute, func() error {
		if _, _, now := tr.now(); now["published"] < 200 {
			return fmt.Errorf("answers %v", now)
		}
		return nil
	})
	b.Kill(t)
	cancel()
	clients.Wait()
	left = spooledIn(t, dir, "b")
	b.start(t)
	n = settled(t, b.admin, true)
	if n.Accepted > 0 || n.Recovered != left || n.Published+n.DeadLettered != left {
		t.Errorf("after a kill: %v, with %d events on disk", n, left)
	}
	all.onTopics(t, env)
	if code := b.Terminate(t, 30*time.Second); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if last := lastBalance(t, b.Logs()); last != n {
		t.Errorf("the last balance is %v, want %v", last, n)
	}
	t.Logf("%d events and %d dead letters published, and %d recovered after a kill under load", published, deadLettered, left)
}
