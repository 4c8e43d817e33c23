package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/dedupe"
	"sluice/ingest/signature"
	"sluice/internal/testenv"
)

var updateExplain = flag.Bool("update-explain", false, "rewrite the golden files of explain")

const (
	explainAt   = "1767225600"
	explainBody = `{"event_id":"01JZW2","object_type":"email","metric":"opened","timestamp":1767225600,"data":{"identifiers":{"id":"42"}}}`
)

// explained is what a run of explain printed.
type explained struct {
	code           int
	stdout, stderr string
}

func runExplain(environ []string, stdin string, args ...string) explained {
	var stdout, stderr bytes.Buffer
	code := run(context.Background(), append([]string{"explain"}, args...), &process{
		environ: environ, stdin: strings.NewReader(stdin), stdout: &stdout, stderr: &stderr,
	})
	return explained{code, stdout.String(), stderr.String()}
}

func explainEnviron(extra ...string) []string {
	return append([]string{"SLUICE_SIGNING_KEYS=main=" + testKey + ",old=another-key-0002", "SLUICE_INSTANCE=here"}, extra...)
}

// signedHeaders are the flags of a body that is signed well.
func signedHeaders(body string) []string {
	return []string{"-H", "X-CIO-Timestamp: " + explainAt, "-H", "x-cio-signature: " + signature.Sign(testKey, explainAt, []byte(body)), "--at", explainAt}
}

func TestExplain(t *testing.T) {
	env := testenv.Fake(t)
	d, err := dedupe.New(dedupe.Options{URL: env.RedisURL(), Instance: "eu-1", Timeout: 10 * time.Second, ClaimTimeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"held", "kept", "dead"} {
		c, err := d.Claim(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		switch id {
		case "kept":
			c.Confirm()
		case "dead":
			c.ConfirmDeadLetter()
		}
	}
	if err := d.Close(t.Context()); err != nil { // it leaves the lease
		t.Fatal(err)
	}

	withID := func(id string) string { return strings.Replace(explainBody, "01JZW2", id, 1) }
	redis := "SLUICE_REDIS_URL=" + env.RedisURL()
	curl := "key=" + testKey + "\ncurl -sS http://127.0.0.1:8080/webhook -H 'X-CIO-Timestamp: " + explainAt + "' -H 'X-CIO-Signature: " +
		signature.Sign(testKey, explainAt, []byte(explainBody)) + "' -d '" + explainBody + "'"
	file := filepath.Join(t.TempDir(), "pretty.json")
	pretty := "{\n \"metric\" :\t\"sent\"\n}\n"
	if err := os.WriteFile(file, []byte(pretty), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		stdin   string
		args    []string // after "-"
		environ []string
		code    int
	}{
		{name: "accepted", stdin: explainBody, args: signedHeaders(explainBody)},
		{name: "accepted_json", stdin: explainBody, args: append(signedHeaders(explainBody), "-ojson")},
		{name: "no_headers", stdin: explainBody},
		{name: "no_key", stdin: explainBody, args: signedHeaders(explainBody), environ: []string{redis, "SLUICE_INSTANCE=here"}},
		{name: "insecure", stdin: explainBody, environ: []string{redis, "SLUICE_INSTANCE=here", "SLUICE_INSECURE_NO_SIGNATURE=true"}},
		{name: "offline", stdin: explainBody, args: append(signedHeaders(explainBody), "--offline")},
		{name: "headers_missing", stdin: explainBody, args: []string{"-H", "Content-Type: application/json"}, code: 1},
		{name: "stale", stdin: explainBody, args: append(signedHeaders(explainBody), "--at=2026-03-01T12:00:00Z"), code: 1},
		{name: "line_break", stdin: explainBody + "\n", args: signedHeaders(explainBody), code: 1},
		{name: "line_break_json", stdin: explainBody + "\n", args: append(signedHeaders(explainBody), "--output", "json"), code: 1},
		{name: "wrong_key", stdin: explainBody, args: append(signedHeaders(explainBody), "-H", "X-CIO-Signature: "+strings.Repeat("0", 64), "--signing-keys=eu=other-key-0000000001"), code: 1},
		{name: "curl", stdin: curl, args: []string{"--curl", "--at", explainAt}},
		{name: "curl_get", stdin: "curl -G --frobnicate localhost/hook -d a", args: []string{"--curl", "--at", explainAt}, code: 1},
		{name: "curl_file", stdin: "curl -d @" + file + " -H 'X-CIO-Timestamp: " + explainAt + "' -H 'X-CIO-Signature: " +
			signature.Sign(testKey, explainAt, []byte(pretty)) + "' localhost/webhook", args: []string{"--curl", "--at", explainAt}, code: 1},
		{
			name: "http", stdin: "POST /webhook HTTP/2\nx-cio-timestamp: " + explainAt + "\nx-cio-signature: " +
				signature.Sign(testKey, explainAt, []byte(explainBody)) + "\ncontent-length: " + strconv.Itoa(len(explainBody)) + "\n\n" + explainBody + "\n",
			args: []string{"--http", "--at", explainAt},
		},
		{name: "pending", stdin: withID("held"), args: signedHeaders(withID("held")), code: 1},
		{name: "duplicate", stdin: withID("kept"), args: signedHeaders(withID("kept"))},
		{name: "duplicate_dead_letter", stdin: withID("dead"), args: signedHeaders(withID("dead"))},
		{name: "dead_letter", stdin: `{"event_id":"01"`, args: signedHeaders(`{"event_id":"01"`)},
		{name: "no_type", stdin: `{"event_id":"01"}`, args: signedHeaders(`{"event_id":"01"}`)},
		{name: "controls", stdin: "{\"event_id\":\"a\\u001b[31m\",\"event_type\":\"x\\u001b]0;t\\u0007\",\"data\":{\"customer_id\":\"\\u202e\x9b1m\"}}"},
		{name: "controls_json", stdin: "{\"event_id\":\"a\\u009b\\u007f\U000e0001\",\"event_type\":\"x\",\"data\":{\"customer_id\":\"\\u202e\x9b1m\"}}", args: []string{"-ojson"}},
		{name: "unknown_type", stdin: `{"event_type":"fax_sent"}`, args: []string{"-H", "X-CIO-Delivery-ID: D1", "--insecure-no-signature"}, environ: []string{redis, "SLUICE_INSTANCE=here"}},
		{name: "overflow", stdin: `{"event_type":"dead_letter","data":{"delivery_id":"D"}}`, args: []string{"--no-create-topics"}},
		{name: "inferred", stdin: `{"metric":"sent","data":{"to_phone":"+1","customer_id":7}}`, args: []string{"--no-create-topics", "--max-topics=3"}},
		{name: "one_topic", stdin: explainBody, args: []string{"--topic=all", "--key=event_type", "--dedupe-id=delivery_id", "--redis-prefix=x:", "-H", "X-CIO-Delivery-ID: D 1"}, code: 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			environ := test.environ
			if environ == nil {
				environ = explainEnviron(redis)
			}
			got := runExplain(environ, test.stdin, append([]string{"-"}, test.args...)...)
			if got.code != test.code {
				t.Errorf("exit code %d, want %d; standard error %q", got.code, test.code, got.stderr)
			}
			if (got.stderr == "") != (test.code == 0) {
				t.Errorf("standard error %q", got.stderr)
			}
			checkExplanation(t, got)
			golden(t, filepath.Join("testdata", "explain", test.name+".golden"), got.stdout)
		})
	}
}

// checkExplanation looks for what must never be printed.
func checkExplanation(t *testing.T, got explained) {
	t.Helper()
	all := got.stdout + got.stderr
	if strings.Contains(all, testKey) || strings.Contains(all, "another-key") || strings.Contains(all, "other-key-0") {
		t.Errorf("a key is printed:\n%s", all)
	}
	if strings.Contains(all, signature.Sign(testKey, explainAt, []byte(explainBody))) {
		t.Errorf("a signature is printed:\n%s", all)
	}
	if at := strings.IndexFunc(all, func(r rune) bool { return r != '\n' && !strconv.IsPrint(r) }); at >= 0 {
		t.Errorf("a control character is printed: %q", all[at:min(at+20, len(all))])
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *updateExplain {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestExplainAgreesWithServe sends what is explained, and compares.
func TestExplainAgreesWithServe(t *testing.T) {
	env := testenv.Fake(t)
	environ := settings(env)
	s := serve(t, environ)
	bodies := make(map[string]string)
	for _, sample := range ownSamples(t) {
		bodies[sample.name] = string(sample.body)
	}
	var known []string
	for _, v := range environ { // explain has no other settings than these groups
		if !strings.HasPrefix(v, "SLUICE_LISTEN") && !strings.HasPrefix(v, "SLUICE_ADMIN") {
			known = append(known, v)
		}
	}
	now := strconv.FormatInt(time.Now().Unix(), 10)
	for _, name := range slices.Sorted(maps.Keys(bodies)) {
		body := bodies[name]
		for _, sig := range []string{signature.Sign(testKey, now, []byte(body)), "v0=" + signature.Sign(testKey, now, []byte(body))} {
			verdict := explainVerdict(t, known, body, now, sig)
			sent := request{body: []byte(body), timestamp: now, signature: &sig}.insist(t, s.url)
			if sent.code != verdict.Code || sent.Status != verdict.Status {
				t.Errorf("%s: serve answers %d %s, explain says %+v", name, sent.code, sent.Status, verdict)
			}
			if sent.code != 200 {
				continue
			}
			testenv.Eventually(t, 20*time.Second, func() error { // the mark is written after the answer
				if again := explainVerdict(t, known, body, now, sig); again.Status != "duplicate" {
					return fmt.Errorf("%s came again: %+v", name, again)
				}
				return nil
			})
		}
	}
}

func explainVerdict(t *testing.T, environ []string, body, stamp, sig string) explainedVerdict {
	t.Helper()
	got := runExplain(environ, body, "-", "-ojson", "-HX-CIO-Timestamp: "+stamp, "-HX-CIO-Signature: "+sig)
	var e explanation
	if err := json.Unmarshal([]byte(got.stdout), &e); err != nil {
		t.Fatalf("%v in %q (%s)", err, got.stdout, got.stderr)
	}
	if (got.code == exitOK) != (e.Verdict.Code == 200) {
		t.Errorf("exit code %d with %+v", got.code, e.Verdict)
	}
	return e.Verdict
}

func TestExplainWithoutRedis(t *testing.T) {
	for name, url := range map[string]string{"away": "redis://127.0.0.1:1", "unusable": "redis://127.0.0.1:1/0?read_timeout=1s"} {
		t.Run(name, func(t *testing.T) {
			got := runExplain(explainEnviron("SLUICE_REDIS_URL="+url), explainBody, append([]string{"-"}, signedHeaders(explainBody)...)...)
			if got.code != exitOK || !strings.Contains(got.stdout, "\nredis       couldn't be asked: ") || !strings.Contains(got.stdout, "200 published, if it hasn't come before\n") {
				t.Errorf("exit code %d\n%s%s", got.code, got.stdout, got.stderr)
			}
		})
	}
}

func TestExplainReportsFailure(t *testing.T) {
	args := append([]string{"explain", "-", "--offline"}, signedHeaders(explainBody)...)
	for _, more := range [][]string{nil, {"-ojson"}} {
		var stderr bytes.Buffer
		code := run(context.Background(), slices.Concat(args, more), &process{
			environ: explainEnviron(), stdin: strings.NewReader(explainBody), stdout: brokenWriter{}, stderr: &stderr,
		})
		if code != exitFailure || !strings.Contains(stderr.String(), "writing the explanation") {
			t.Errorf("exit code %d: %s", code, stderr.String())
		}
	}
	got := runExplain(explainEnviron(), "", filepath.Join(t.TempDir(), "absent"))
	if got.code != exitFailure || got.stdout != "" || !strings.Contains(got.stderr, "reading the request") {
		t.Errorf("an absent file: %+v", got)
	}
	got = runExplain(explainEnviron(), strings.Repeat(" ", maxExplained+1), "-")
	if got.code != exitFailure || !strings.Contains(got.stderr, "64 MiB") {
		t.Errorf("a long file: %d %s", got.code, got.stderr)
	}
}

func TestExplainColours(t *testing.T) {
	e := &explanation{Verdict: explainedVerdict{Code: 401, Status: "refused"}}
	for name, test := range map[string]struct {
		w       io.Writer
		environ []string
	}{
		"no terminal": {&bytes.Buffer{}, nil},
		"NO_COLOR":    {os.Stdout, []string{"NO_COLOR=1"}},
		"dumb":        {os.Stdout, []string{"TERM=dumb"}},
	} {
		var out bytes.Buffer
		if err := writeExplanation(&out, e, explainPaint(test.w, test.environ)); err != nil || bytes.ContainsRune(out.Bytes(), '\x1b') {
			t.Errorf("%s: %q, %v", name, out.String(), err)
		}
	}
	var out bytes.Buffer
	if err := writeExplanation(&out, e, coloured); err != nil || !strings.Contains(out.String(), "\x1b[31m401 refused\x1b[0m") {
		t.Errorf("on a terminal: %q, %v", out.String(), err)
	}
}
