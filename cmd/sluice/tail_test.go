package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/stream"
	"sluice/internal/testenv"
)

// tailSettings are the settings that tail uses, for the test's servers.
func tailSettings(env *testenv.Env, extra ...string) []string {
	return append([]string{
		"SLUICE_KAFKA_BROKERS=" + strings.Join(env.Brokers(), ","), "SLUICE_TOPIC=" + env.Topic(`{event_type}`),
		"SLUICE_DEAD_LETTER_TOPIC=" + env.Topic("dead_letter"), "SLUICE_OVERFLOW_TOPIC=" + env.Topic("other"),
	}, extra...)
}

// tailOnce runs a tail that ends by itself.
func tailOnce(t *testing.T, environ []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var out, complaints bytes.Buffer
	code = run(ctx, append([]string{"tail"}, args...), &process{environ: environ, stdout: &out, stderr: &complaints})
	if ctx.Err() != nil {
		t.Errorf("%q doesn't end; it has printed %q", args, out.String())
	}
	return code, out.String(), complaints.String()
}

// tailWriter writes events as serve does, as far as tail looks at them.
type tailWriter struct {
	*testing.T
	client *kgo.Client
	time   time.Time
}

func newTailWriter(t *testing.T, env *testenv.Env, topics ...string) *tailWriter {
	t.Helper()
	for _, topic := range topics {
		createTopic(t, env, env.Topic(topic))
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(env.Brokers()...), kgo.MetadataMinAge(10*time.Millisecond), kgo.UnknownTopicRetries(-1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return &tailWriter{T: t, client: client, time: time.Now().Add(-time.Hour).Truncate(time.Second)}
}

func createTopic(t *testing.T, env *testenv.Env, name string) {
	t.Helper()
	env.Kafka.(interface {
		CreateTopic(t testing.TB, name string, partitions int, config map[string]string)
	}).CreateTopic(t, name, 2, nil)
}

// write appends an event a second later than the one before.
func (w *tailWriter) write(topic, eventType, id string) {
	w.Helper()
	w.writeFor(topic, eventType, id, id)
}

// writeFor is write for an event with a key.
func (w *tailWriter) writeFor(topic, eventType, id, key string) {
	w.Helper()
	w.time = w.time.Add(time.Second)
	ctx, cancel := context.WithTimeout(w.Context(), 30*time.Second)
	defer cancel()
	err := w.client.ProduceSync(ctx, &kgo.Record{
		Topic: topic, Timestamp: w.time, Key: []byte(key), Value: fmt.Appendf(nil, `{"event_id":%q}`, id),
		Headers: []kgo.RecordHeader{{Key: "event-type", Value: []byte(eventType)}, {Key: "ce_id", Value: []byte(id)}},
	}).FirstErr()
	if err != nil {
		w.Fatal(err)
	}
}

// idsOf are the event ids of raw output.
func idsOf(t *testing.T, raw string) (ids []string) {
	t.Helper()
	for line := range strings.Lines(raw) {
		var body struct {
			ID string `json:"event_id"`
		}
		if err := json.Unmarshal([]byte(line), &body); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		ids = append(ids, body.ID)
	}
	return ids
}

func TestTail(t *testing.T) { //nolint:tparallel // its parts run one after another
	t.Parallel() // it mostly waits
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		w := newTailWriter(t, env, "email_sent", "email_opened", "fax_sent", "other", "dead_letter", "push_sent")
		begin := w.time
		for i, topic := range []string{"email_sent", "email_opened", "fax_sent", "other", "dead_letter", "email_sent"} {
			eventType := topic
			if topic == "other" {
				eventType = "rare_sent"
			}
			w.write(env.Topic(topic), eventType, fmt.Sprint(i))
		}
		at := func(seconds int) string {
			return begin.Add(time.Duration(seconds) * time.Second).UTC().Format(time.RFC3339)
		}
		for _, test := range []struct {
			args, want string
		}{
			{"--no-follow", "0 1 5"},
			{"--no-follow --unknown", "0 1 2 3 5"},
			{"--no-follow --unknown --dead-letter", "0 1 2 3 4 5"},
			{"--no-follow --dead-letter email_opened", "1 4"},
			{"--no-follow dead-letter", "4"},
			{"--no-follow fax_sent", "2"},
			{"--no-follow *_sent", "0 2 5"},
			{"--no-follow push_sent", ""},
			{"--no-follow sms_sent", ""},
			{"-n 2", "1 5"},
			{"-n 2 --unknown", "3 5"},
			{"-n 100 email_sent", "0 5"},
			{"--no-follow --since " + at(2), "1 5"},
			{"--until " + at(2), "0 1"},
			{"--unknown --since " + at(3) + " --until " + at(4), "2 3"},
			{"--no-follow --since 59m", ""},
			{"--no-follow --since 2h", "0 1 5"},
		} {
			t.Run(test.args, func(t *testing.T) {
				code, out, complaints := tailOnce(t, tailSettings(env), append(strings.Fields(test.args), "-o", "raw")...)
				if got := strings.Join(idsOf(t, out), " "); code != exitOK || got != test.want || complaints != "" {
					t.Errorf("code %d, got %q, want %q; it complains %q", code, got, test.want, complaints)
				}
			})
		}

		code, out, _ := tailOnce(t, tailSettings(env), "-n", "1")
		record, err := stream.ParseLine([]byte(out))
		if code != exitOK || err != nil || record.Topic != env.Topic("email_sent") || string(record.Value) != `{"event_id":"5"}` || record.Header("ce_id") != "5" {
			t.Errorf("code %d, record %+v, error %v", code, record, err)
		}
		if code, out, _ = tailOnce(t, tailSettings(env), "-n", "1", "-o", "pretty"); code != exitOK || !strings.Contains(out, "email_sent          5           5  ") {
			t.Errorf("code %d, got %q", code, out)
		}
		code, out, complaints := tailOnce(t, tailSettings(env), "--no-follow", "emial_sent")
		if code != exitFailure || out != "" || !strings.Contains(complaints, "did you mean email_sent") {
			t.Errorf("code %d, got %q, it complains %q", code, out, complaints)
		}
	})
}

func TestTailOfASingleTopic(t *testing.T) {
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		w := newTailWriter(t, env, "all")
		for i, eventType := range []string{"email_sent", "email_opened", "fax_sent", "email_sent"} {
			w.write(env.Topic("all"), eventType, fmt.Sprint(i))
		}
		for args, want := range map[string]string{
			"--no-follow":            "0 1 3",
			"--no-follow email_sent": "0 3",
			"-n 1 email_opened":      "1",
			"--no-follow fax_*":      "2",
			"-n 2 --unknown":         "2 3",
		} {
			code, out, _ := tailOnce(t, tailSettings(env, "SLUICE_TOPIC="+env.Topic("all")), append(strings.Fields(args), "-o", "raw")...)
			if got := strings.Join(idsOf(t, out), " "); code != exitOK || got != want {
				t.Errorf("%s: code %d, got %q, want %q", args, code, got, want)
			}
		}
	})
}

// watched is a writer whose text can be waited for.
type watched struct {
	mu   sync.Mutex
	text strings.Builder
}

func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(b)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

func (w *watched) await(t *testing.T, want string) {
	t.Helper()
	testenv.Eventually(t, 30*time.Second, func() error {
		if !strings.Contains(w.String(), want) {
			return fmt.Errorf("no %q in %q", want, w)
		}
		return nil
	})
}

func TestTailFollows(t *testing.T) { //nolint:tparallel // its parts run one after another
	t.Parallel() // it mostly waits
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		w := newTailWriter(t, env, "email_sent")
		w.write(env.Topic("email_sent"), "email_sent", "old")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var out, complaints watched
		code := make(chan int, 1)
		go func() {
			code <- run(ctx, []string{"tail", "email_*", "novel_sent", "-o", "raw"},
				&process{environ: tailSettings(env), stdout: &out, stderr: &complaints})
		}()
		complaints.await(t, "Ctrl-C ends\n")
		if want := `no topic for event type "novel_sent" yet`; !strings.Contains(complaints.String(), want) {
			t.Errorf("no %q in %q", want, &complaints)
		}
		w.write(env.Topic("email_sent"), "email_sent", "new")
		out.await(t, `{"event_id":"new"}`+"\n")
		for _, eventType := range []string{"novel_sent", "email_novel"} {
			createTopic(t, env, env.Topic(eventType))
			w.write(env.Topic(eventType), eventType, eventType)
			out.await(t, eventType)
		}
		cancel()
		if c := <-code; c != exitOK {
			t.Errorf("exit code %d: %s", c, &complaints)
		}
		if got := idsOf(t, out.String()); !slices.Equal(got, []string{"new", "novel_sent", "email_novel"}) {
			t.Errorf("got %q", got)
		}
	})
}

// closedPipe fails as a write to a pipe that nobody reads.
type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) {
	return 0, &os.PathError{Op: "write", Path: "|1", Err: syscall.EPIPE}
}

func TestTailWithoutAReader(t *testing.T) {
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		w := newTailWriter(t, env, "email_sent")
		w.write(env.Topic("email_sent"), "email_sent", "1")
		for _, test := range []struct {
			stdout io.Writer
			want   int
		}{{closedPipe{}, exitOK}, {brokenWriter{}, exitFailure}} {
			var complaints bytes.Buffer
			// It follows, and is to end all the same.
			code := run(t.Context(), []string{"tail", "--since", "2h"}, &process{environ: tailSettings(env), stdout: test.stdout, stderr: &complaints})
			quiet := !strings.Contains(complaints.String(), "printing") && !strings.Contains(complaints.String(), "closed")
			if code != test.want || quiet != (test.want == exitOK) {
				t.Errorf("%T: code %d, want %d; it complains %q", test.stdout, code, test.want, complaints.String())
			}
		}
	})
}

// TestTailIntoHead runs the real program into a pipe that is closed after a line: the system would end it by a signal.
func TestTailIntoHead(t *testing.T) {
	env := testenv.Fake(t)
	w := newTailWriter(t, env, "email_sent")
	for i := range 20 {
		w.write(env.Topic("email_sent"), "email_sent", fmt.Sprint(i))
	}
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := commandOf(t, testenv.Binary(t, "./cmd/sluice"), tailSettings(env), "tail", "--since", "2h", "-o", "raw")
	cmd.Stdout = out
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(in, make([]byte, 10)); err != nil {
		t.Error(err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range 20 { // until one of them can't be written
		w.write(env.Topic("email_sent"), "email_sent", fmt.Sprint(i))
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ends with %v: %s", err, complaints.String())
	}
}
