package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/internal/testenv"
)

// spoolRun is a sluice with a spool, under load, on a Kafka of its own.
func spoolRun(t *testing.T, faults func(ctx context.Context, s *instance, kafka *testenv.Cluster)) *ledger {
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
	return l
}

// always200 wants every answer to have been 200, before the sender gives up waiting.
func (l *ledger) always200(t *testing.T) {
	t.Helper()
	if len(l.codes) != 1 || l.codes[http.StatusOK] == 0 || l.worst > 4*time.Second {
		t.Errorf("answers %v, slowest %v", l.codes, l.worst)
	}
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

// TestStartsWithoutKafka takes events before there has ever been a Kafka, is killed, and takes more.
func TestStartsWithoutKafka(t *testing.T) {
	t.Parallel() // it mostly waits
	kafka := testenv.Kafka(t)
	env := testenv.RealOn(t, kafka)
	kafka.Broker(0).Kill(t)
	s := startProcess(t, env, "SLUICE_SPOOL_DIR="+t.TempDir())
	l := newLedger()
	for life := range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		wg := l.loadFrom(ctx, t, 4, 100*life, s.url)
		sleep(ctx, 2*time.Second)
		cancel()
		wg.Wait()
		s.Kill(t)
		s.start(t)
	}
	kafka.Broker(0).Restart(t)
	testenv.Eventually(t, time.Minute, func() error {
		return metricIsZero(t, s.admin, "sluice_spool_events")
	})
	if code := s.Terminate(t, 30*time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	l.check(t, env)
	l.always200(t)
}

// metricIsZero reads one metric of a running sluice.
func metricIsZero(t *testing.T, admin, name string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, admin+"/metrics", http.NoBody)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		if value, found := strings.CutPrefix(lines.Text(), name+" "); found {
			if value == "0" {
				return nil
			}
			return fmt.Errorf("%s is %s", name, value)
		}
	}
	return fmt.Errorf("there is no %s", name)
}
