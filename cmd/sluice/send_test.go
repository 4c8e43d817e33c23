package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/sender"
	"sluice/internal/testenv"
)

// sent is what "sluice send" did.
type sent struct {
	code           int
	stdout, stderr string
}

func runSend(ctx context.Context, stdin io.Reader, args ...string) sent {
	var stdout, stderr bytes.Buffer
	code := run(ctx, append([]string{"send"}, args...), &process{
		environ: []string{"SLUICE_SIGNING_KEYS=test=" + testKey + ",strange=no-such-key-at-all"},
		stdin:   stdin, stdout: &stdout, stderr: &stderr,
	})
	return sent{code, stdout.String(), stderr.String()}
}

// TestSendToServe sends odd events and repeats to a real sluice, and compares the ledger with the topics: each event of
// the one is one record of the other.
func TestSendToServe(t *testing.T) {
	env := testenv.Fake(t)
	s := serve(t, settings(env))
	path := filepath.Join(t.TempDir(), "sent.ndjson")
	g, err := sender.NewGenerator(sender.GeneratorOptions{Odd: true})
	if err != nil {
		t.Fatal(err)
	}
	count := 2 * g.Pass()
	got := runSend(t.Context(), nil, "--url", s.url, "--odd", "-n", fmt.Sprint(count), "--duplicates", "30%", "--concurrency", "4", "--ledger", path, "-o", "json")
	if got.code != exitOK {
		t.Fatalf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
	}
	var sum sender.Summary
	if err := json.Unmarshal([]byte(got.stdout), &sum); err != nil {
		t.Fatalf("%v in %s", err, got.stdout)
	}
	if sum.Events != int64(count) || sum.Acknowledged != sum.Events || sum.Repeats != int64(count*3/10) || sum.Latency.Max == 0 || sum.Answers["published"]+sum.Answers["dead_lettered"] != sum.Events {
		t.Errorf("%+v", sum)
	}

	want := map[string]sender.Entry{}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for e, err := range sender.ReadLedger(file) {
		if err != nil {
			t.Fatal(err)
		}
		if !e.Acknowledged || e.Code != http.StatusOK || (e.Answer == "dead_lettered") != (e.EventType == "") {
			t.Errorf("%+v", e)
		}
		want[e.SHA256] = e
	}
	if len(want) != count {
		t.Errorf("%d events in the ledger, want %d", len(want), count)
	}
	for _, r := range env.Records(t) {
		sum := sha256.Sum256(r.Value)
		e, ok := want[hex.EncodeToString(sum[:])]
		topic := e.EventType
		if topic == "" {
			topic = "dead_letter"
		}
		if !ok || r.Topic != env.Topic(topic) || e.Bytes != len(r.Value) {
			t.Errorf("on %s, unexpected or doubled: %.100q", r.Topic, r.Value)
		}
		delete(want, e.SHA256)
	}
	for _, e := range want {
		t.Errorf("acknowledged and not there: %+v", e)
	}
}

func TestSendFromStdin(t *testing.T) {
	env := testenv.Fake(t)
	s := serve(t, settings(env))
	const a, b = `{"event_id":"in-a","event_type":"email_sent"}`, `{"event_id":"in-b","event_type":"push_sent"}`
	got := runSend(t.Context(), strings.NewReader(a+"\n"+b), "-", "--url", s.url)
	if got.code != exitOK || !strings.Contains(got.stdout, "2 sent, 2 acknowledged, 0 not") {
		t.Errorf("%+v", got)
	}
	bodies := map[string]int{}
	for _, r := range env.Records(t) {
		bodies[string(r.Value)]++
	}
	if len(bodies) != 2 || bodies[a] != 1 || bodies[b] != 1 {
		t.Errorf("records %v", bodies)
	}
}

// TestSendWithWrongKey: nothing is acknowledged, the reason is given once, and the exit code tells.
func TestSendWithWrongKey(t *testing.T) {
	s := serve(t, settings(testenv.Fake(t)))
	got := runSend(t.Context(), nil, "--url", s.url, "--sign-with", "strange", "--first-wait", "1ms", "--max-wait", "1ms", "--retry-for", "20ms")
	if got.code != exitFailure || strings.Count(got.stderr, "401: ") != 1 || !strings.Contains(got.stderr, "key strange") || !strings.Contains(got.stderr, "1 of 1 events not acknowledged: ") {
		t.Errorf("%+v", got)
	}
	if got := runSend(t.Context(), nil, "--url", s.url, "--sign-with", "none"); got.code != exitUsage || !strings.Contains(got.stderr, "but test, strange") {
		t.Errorf("%+v", got)
	}
}

// TestSendNamesWhatIsMissing: some events are acknowledged and some never.
func TestSendNamesWhatIsMissing(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); bytes.Contains(body, []byte("bad")) {
			w.WriteHeader(413)
		}
	}))
	defer server.Close()
	var input strings.Builder
	for i := range 7 {
		fmt.Fprintf(&input, "{\"event_id\":\"bad-%d\"}\n{\"event_id\":\"good-%d\"}\n", i, i)
	}
	got := runSend(t.Context(), strings.NewReader(input.String()), "-", "--url", server.URL, "--first-wait", "1ms", "--retry-for", "1ms")
	if got.code != exitFailure || !strings.Contains(got.stderr, "7 of 14 events not acknowledged: bad-0, bad-1, bad-2, bad-3, bad-4 and 2 more") || strings.Count(got.stderr, "413: ") != 1 {
		t.Errorf("%+v", got)
	}
}

func TestSendInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	posts := 0
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if posts++; posts == 3 {
			cancel()
		}
	}))
	defer server.Close()
	got := runSend(ctx, nil, "--url", server.URL, "-n", "0")
	if got.code != exitOK || !strings.Contains(got.stdout, "3 sent, 3 acknowledged, 0 not") {
		t.Errorf("%+v", got)
	}
}

func TestSendReportsItsInput(t *testing.T) {
	got := runSend(t.Context(), nil, filepath.Join(t.TempDir(), "none.json"))
	if got.code != exitFailure || !strings.Contains(got.stderr, "none.json") || !strings.Contains(got.stdout, "0 sent") {
		t.Errorf("%+v", got)
	}
	got = runSend(t.Context(), nil, "--ledger", t.TempDir())
	if got.code != exitFailure || got.stdout != "" || !strings.Contains(got.stderr, "opening the ledger") {
		t.Errorf("%+v", got)
	}
}

func TestSendAdvice(t *testing.T) {
	a := sendAdvice{url: "http://x/hook", keyName: "main", timeout: time.Second}
	for _, x := range []struct {
		answer sender.Answer
		says   string
	}{
		{sender.Answer{Err: fmt.Errorf("posting: %w", syscall.ECONNREFUSED)}, "Is sluice running"},
		{sender.Answer{Err: context.DeadlineExceeded}, "within 1s"},
		{sender.Answer{Err: io.EOF}, "EOF"},
		{sender.Answer{Code: 401}, "key main"},
		{sender.Answer{Code: 404}, "/webhook"},
		{sender.Answer{Code: 413}, "max-body"},
		{sender.Answer{Code: 503}, "Kafka or Redis"},
		{sender.Answer{Code: 418}, "418"},
	} {
		if got := a.on(x.answer); !strings.Contains(got, x.says) {
			t.Errorf("%+v: %q, want %q", x.answer, got, x.says)
		}
		if got := a.on(x.answer); got != "" {
			t.Errorf("%+v: %q again", x.answer, got)
		}
	}
}

func TestShare(t *testing.T) {
	for text, want := range map[string]share{"0": 0, "0.1": 0.1, "10%": 0.1, "100%": 1, "1": 1} {
		var got share
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "%", "1.1", "101%", "-0.1", "NaN", "10 %"} {
		var got share
		if err := got.UnmarshalText([]byte(text)); !errors.Is(err, errShare) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func TestSendProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		lines := newSendProgress(&out, 0)
		stop := lines.start(func() sender.Progress {
			return sender.Progress{Sent: 1200, Acknowledged: 1198, Failed: 3, GivenUp: 1}
		})
		<-time.After(11 * time.Second)
		stop()
		const line = "sent 1,200 acknowledged 1,198 failed posts 3 given up 1\n"
		if out.String() != line+line {
			t.Errorf("%q", out.String())
		}
	})
}

// TestSendBar: what is said is shown above the bar, also when the run is over at once.
func TestSendBar(t *testing.T) {
	var out bytes.Buffer
	bar := newSendBar(&out, 2)
	stop := bar.start(func() sender.Progress { return sender.Progress{Sent: 2, Acknowledged: 2} })
	bar.say("100% strange")
	stop()
	if text := out.String(); !strings.Contains(text, "100% strange\n") || !strings.Contains(text, "sent 2 acknowledged 2") {
		t.Errorf("%q", text)
	}
}
