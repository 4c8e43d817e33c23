package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/zap/zaptest"

	"sluice/config"
	"sluice/dedupe"
	"sluice/internal/testenv"
)

// scrape reads an instance's metrics.
func scrape(t *testing.T, admin string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, admin+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// repaired waits until one of the instances has found a loss, and none has anything left to repair.
func repaired(t *testing.T, found string, admins ...string) {
	t.Helper()
	testenv.Eventually(t, 60*time.Second, func() error {
		seen := false
		for _, admin := range admins {
			text := scrape(t, admin)
			seen = seen || !strings.Contains(text, "sluice_dedupe_losses_total{found=\""+found+"\"} 0\n")
			if !strings.Contains(text, "\nsluice_dedupe_unrepaired 0\n") {
				return errors.New("it isn't repaired")
			}
		}
		if !seen {
			return errors.New("nobody has found a loss")
		}
		return nil
	})
}

// TestRepair empties Redis while sluice runs, and then while it doesn't: it is noticed and repaired without anybody's
// doing, so that a process that remembers nothing itself takes every repeated request for a duplicate.
func TestRepair(t *testing.T) { //nolint:tparallel // its parts run one after another
	t.Parallel() // it mostly waits
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		store := newRedisOf(t, env)
		requests := kinds(t, "event_id")
		s := serve(t, settings(env))
		repaired(t, "empty", s.admin) // nothing to mark
		for _, r := range requests {
			if a := r.insist(t, s.url); a.code != http.StatusOK {
				t.Fatalf("%.80q: %+v", r.body, a)
			}
		}
		kept := len(env.Records(t))
		store.do("FLUSHALL")
		repaired(t, "lost", s.admin)
		for _, while := range []string{"running", "down"} {
			if code := s.stop(); code != exitOK {
				t.Fatalf("exit code %d", code)
			}
			if while == "down" {
				store.do("FLUSHALL")
			}
			s = serve(t, settings(env))
			if while == "down" {
				repaired(t, "empty", s.admin)
			}
			if n := len(store.all()); n != kept {
				t.Errorf("emptied while %s: %d marks of %d records", while, n, kept)
			}
			for _, r := range requests {
				if a := r.insist(t, s.url); a.Status != "duplicate" {
					t.Errorf("emptied while %s: %.80q, delivery %.20q: %+v", while, r.body, r.deliveryID, a)
				}
			}
		}
		if n := len(env.Records(t)); n != kept {
			t.Errorf("%d records, want %d", n, kept)
		}
	})
}

func TestRepairOff(t *testing.T) {
	env := testenv.Fake(t)
	s := serve(t, settings(env, "SLUICE_DEDUPE_REPAIR=false"))
	request{body: []byte(`{"event_id":"a","event_type":"email_sent"}`)}.insist(t, s.url)
	if code := s.stop(); code != exitOK {
		t.Fatalf("exit code %d", code)
	}
	if keys := newRedisOf(t, env).do("KEYS", "*"); len(keys) != 1 {
		t.Errorf("keys %q", keys)
	}
}

// TestRepairUnderLoad empties Redis under load on two processes, one of which is killed. What they have acknowledged is
// repeated to a new one.
func TestRepairUnderLoad(t *testing.T) {
	env := testenv.Real(t)
	store := newRedisOf(t, env)
	a, b := startProcess(t, env, "SLUICE_INSTANCE=a"), startProcess(t, env, "SLUICE_INSTANCE=b")
	l := newLedger()
	ctx, cancel := context.WithCancel(t.Context())
	wg := l.load(ctx, t, 8, a.url, b.url)
	sleep(ctx, 3*time.Second)
	store.do("FLUSHALL")
	for _, s := range []*instance{a, b} {
		testenv.Eventually(t, 60*time.Second, func() error {
			if text := scrape(t, s.admin); !strings.Contains(text, "\nsluice_dedupe_unrepaired 0\n") {
				return errors.New("unrepaired")
			}
			return nil
		})
	}
	sleep(ctx, time.Second)
	cancel()
	wg.Wait()
	records := env.Records(t)
	testenv.Eventually(t, 60*time.Second, func() error {
		if n := len(store.all()); n < len(records) {
			return fmt.Errorf("%d marks of %d records", n, len(records))
		}
		return nil
	})
	a.Kill(t)
	b.Kill(t)
	c := startProcess(t, env, "SLUICE_INSTANCE=c")
	for _, r := range records {
		if x := (request{body: r.Value}).insist(t, c.url); x.Status != "duplicate" {
			t.Errorf("%s: %+v", r.Value, x)
		}
	}
	t.Logf("%d events repeated", len(records))
	l.finish(t, env, c)
}

func counted(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// A repair that was interrupted goes on from a place whose marks aren't in doubt.
func TestRepairGoesOn(t *testing.T) {
	t.Parallel() // it mostly waits
	env := testenv.Fake(t)
	w, store := newTailWriter(t, env, "email_sent"), newRedisOf(t, env)
	const events = 400 // 8 s at the rate below
	for i := range events {
		w.write(env.Topic("email_sent"), "email_sent", fmt.Sprint("e", i))
	}
	var conf config.Config
	if _, err := config.Load(&conf, config.Sources{Environ: settings(env, "SLUICE_DEDUPE_REPAIR_RATE=50", "SLUICE_REDIS_TIMEOUT=2s")}); err != nil {
		t.Fatal(err)
	}
	r := &repairer{
		config: &conf, log: zaptest.NewLogger(t),
		records: prometheus.NewCounter(prometheus.CounterOpts{Name: "records_total", Help: "Records."}),
		done:    prometheus.NewCounter(prometheus.CounterOpts{Name: "done_total", Help: "Marks."}),
	}
	loss := dedupe.Loss{ID: "x", Since: time.Now().Add(-2 * time.Hour)} // before the first of them
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- r.repair(ctx, loss) }()
	testenv.Eventually(t, 30*time.Second, func() error {
		if n := len(store.all()); n < events*3/5 { // it has kept a place by then
			return fmt.Errorf("%d marks", n)
		}
		return nil
	})
	cancel()
	if err := <-result; err == nil || r.younger == nil || r.older != nil {
		t.Fatalf("interrupted: %v, %+v, %+v", err, r.younger, r.older)
	}
	place := r.younger.Counts.Records
	if got := counted(t, r.done); got == 0 || got != float64(len(store.all())) {
		t.Errorf("%v marks are counted", got)
	}
	conf.DedupeRepairRate = 5000
	for name, x := range map[string]struct {
		at   time.Time
		loss dedupe.Loss
		want int64
	}{
		"in doubt": {time.Now(), loss, events},
		"another":  {time.Now().Add(-time.Hour), dedupe.Loss{ID: "y", Since: loss.Since}, events},
		"certain":  {time.Now().Add(-dedupe.RepairDoubt - time.Second), loss, events - place},
	} {
		keep := r.younger.clone()
		before := counted(t, r.records)
		r.at = x.at
		if err := r.repair(t.Context(), x.loss); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := int64(counted(t, r.records) - before); got != x.want {
			t.Errorf("%s: read %d records, want %d", name, got, x.want)
		}
		if n := len(store.all()); n != events {
			t.Errorf("%s: %d marks", name, n)
		}
		r.loss, r.older, r.younger = loss, nil, keep
	}
}
