package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/internal/testenv"
)

// rebuildSettingsOf are the settings that dedupe rebuild uses, for the test's servers.
func rebuildSettingsOf(env *testenv.Env, extra ...string) []string {
	return tailSettings(env, append([]string{"SLUICE_REDIS_URL=" + env.RedisURL(), "SLUICE_REDIS_TIMEOUT=2s"}, extra...)...)
}

// rebuilt is what a run of the command leaves behind.
type rebuilt struct {
	code    int
	stdout  string
	stderr  string
	summary rebuildSummary // of -o json
}

func rebuildRun(ctx context.Context, t *testing.T, environ []string, args ...string) rebuilt {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	var out, complaints bytes.Buffer
	r := rebuilt{code: run(ctx, append([]string{"dedupe", "rebuild"}, args...), &process{environ: environ, stdout: &out, stderr: &complaints})}
	r.stdout, r.stderr = out.String(), complaints.String()
	if slices.Contains(args, "json") && r.stdout != "" {
		if err := json.Unmarshal(out.Bytes(), &r.summary); err != nil {
			t.Errorf("%v in %s", err, r.stdout)
		}
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Errorf("%q doesn't end: %s", args, r.stderr)
	}
	return r
}

// kinds are requests of every kind of id.
func kinds(t *testing.T, mode string) (requests []request) {
	t.Helper()
	for _, x := range ownSamples(t) {
		requests = append(requests, request{body: x.body})
	}
	for _, body := range []string{
		`{"event_type":"email_sent","data":{"n":1}}`,
		`{"event_type":"fax_sent","event_id":"undescribed"}`,
		`{"event_type":"dead_letter","event_id":"to the overflow topic"}`,
		`{"event_type":"email_sent","event_id":"~h00112233445566778899aabbccddeeff"}`,
		`{"event_type":"email_sent","event_id":"` + strings.Repeat("long", 500) + `"}`,
		`{"event_type":"email_sent","event_id":"bell \u0007 ünd mehr"}`,
		`{"event_type":"email_sent","event_id":"\ud800"}`,
		`{"event_type":"email_sent","event_id":7}`,
		`{"event_id":"cut","event_type":"email_sent"`,
		`{"event_id":"cut","event_type":"email_sent"}`,
	} {
		requests = append(requests, request{body: []byte(body)})
		for _, delivery := range []string{"d1", "ein Brief", strings.Repeat("x", 300)} {
			if mode == "event_id" || strings.HasSuffix(body, `"n":1}}`) {
				requests = append(requests, request{body: []byte(body), deliveryID: delivery})
			}
		}
	}
	// Too long for the record's headers: only ce_id tells the id.
	return append(requests, request{body: []byte(`{"event_type":"email_sent","data":{"n":2}}`), deliveryID: strings.Repeat("y", 5000)})
}

// TestDedupeRebuild loses all that Redis knows. What is rebuilt is what was there, and repeating every request leaves
// no second record.
func TestDedupeRebuild(t *testing.T) { //nolint:tparallel // its parts run one after another
	t.Parallel() // it mostly waits
	for name, extra := range map[string][]string{
		"event_id":    {"SLUICE_DEDUPE_ID=event_id"},
		"delivery_id": {"SLUICE_DEDUPE_ID=delivery_id"},
		"one topic":   {"SLUICE_DEDUPE_ID=event_id", "SLUICE_TOPIC="},
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, env *testenv.Env) {
				extra := slices.Clone(extra)
				if len(extra) > 1 {
					extra[1] += env.Topic("all")
				}
				rebuildEverything(t, env, strings.TrimPrefix(extra[0], "SLUICE_DEDUPE_ID="), extra)
			})
		})
	}
}

func rebuildEverything(t *testing.T, env *testenv.Env, mode string, extra []string) {
	store := newRedisOf(t, env)
	requests := kinds(t, mode)
	s := serve(t, settings(env, extra...))
	for _, r := range requests {
		if a := r.insist(t, s.url); a.code != http.StatusOK {
			t.Fatalf("%.80q: %+v", r.body, a)
		}
	}
	if code := s.stop(); code != exitOK {
		t.Fatalf("exit code %d", code)
	}
	before, kept := store.all(), len(env.Records(t))
	if len(before) != kept || kept < 30 {
		t.Fatalf("%d marks of %d records", len(before), kept)
	}
	store.do("FLUSHALL")

	environ := rebuildSettingsOf(env, extra...)
	dry := rebuildRun(t.Context(), t, environ, "--dry-run", "-o", "json")
	if n := len(store.all()); n != 0 || dry.code != exitOK || dry.summary.Marked != int64(kept) || !dry.summary.DryRun {
		t.Errorf("dry run: code %d, %d marks written, %+v, %s", dry.code, n, dry.summary, dry.stderr)
	}
	for _, want := range []rebuildCounts{{Marked: int64(kept)}, {There: int64(kept)}} {
		got := rebuildRun(t.Context(), t, environ, "-o", "json")
		want.Records, want.IDs, want.Assumed = int64(kept), int64(kept), got.summary.Assumed
		if got.code != exitOK || !got.summary.Complete || got.summary.rebuildCounts != want {
			t.Errorf("code %d, %+v, want %+v; %s", got.code, got.summary, want, got.stderr)
		}
		if after := store.all(); !maps.Equal(before, after) {
			t.Errorf("before %v\nafter %v", before, after)
		}
	}
	for key := range before {
		if left := store.left(key); left < 191*time.Hour || left > 192*time.Hour {
			t.Errorf("%s has %v left", key, left)
		}
	}

	s = serve(t, settings(env, extra...))
	for _, r := range requests {
		if a := r.insist(t, s.url); a.Status != "duplicate" {
			t.Errorf("again: %.80q, delivery %.20q: %+v", r.body, r.deliveryID, a)
		}
	}
	if n := len(env.Records(t)); n != kept {
		t.Errorf("%d records, want %d", n, kept)
	}
}

// put appends a record as serve does, as far as rebuild looks at it.
func (w *tailWriter) put(topic string, at time.Time, id string, headers ...string) {
	w.Helper()
	r := &kgo.Record{Topic: topic, Timestamp: at, Value: fmt.Appendf(nil, `{"event_id":%q,"event_type":"email_sent"}`, id)}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, "=")
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: name, Value: []byte(value)})
	}
	if err := w.client.ProduceSync(w.Context(), r).FirstErr(); err != nil {
		w.Fatal(err)
	}
}

// What is marked as what, for how long, and what can't be marked.
func TestDedupeRebuildCounts(t *testing.T) {
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		w, store := newTailWriter(t, env, "email_sent", "dead_letter"), newRedisOf(t, env)
		sent, dead, now := env.Topic("email_sent"), env.Topic("dead_letter"), time.Now()
		const typed, reason = "event-type=email_sent", "sluice-reason=too_large"
		w.put(dead, now.Add(-5*time.Hour), "sent-on", typed, reason)
		w.put(sent, now.Add(-time.Hour), "sent-on", typed)
		w.put(dead, now.Add(-5*time.Hour), "dead", typed, reason)
		w.put(sent, now.Add(-300*time.Hour), "old", typed)
		w.put(sent, now.Add(-time.Hour), "foreign")
		w.put(sent, now.Add(-time.Hour), "there", typed)
		w.put(sent, now.Add(-time.Hour), "occupied", typed)
		store.put("there", "done")
		store.put("occupied", "hello")
		got := rebuildRun(t.Context(), t, rebuildSettingsOf(env), "--since", "400h", "-o", "json")
		want := rebuildCounts{Records: 7, IDs: 5, Marked: 3, Raised: 1, There: 1, TooOld: 1, Occupied: 1, Foreign: 1}
		if got.code != exitFailure || got.summary.rebuildCounts != want || got.summary.Complete || len(got.summary.Topics) != 2 {
			t.Errorf("code %d, %s\n%s", got.code, got.stdout, got.stderr)
		}
		if marks := store.all(); !maps.Equal(marks, map[string]string{
			"slu:sent-on": "done", "slu:dead": "done:dl", "slu:there": "done", "slu:occupied": "hello",
		}) {
			t.Errorf("marks %v", marks)
		}
		for id, age := range map[string]time.Duration{"sent-on": time.Hour, "dead": 5 * time.Hour} {
			left := store.left("slu:" + id)
			if want := 192*time.Hour - age; left > want || left < want-5*time.Minute {
				t.Errorf("%s has %v left, want %v", id, left, want)
			}
		}
		text := rebuildRun(t.Context(), t, rebuildSettingsOf(env), "--since", "400h", "--dry-run")
		for _, line := range []string{"2  topics", "7  records read since ", "0  missing; nothing was written", "4  already there", "1  too old", "1  keys hold"} {
			if !strings.Contains(text.stdout, line) {
				t.Errorf("%q isn't in\n%s", line, text.stdout)
			}
		}
	})
}

// TestDedupeRebuildRetention says from when on what the broker has deleted can't be marked.
func TestDedupeRebuildRetention(t *testing.T) {
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		w := newTailWriter(t, env, "email_sent", "email_opened", "push_sent")
		now := time.Now().UTC().Truncate(time.Second)
		client, err := kgo.NewClient(kgo.SeedBrokers(env.Brokers()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err != nil {
			t.Fatal(err)
		}
		w.client.Close()
		w.client = client
		t.Cleanup(client.Close)
		req := kmsg.NewPtrDeleteRecordsRequest()
		for topic, first := range map[string]int64{"email_sent": 2, "email_opened": 0, "push_sent": 3} {
			for hours := range 3 {
				w.put(env.Topic(topic), now.Add(time.Duration(hours-3)*time.Hour), fmt.Sprint(topic, hours), "event-type="+topic)
			}
			if first == 0 {
				continue
			}
			of := kmsg.NewDeleteRecordsRequestTopic()
			of.Topic = env.Topic(topic)
			p := kmsg.NewDeleteRecordsRequestTopicPartition()
			p.Offset = first
			of.Partitions = append(of.Partitions, p)
			req.Topics = append(req.Topics, of)
		}
		req.TimeoutMillis = 10_000
		if _, err := client.Request(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		got := rebuildRun(t.Context(), t, rebuildSettingsOf(env))
		if got.code != exitOK || !strings.Contains(got.stdout, env.Topic("email_sent")+" can't be repaired before "+now.Add(-time.Hour).Format(time.RFC3339)) ||
			!strings.Contains(got.stdout, env.Topic("push_sent")+" has a partition whose records have all been deleted") ||
			strings.Contains(got.stdout, env.Topic("email_opened")) || !strings.Contains(got.stdout, "4  marked\n") {
			t.Errorf("code %d, %s, %s", got.code, got.stdout, got.stderr)
		}
	})
}

// TestDedupeRebuildResume interrupts a run and goes on: every record is read once.
func TestDedupeRebuildResume(t *testing.T) {
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		w, store := newTailWriter(t, env, "email_sent", "push_sent"), newRedisOf(t, env)
		const events = 300
		for i := range events {
			w.write(env.Topic([]string{"email_sent", "push_sent"}[i%2]), "email_sent", fmt.Sprint("e", i))
		}
		environ, file := rebuildSettingsOf(env), filepath.Join(t.TempDir(), "rebuild.json")
		ctx, cancel := context.WithCancel(t.Context())
		interrupted := make(chan rebuilt, 1)
		go func() {
			interrupted <- rebuildRun(ctx, t, environ, "--rate", "100", "--checkpoint", file, "-o", "json")
		}()
		testenv.Eventually(t, 30*time.Second, func() error {
			if n := len(store.all()); n < 20 {
				return fmt.Errorf("%d marks", n)
			}
			return nil
		})
		cancel()
		first := <-interrupted
		if first.code != exitFailure || first.summary.Complete || !strings.Contains(first.stderr, "interrupted; --resume goes on from "+file) {
			t.Fatalf("code %d, %s, %s", first.code, first.stdout, first.stderr)
		}
		if n := first.summary.Records; n == 0 || n >= events || first.summary.Marked != n {
			t.Errorf("interrupted after %d records, %d marked", n, first.summary.Marked)
		}
		for text, args := range map[string][]string{
			"is there already":                    nil,
			"was made with another --dry-run":     {"--resume", "--dry-run"},
			"was made with another --since":       {"--resume", "--since", "1h"},
			"was made with another redis-prefix":  {"--resume", "--redis-prefix", "other:"},
			"was made with another dedupe-id":     {"--resume", "--dedupe-id", "delivery_id"},
			"was made with another topic":         {"--resume", "--topic", "x_{event_type}"},
			"was made with another kafka-brokers": {"--resume", "--kafka-brokers", "127.0.0.1:1"},
		} {
			got := rebuildRun(t.Context(), t, environ, append(args, "--checkpoint", file)...)
			if got.code != exitFailure || !strings.Contains(got.stderr, text) {
				t.Errorf("%q: code %d, %s", args, got.code, got.stderr)
			}
		}
		last := rebuildRun(t.Context(), t, environ, "--rate", "0", "--checkpoint", file, "--resume", "-o", "json")
		c := last.summary.rebuildCounts
		if last.code != exitOK || !last.summary.Complete || c.Records != events || c.Marked+c.There != events || !last.summary.Since.Equal(first.summary.Since) {
			t.Errorf("code %d, %s, %s", last.code, last.stdout, last.stderr)
		}
		if n := len(store.all()); n != events {
			t.Errorf("%d marks", n)
		}
		left, err := os.ReadDir(filepath.Dir(file))
		if err != nil || len(left) != 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
}

// TestDedupeRebuildPending runs beside instances that are handling events.
func TestDedupeRebuildPending(t *testing.T) {
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		const lease = "pending:live.0011223344556677.1"
		w, store := newTailWriter(t, env, "email_sent"), newRedisOf(t, env)
		for _, id := range []string{"kept", "let-go", "held"} {
			w.write(env.Topic("email_sent"), "email_sent", id)
			store.put(id, lease)
		}
		environ, file := rebuildSettingsOf(env), filepath.Join(t.TempDir(), "rebuild.json")
		// start waits until a run waits for the events.
		start := func(args ...string) (end func() rebuilt) {
			ctx, cancel := context.WithCancel(t.Context())
			said, result := &logWatch{}, make(chan int, 1)
			var out bytes.Buffer
			go func() {
				result <- run(ctx, append([]string{"dedupe", "rebuild", "--checkpoint", file}, args...), &process{environ: environ, stdout: &out, stderr: said})
			}()
			testenv.Eventually(t, 30*time.Second, func() error {
				if !strings.Contains(said.String(), "being handled by instances; waiting") {
					return errors.New("it doesn't wait")
				}
				return nil
			})
			return func() rebuilt {
				defer cancel()
				if slices.Contains(args, "--resume") {
					return rebuilt{code: <-result, stdout: out.String()}
				}
				cancel()
				return rebuilt{code: <-result, stdout: out.String()}
			}
		}

		end := start()
		if got := end(); got.code != exitFailure || !strings.Contains(got.stdout, "3  being handled by an instance") {
			t.Errorf("interrupted: code %d, %s", got.code, got.stdout)
		}
		for id, value := range store.all() {
			if value != lease {
				t.Errorf("%s holds %q", id, value)
			}
		}

		end = start("--resume")
		store.put("kept", "done")
		for _, id := range []string{"let-go", "held"} {
			store.do("DEL", "slu:"+id)
		}
		if got := end(); got.code != exitOK || !strings.Contains(got.stdout, "2  marked") || !strings.Contains(got.stdout, "1  already there") {
			t.Errorf("code %d, %s", got.code, got.stdout)
		}
		for id, value := range store.all() {
			if value != "done" {
				t.Errorf("%s holds %q", id, value)
			}
		}
	})
}
