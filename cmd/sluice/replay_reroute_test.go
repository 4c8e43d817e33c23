package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/testenv"
)

// deadLetter writes one as an earlier version would have, which knew less.
func (w *tailWriter) deadLetter(topic, body string) {
	w.Helper()
	header := func(name, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: name, Value: []byte(value)} }
	err := w.client.ProduceSync(w.Context(), &kgo.Record{Topic: topic, Value: []byte(body), Headers: []kgo.RecordHeader{
		header("content-type", "application/json"), header("sluice-key", "main"), header("X-CIO-Timestamp", "1767225600"),
		header("X-CIO-Signature", "abc"), header("traceparent", "00-1-2-01"), header("sluice-reason", "no_event_type"),
		header("sluice-step", "parse"), header("sluice-error", "no name"), header("sluice-time", "2026-01-01T00:00:00Z"),
	}}).FirstErr()
	if err != nil {
		w.Fatal(err)
	}
}

func TestReroute(t *testing.T) {
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		environ, dead, dir := environment(env, ""), env.Topic("dead_letter"), t.TempDir()
		w, redis := newTailWriter(t, env, "dead_letter"), newRedisOf(t, env)
		body := func(id string) string {
			return fmt.Sprintf(`{"event_id":%q,"object_type":"email","metric":"sent","data":{"identifiers":{"id":"c1"}}}`, id)
		}
		for id, mark := range map[string]string{"marked": "done:dl", "forgotten": "", "rerouted": "done", "taken": "done:reroute-other.0.9"} {
			w.deadLetter(dead, body(id))
			if mark != "" {
				redis.put(id, mark)
			}
		}
		w.deadLetter(dead, body("marked")) // twice, as after a time without Redis
		w.deadLetter(dead, `{"event_id":"none"}`)
		w.deadLetter(dead, `not json`)
		redis.put("none", "done:dl")

		args := func(name string) []string {
			return []string{"replay", "--reroute", "--replay-id", name, "--checkpoint", filepath.Join(dir, name)}
		}
		got := mustRun(t.Context(), t, environ, "", exitOK, args("one")...)
		for _, want := range []string{
			" 1  are still no event (no_event_type) and stay dead letters\n", " 1  are still no event (not_json) and stay dead letters\n",
			" 1  are on their topic already\n", " 2  are being rerouted by another run; resume that one\n",
		} {
			if !strings.Contains(got.stdout, want) {
				t.Errorf("no %q in %s", want, got)
			}
		}
		records := env.Records(t, env.Topic("email_sent"))
		found := map[string]int{}
		for _, r := range records {
			id, _ := r.Header("ce_id")
			found[id]++
			for name, want := range map[string]string{
				"event-type": "email_sent", "ce_type": "io.customer.email_sent", "ce_source": "/customerio/main", "sluice-key": "main",
				"X-CIO-Timestamp": "1767225600", "X-CIO-Signature": "abc", "traceparent": "00-1-2-01", "sluice-rerouted": "no_event_type",
				"sluice-replay-id": "one", "sluice-origin-topic": dead,
			} {
				if got, _ := r.Header(name); got != want {
					t.Errorf("%s: header %s is %q, want %q", id, name, got, want)
				}
			}
			for _, name := range []string{"sluice-reason", "sluice-step", "sluice-error", "sluice-time"} {
				if value, is := r.Header(name); is {
					t.Errorf("%s has the header %s: %q", id, name, value)
				}
			}
			if string(r.Key) != "c1" || string(r.Value) != body(id) {
				t.Errorf("%s: key %q, value %s", id, r.Key, r.Value)
			}
		}
		if len(records) != 2 || found["marked"] != 1 || found["forgotten"] != 1 {
			t.Errorf("rerouted: %v", found)
		}
		for id, want := range map[string]string{"marked": "done", "forgotten": "done", "rerouted": "done", "taken": "done:reroute-other.0.9", "none": "done:dl"} {
			if got := redis.do("GET", "slu:"+id)[0]; got != want {
				t.Errorf("%s is marked %q, want %q", id, got, want)
			}
		}

		// Again, and by two at once, it writes nothing twice.
		for i := range 30 {
			w.deadLetter(dead, body(fmt.Sprint("more", i)))
		}
		var both sync.WaitGroup
		for _, name := range []string{"two", "three"} {
			both.Go(func() {
				code := run(context.WithoutCancel(t.Context()), args(name), &process{environ: environ, stdout: &lockedBuffer{}, stderr: &lockedBuffer{}})
				if code != exitOK {
					t.Errorf("%s: exit code %d", name, code)
				}
			})
		}
		both.Wait()
		if n := len(env.Records(t, env.Topic("email_sent"))); n != 32 {
			t.Errorf("%d records, want 32", n)
		}

		got = mustRun(t.Context(), t, append(environ, "SLUICE_REDIS_URL=redis://127.0.0.1:1"), "", exitFailure, args("four")...)
		if !strings.Contains(got.stderr, "check --redis-url") {
			t.Error(got)
		}
	})
}
