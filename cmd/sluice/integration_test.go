package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/ingest/signature"
	"sluice/internal/testenv"
)

var errUnavailable = errors.New("503")

// TestEveryBodyOnce posts each body three times, twice of them at once, and
// looks for it with an independent reader: once, byte for byte, on its topic.
func TestEveryBodyOnce(t *testing.T) { //nolint:tparallel // its parts run one after another
	t.Parallel() // it mostly waits
	for name, load := range map[string]func(*testing.T) []sample{"own": ownSamples, "corpus": corpus} {
		t.Run(name, func(t *testing.T) {
			samples := load(t)
			onBoth(t, func(t *testing.T, env *testenv.Env) { everyBodyOnce(t, env, samples) })
		})
	}
}

func everyBodyOnce(t *testing.T, env *testenv.Env, samples []sample) {
	s := serve(t, settings(env, "SLUICE_SIGNATURE_TOLERANCE=1000000h"))
	type place struct{ topic, body string }
	want := map[place]bool{}
	seen := map[string]bool{}
	for _, x := range samples {
		status, topic := "published", env.Topic(x.eventType)
		if x.eventType == "" {
			status, topic = "dead_lettered", env.Topic("dead_letter")
		}
		r := request{body: x.body, timestamp: x.timestamp}
		if x.sig != "" {
			r.signature = &x.sig
		}
		if id := x.id; id != "" && seen[id] {
			status = "duplicate" // another copy of an event that is kept
		} else {
			seen[id] = id != ""
			want[place{topic, string(x.body)}] = true
		}
		a := r.insist(t, s.url)
		if a.code != http.StatusOK || a.Status != status || x.eventType != "" && (a.EventID != x.id || a.EventType != x.eventType) {
			t.Errorf("%s: %+v, want 200 %s", x.name, a, status)
		}
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if a := r.insist(t, s.url); a.code != http.StatusOK || a.Status != "duplicate" {
					t.Errorf("%s again: %+v, want a duplicate", x.name, a)
				}
			})
		}
		wg.Wait()
	}
	for _, r := range env.Records(t) {
		p := place{r.Topic, string(r.Value)}
		if !want[p] {
			t.Errorf("unexpected or doubled record on %s: %.80q", r.Topic, r.Value)
		}
		delete(want, p)
	}
	for p := range want {
		t.Errorf("missing on %s: %.80q", p.topic, p.body)
	}
	if code := s.stop(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

func TestSignaturesAreRequired(t *testing.T) { //nolint:tparallel // its parts run one after another
	t.Parallel() // it mostly waits
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		s := serve(t, settings(env))
		body := []byte(`{"event_id":"sig","event_type":"email_sent"}`)
		now := strconv.FormatInt(time.Now().Unix(), 10)
		good := signature.Sign(testKey, now, body)
		text := func(s string) *string { return &s }
		long := strconv.FormatInt(time.Now().Add(-300*time.Hour).Unix(), 10)
		for name, r := range map[string]request{
			"wrong key":         {key: "wrong"},
			"missing":           {signature: text("")},
			"prefixed":          {signature: text("v0=" + good), timestamp: now},
			"upper case":        {signature: text(strings.ToUpper(good)), timestamp: now},
			"re-timed":          {signature: &good, timestamp: now + "0"},
			"stale":             {timestamp: long},
			"from the future":   {timestamp: strconv.FormatInt(time.Now().Add(300*time.Hour).Unix(), 10)},
			"timestamp missing": {timestamp: " "},
			"other body":        {signature: text(signature.Sign(testKey, now, append(body, ' '))), timestamp: now},
		} {
			r.body = body
			if a := r.must(t, s.url); a.code != http.StatusUnauthorized || a.Status != "refused" || a.Reason == "" {
				t.Errorf("%s: %+v, want 401", name, a)
			}
		}
		if got := env.Records(t); len(got) != 0 {
			t.Errorf("%d records left by refused requests", len(got))
		}
		for i, key := range []string{testKey, "another-key-0002"} {
			body := fmt.Appendf(nil, `{"event_id":"sig%d","event_type":"email_sent"}`, i)
			if a := (request{body: body, key: key}).insist(t, s.url); a.code != http.StatusOK {
				t.Errorf("key %d: %+v", i, a)
			}
		}
	})
}

// TestDeliveryIDIsNoIdentity: one message's events share a delivery id and are
// all kept; one event is a duplicate under whatever delivery id it comes.
func TestDeliveryIDIsNoIdentity(t *testing.T) {
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		s := serve(t, settings(env))
		for _, metric := range []string{"sent", "delivered", "opened", "clicked"} {
			body := fmt.Appendf(nil, `{"event_id":"e-%s","object_type":"email","metric":%q,"data":{"delivery_id":"D"}}`, metric, metric)
			if a := (request{body: body, deliveryID: "D"}).insist(t, s.url); a.Status != "published" {
				t.Errorf("%s: %+v", metric, a)
			}
			if a := (request{body: body, deliveryID: "E"}).insist(t, s.url); a.Status != "duplicate" {
				t.Errorf("%s under another delivery id: %+v", metric, a)
			}
		}
		// Without an event_id the header alone doesn't make a duplicate either.
		for i := range 2 {
			body := fmt.Appendf(nil, `{"event_type":"email_sent","data":{"n":%d}}`, i)
			if a := (request{body: body, deliveryID: "D"}).insist(t, s.url); a.Status != "published" {
				t.Errorf("without event_id, body %d: %+v", i, a)
			}
		}
		if n := len(env.Records(t)); n != 6 {
			t.Errorf("%d records, want 6", n)
		}
	})
}

func TestLiteralDeliveryID(t *testing.T) {
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		s := serve(t, settings(env, "SLUICE_DEDUPE_ID=delivery_id"))
		for i, want := range []string{"published", "duplicate"} {
			body := fmt.Appendf(nil, `{"event_id":"lit-%d","event_type":"email_sent"}`, i)
			if a := (request{body: body, deliveryID: "D"}).insist(t, s.url); a.Status != want {
				t.Errorf("event %d under the same delivery id: %+v, want %s", i, a, want)
			}
		}
		body := []byte(`{"event_id":"lit-0","event_type":"email_sent"}`)
		if a := (request{body: body, deliveryID: "E"}).insist(t, s.url); a.Status != "published" {
			t.Errorf("the same event under another delivery id: %+v", a)
		}
	})
}

func TestSingleTopicMode(t *testing.T) {
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		s := serve(t, settings(env, "SLUICE_TOPIC="+env.Topic("all"), "SLUICE_KEY=event_type"))
		for _, typ := range []string{"email_sent", "push_opened", "line_sent"} {
			request{body: fmt.Appendf(nil, `{"event_id":"one-%s","event_type":%q,"data":{"identifiers":{"id":"c"}}}`, typ, typ)}.insist(t, s.url)
		}
		got := env.Records(t, env.Topic("all"))
		for _, r := range got {
			if typ, _ := r.Header("event-type"); string(r.Key) != typ || typ == "" {
				t.Errorf("key %q, event type %q", r.Key, typ)
			}
		}
		if len(got) != 3 {
			t.Errorf("%d records, want 3", len(got))
		}
	})
}

func TestAnswersToWhatIsNoWebhook(t *testing.T) {
	env := testenv.Fake(t)
	s := serve(t, settings(env, "SLUICE_MAX_BODY=64KiB"))
	base := strings.TrimSuffix(s.url, "/webhook")
	for _, x := range []struct {
		method, url string
		code        int
	}{
		{http.MethodGet, s.url, 405},
		{http.MethodHead, s.url, 405},
		{http.MethodPut, s.url, 405},
		{http.MethodPost, base + "/", 404},
		{http.MethodGet, base + "/metrics", 404},
		{http.MethodGet, s.admin + "/livez", 200},
		{http.MethodGet, s.admin + "/readyz", 200},
		{http.MethodGet, s.admin + "/metrics", 200},
		{http.MethodGet, s.admin + "/asyncapi.yaml", 200},
		{http.MethodGet, s.admin + "/", 200},
	} {
		req, err := http.NewRequestWithContext(t.Context(), x.method, x.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != x.code {
			t.Errorf("%s %s: %d, want %d", x.method, x.url, res.StatusCode, x.code)
		}
	}
	if a := (request{body: bytes.Repeat([]byte("x"), 64<<10+1)}).must(t, s.url); a.code != http.StatusRequestEntityTooLarge {
		t.Errorf("oversized: %+v", a)
	}
	if a := (request{body: bytes.Repeat([]byte("x"), 64<<10)}).insist(t, s.url); a.Status != "dead_lettered" {
		t.Errorf("at the limit: %+v", a)
	}
}

// TestLargeBodies sends bodies up to the default limit: the topics that Sluice
// creates have to take them.
func TestLargeBodies(t *testing.T) {
	env := testenv.Real(t)
	s := serve(t, settings(env))
	var total int
	for _, size := range []int{1 << 20, 2 << 20, 8<<20 - 100} {
		body := fmt.Appendf(nil, `{"event_id":"big%d","event_type":"email_sent","data":{"content":"%s"}}`, size, bytes.Repeat([]byte("x"), size))
		body = body[:min(len(body), 8<<20)]
		if a := (request{body: body}).insist(t, s.url); a.code != http.StatusOK {
			t.Errorf("%d bytes: %+v", len(body), a)
		}
		total += len(body)
	}
	sum := 0
	for _, r := range env.Records(t) {
		sum += len(r.Value)
	}
	if sum != total {
		t.Errorf("%d bytes in the topics, want %d", sum, total)
	}
}
