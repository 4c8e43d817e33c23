package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/ingest/signature"
	"sluice/internal/testenv"
)

// subscribeOnce runs a subscribe that ends by itself.
func subscribeOnce(t *testing.T, environ []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, complaints bytes.Buffer
	code = run(ctx, append([]string{"subscribe"}, args...), &process{environ: environ, stdout: &out, stderr: &complaints})
	if ctx.Err() != nil {
		t.Errorf("%q doesn't end; it has printed %q and said %q", args, out.String(), complaints.String())
	}
	return code, out.String(), complaints.String()
}

func TestSubscribePrints(t *testing.T) { //nolint:tparallel // its parts run one after another
	t.Parallel() // it mostly waits
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		w := newTailWriter(t, env, "email_sent", "email_opened", "fax_sent", "dead_letter", "dead_letter_g")
		write := func(id string, topics ...string) {
			for _, topic := range topics {
				w.write(env.Topic(topic), topic, id+topic)
			}
		}
		write("1", "email_sent", "email_opened", "fax_sent", "dead_letter", "dead_letter_g")
		group := env.Topic("g") // groups are the cluster's
		expect := func(args string, want ...string) {
			t.Helper()
			code, out, said := subscribeOnce(t, tailSettings(env), append(strings.Fields(args), "-o", "raw", "--group", group)...)
			got := idsOf(t, out)
			slices.Sort(got)
			if code != exitOK || !slices.Equal(got, want) {
				t.Errorf("%s: code %d, got %q, want %q; it says %q", args, code, got, want, said)
			}
			if end := fmt.Sprintf("sluice: %d events in ", len(want)); !strings.Contains(said, end) {
				t.Errorf("%s: it says %q, want %q", args, said, end)
			}
		}
		expect("--no-follow email_*", "1email_opened", "1email_sent")
		expect("--no-follow email_*")
		write("2", "email_sent", "fax_sent")
		expect("--no-follow --unknown", "1fax_sent", "2email_sent", "2fax_sent") // not the group's dead letters
		expect("-n 1 dead-letter", "1dead_letter")
		expect("-n 1 dead-letter:g", "1dead_letter_g")
		expect("--no-follow --from latest email_opened push_sent")
	})
}

// webhook is a handler that notes what it has answered 2xx.
type webhook struct {
	*httptest.Server
	mu     sync.Mutex  // guards the rest
	ids    []string    // by ce_id, in the order of the answers
	where  []postPlace // of the same
	posted map[string]int
}

// postPlace is where a posted record is.
type postPlace struct{ topic, partition, key, offset string }

// newWebhook verifies every post, and answers the accepted ones as judge says; nil: 200.
func newWebhook(t *testing.T, key string, judge func(id string, post int) int) *webhook {
	t.Helper()
	verifier, err := signature.New([]signature.Key{{Name: "main", Secret: key}}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	h := &webhook{posted: make(map[string]int)}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if _, err := verifier.Verify(r.Header.Get("X-CIO-Timestamp"), r.Header.Get("X-CIO-Signature"), body, time.Now()); err != nil {
			t.Errorf("a post is refused: %v", err)
		}
		id := r.Header.Get("Ce-Id")
		if want := fmt.Sprintf(`{"event_id":%q}`, id); string(body) != want {
			t.Errorf("body %q, want %q", body, want)
		}
		h.mu.Lock()
		h.posted[id]++
		post := h.posted[id]
		h.mu.Unlock()
		code := http.StatusOK
		if judge != nil {
			code = judge(id, post)
		}
		if code == http.StatusOK {
			h.mu.Lock()
			h.ids = append(h.ids, id)
			h.where = append(h.where, postPlace{
				r.Header.Get("Sluice-Topic"), r.Header.Get("Sluice-Partition"), strings.Split(id, "-")[0], r.Header.Get("Sluice-Offset"),
			})
			h.mu.Unlock()
		}
		w.WriteHeader(code)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *webhook) accepted() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.ids)
}

const webhookKey = "0123456789abcdef"

func TestSubscribePosts(t *testing.T) { //nolint:tparallel // its parts run one after another
	t.Parallel() // it mostly waits
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		w := newTailWriter(t, env, "email_sent")
		topic := env.Topic("email_sent")
		for _, id := range []string{"a", "bad", "c", "flaky", "e"} {
			w.write(topic, "email_sent", id)
		}
		h := newWebhook(t, webhookKey, func(id string, post int) int {
			if id == "bad" || id == "flaky" && post == 1 {
				return http.StatusUnprocessableEntity
			}
			return http.StatusOK
		})
		environ := tailSettings(env, "SLUICE_SIGNING_KEYS=old=other-0123456789,main="+webhookKey, "SLUICE_PARTITIONS=1", "SLUICE_REPLICATION=1")
		group := env.Topic("my group")
		code, out, said := subscribeOnce(t, environ, "email_sent", "--group", group, "--http", h.URL, "--sign-with", "main",
			"--attempts", "2", "--max-wait", "10ms", "-n", "5")
		dead := env.Topic("dead_letter_" + env.Topic("my-group"))
		want := "5 events in "
		if code != exitOK || out != "" || !strings.Contains(said, want) ||
			!strings.Contains(said, ": 4 accepted, 3 posts failed, 1 given up: they are on "+dead+"\n") {
			t.Errorf("code %d, printed %q, said %q", code, out, said)
		}
		if got := slices.Sorted(slices.Values(h.accepted())); !slices.Equal(got, []string{"a", "c", "e", "flaky"}) {
			t.Errorf("accepted %q", got)
		}
		letters := env.Records(t, dead)
		if len(letters) != 1 {
			t.Fatalf("%d dead letters", len(letters))
		}
		got := map[string]string{"key": string(letters[0].Key), "value": string(letters[0].Value)}
		for _, h := range letters[0].Headers {
			if !strings.Contains(h.Name, "time") && h.Name != "sluice-origin-partition" && h.Name != "sluice-origin-offset" {
				got[h.Name] = string(h.Value)
			}
		}
		if want := map[string]string{
			"key": "bad", "value": `{"event_id":"bad"}`, "event-type": "email_sent", "ce_id": "bad",
			"sluice-reason": "http_422", "sluice-step": "subscribe", "sluice-error": "the handler answered 422",
			"sluice-group": group, "sluice-attempts": "2", "sluice-origin-topic": topic,
		}; !maps.Equal(got, want) {
			t.Errorf("dead letter %q, want %q", got, want)
		}
		// All of it is committed.
		if code, _, said := subscribeOnce(t, environ, "email_sent", "--group", group, "--no-follow"); code != exitOK || !strings.Contains(said, "sluice: 0 events in ") {
			t.Errorf("again: code %d, %q", code, said)
		}
	})
}

// Without the right or the permission to create the topic for what is given up, nothing is posted.
func TestSubscribeNeedsItsDeadLetterTopic(t *testing.T) {
	env := testenv.Fake(t)
	w := newTailWriter(t, env, "email_sent")
	w.write(env.Topic("email_sent"), "email_sent", "a")
	h := newWebhook(t, webhookKey, nil)
	environ := tailSettings(env, "SLUICE_SIGNING_KEYS="+webhookKey, "SLUICE_CREATE_TOPICS=false")
	code, _, said := subscribeOnce(t, environ, "--group", "g", "--http", h.URL, "--no-follow")
	if code != exitFailure || !strings.Contains(said, "dead_letter_g: creating topics is switched off; create it, name another with --group-dead-letter") {
		t.Errorf("code %d, %q", code, said)
	}
	code, _, said = subscribeOnce(t, environ, "--group", "g", "--http", h.URL, "--no-follow", "--attempts", "0")
	if code != exitOK || len(h.accepted()) != 1 {
		t.Errorf("without end: code %d, %q, accepted %q", code, said, h.accepted())
	}
}
