package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/testenv"
)

func TestReplayToTopic(t *testing.T) { //nolint:tparallel // its parts run one after another
	t.Parallel() // it mostly waits
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		w := newTailWriter(t, env, "email_sent", "email_opened")
		for i := range 20 {
			eventType := []string{"email_sent", "email_opened"}[i%2]
			w.write(env.Topic(eventType), eventType, fmt.Sprint("e", i))
		}
		environ := environment(env, "")
		target, dir := env.Topic("target"), t.TempDir()
		checkpoint := func(name string) string { return filepath.Join(dir, name) }
		got := mustRun(t.Context(), t, environ, "", exitOK, "replay", "email_*", "--to-topic", target, "--replay-id", "r1", "--checkpoint", checkpoint("a"))
		if !strings.Contains(got.stdout, "replay r1: complete") {
			t.Error(got)
		}
		records := env.Records(t, target)
		seen := map[string]bool{}
		for _, r := range records {
			id, _ := r.Header("ce_id")
			seen[id] = true
			origin := map[string]string{}
			for _, h := range r.Headers {
				origin[h.Name] = string(h.Value)
			}
			n, err := strconv.Atoi(origin["sluice-origin-offset"])
			at, parsed := time.Parse(time.RFC3339Nano, origin["sluice-origin-time"])
			if err != nil || parsed != nil || n < 0 || origin["sluice-replay-id"] != "r1" || origin["sluice-origin-topic"] != env.Topic(origin["event-type"]) ||
				time.Since(at) < 50*time.Minute || time.Since(r.Time) > 10*time.Minute || string(r.Key) != id || string(r.Value) != fmt.Sprintf(`{"event_id":%q}`, id) {
				t.Errorf("record %s at %s: %q", r.Value, r.Time, origin)
			}
		}
		if len(records) != 20 || len(seen) != 20 {
			t.Errorf("%d records of %d events, want 20", len(records), len(seen))
		}

		// By type, into topics of other names.
		mustRun(t.Context(), t, environ, "", exitOK, "replay", "email_*", "--to-topic", env.Topic("again_{event_type}"), "--checkpoint", checkpoint("b"))
		if n := len(env.Records(t, env.Topic("again_email_opened"))); n != 10 {
			t.Errorf("%d opened", n)
		}

		// Interrupted, it says how to go on, and does.
		client, err := kgo.NewClient(kgo.SeedBrokers(env.Brokers()...))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		admin, slow := kadm.NewClient(client), env.Topic("slow")
		createTopic(t, env, slow)
		ctx, interrupt := context.WithCancel(t.Context())
		var watching sync.WaitGroup
		watching.Go(func() {
			defer interrupt()
			testenv.Eventually(t, 30*time.Second, func() error {
				if held(t, admin, slow) < 3 {
					return errNotYet
				}
				return nil
			})
		})
		args := []string{"replay", "email_*", "--to-topic", slow, "--checkpoint", checkpoint("e")}
		got = mustRun(ctx, t, environ, "", exitFailure, append(args, "--rate=8")...)
		watching.Wait()
		if !strings.Contains(got.stderr, "incomplete: interrupted; this goes on:\n    sluice replay") {
			t.Error(got)
		}
		got = mustRun(t.Context(), t, environ, "", exitOK, append(args, "--resume")...)
		if n := held(t, admin, slow); n != 20 || !strings.Contains(got.stdout, " 20  written\n") {
			t.Errorf("%d records: %s", n, got)
		}

		got = mustRun(t.Context(), t, environ, "", exitFailure, "replay", "email_*", "--to-topic", env.Topic("email_sent"), "--checkpoint", checkpoint("c"))
		if !strings.Contains(got.stderr, "a topic can't be replayed into itself; name another one") {
			t.Error(got)
		}
		got = mustRun(t.Context(), t, append(environ, "SLUICE_CREATE_TOPICS=false"), "", exitFailure, "replay", "email_*", "--to-topic", env.Topic("none"), "--checkpoint", checkpoint("d"))
		if !strings.Contains(got.stderr, "create it, or allow it: --create-topics") {
			t.Error(got)
		}
	})
}

var errNotYet = errors.New("not yet")

// held is how many records a topic has.
func held(t *testing.T, client *kadm.Client, topic string) (n int64) {
	t.Helper()
	ends, err := client.ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) { n += max(0, o.Offset) })
	return n
}

// Killed ten times at any moment and gone on with, three times while the broker stands still and gets the dead process's
// request late, the target has every record once and each key's in their order.
func TestReplayToTopicKilled(t *testing.T) {
	t.Parallel() // it mostly waits
	testenv.Need(t, testenv.ServerKafka, testenv.ServerKcat)
	kafka := testenv.SharedKafka(t)
	prefix := fmt.Sprint("killed", rand.IntN(1e6))
	source, target := prefix+"_email_sent", prefix+"_target"
	kafka.CreateTopic(t, source, 2, map[string]string{"retention.ms": "-1"}) // the events are old
	kafka.CreateTopic(t, target, 3, nil)
	const n = 20_000
	fill(t, kafka.Bootstrap(), source, n, 300)
	client, err := kgo.NewClient(kgo.SeedBrokers(kafka.Bootstrap()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	admin := kadm.NewClient(client)
	binary, checkpoint := testenv.Binary(t, "./cmd/sluice"), filepath.Join(t.TempDir(), "checkpoint")
	args := []string{
		"replay", "email_sent", "--to-topic", target, "--checkpoint", checkpoint, "--rate=5000", "--topic", prefix + "_{event_type}",
		"--dead-letter-topic", prefix + "_dead", "--overflow-topic", prefix + "_other", "--kafka-brokers", kafka.Bootstrap()[0],
	}
	killed := 0
	for killed < 10 {
		p := testenv.Process(t, binary, nil, args...)
		if killed == 0 {
			args = append(args, "--resume")
		}
		until := held(t, admin, target) + 100 + rand.Int64N(1500)
		testenv.Eventually(t, 60*time.Second, func() error {
			select {
			case <-p.Exited():
				t.Fatalf("it ended after %d kills:\n%s", killed, p.Logs())
			default:
			}
			if held(t, admin, target) < until {
				return errNotYet
			}
			return nil
		})
		frozen := killed%4 == 1
		if frozen {
			kafka.Broker(0).Stop(t)
			<-time.After(100 * time.Millisecond) // for a request to be under way
		}
		p.Kill(t)
		if frozen {
			kafka.Broker(0).Cont(t)
		}
		killed++
	}
	p := testenv.Process(t, binary, nil, args...)
	if code := p.Wait(t, 60*time.Second); code != exitOK {
		t.Fatalf("exit code %d:\n%s", code, p.Logs())
	}

	times := map[string]int{}
	last := map[string]int{}
	for _, r := range kafka.ConsumeBulk(t, target) {
		id, _ := r.Header("ce_id")
		times[id]++
		offset, _ := r.Header("sluice-origin-offset")
		from, _ := r.Header("sluice-origin-partition")
		at, err := strconv.Atoi(offset)
		if err != nil {
			t.Fatal(err)
		}
		key := from + string(r.Key)
		if before, is := last[key]; is && before >= at {
			t.Errorf("key %s: offset %d of partition %s comes after %d", r.Key, at, from, before)
		}
		last[key] = at
	}
	if len(times) != n {
		t.Errorf("%d events, want %d", len(times), n)
	}
	for id, k := range times {
		if k != 1 {
			t.Errorf("event %s is there %d times", id, k)
		}
	}
	left, err := filepath.Glob(checkpoint + "*")
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
