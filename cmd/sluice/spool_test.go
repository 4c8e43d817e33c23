package main

import (
	"context"
	"testing"
	"time"

	"sluice/internal/testenv"
)

// spoolRun is a sluice with a spool, under load, on a Kafka of its own.
func spoolRun(t *testing.T, faults func(ctx context.Context, s *instance, kafka *testenv.Cluster)) {
	t.Helper()
	kafka := testenv.Kafka(t)
	env := testenv.RealOn(t, kafka)
	s := startProcess(t, env, "SLUICE_SPOOL_DIR="+t.TempDir())
	l := newLedger()
	ctx, cancel := context.WithCancel(t.Context())
	wg := l.load(ctx, t, 16, s.url)
	sleep(ctx, 2*time.Second)
	faults(ctx, s, kafka)
	sleep(ctx, 4*time.Second)
	cancel()
	wg.Wait()
	if code := s.Terminate(t, 30*time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	l.check(t, env)
}

// TestKilledWithSpool kills sluice five times: what had been sent is sent again under the same stamps, and claims of
// the former life aren't waited for.
func TestKilledWithSpool(t *testing.T) {
	spoolRun(t, func(ctx context.Context, s *instance, _ *testenv.Cluster) {
		for range 5 {
			s.Kill(t)
			s.start(t)
			sleep(ctx, 1500*time.Millisecond)
		}
	})
}

// TestBrokerAndSluiceKilled leaves batches on the way when both go.
func TestBrokerAndSluiceKilled(t *testing.T) {
	spoolRun(t, func(ctx context.Context, s *instance, kafka *testenv.Cluster) {
		kafka.Broker(0).Kill(t)
		sleep(ctx, 2*time.Second)
		s.Kill(t)
		kafka.Broker(0).Restart(t)
		s.start(t)
	})
}

// TestFrozenBrokerAppendsLater kills sluice while a frozen broker holds its requests: the broker appends them when it
// goes on, beside what the next life sends.
func TestFrozenBrokerAppendsLater(t *testing.T) {
	spoolRun(t, func(ctx context.Context, s *instance, kafka *testenv.Cluster) {
		kafka.Broker(0).Stop(t)
		sleep(ctx, 2*time.Second)
		s.Kill(t)
		s.start(t)
		sleep(ctx, 2*time.Second)
		kafka.Broker(0).Cont(t)
	})
}
