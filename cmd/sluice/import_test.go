package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/testenv"
)

// commandRun is what a run of a command leaves behind.
type commandRun struct {
	code           int
	stdout, stderr string
}

func (r commandRun) String() string {
	return fmt.Sprintf("exit code %d\n%s\n%s", r.code, r.stdout, r.stderr)
}

// mustRun runs a command of this program, with input, and wants an exit code.
func mustRun(ctx context.Context, t *testing.T, environ []string, stdin string, code int, args ...string) commandRun {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	var out, complaints bytes.Buffer
	got := commandRun{code: run(ctx, args, &process{environ: environ, stdin: strings.NewReader(stdin), stdout: &out, stderr: &complaints})}
	got.stdout, got.stderr = out.String(), complaints.String()
	if got.code != code {
		t.Fatalf("sluice %s: want exit code %d: %s", strings.Join(args, " "), code, got)
	}
	return got
}

// environment is where the test's servers are, and how its topics are called.
func environment(env *testenv.Env, prefix string) []string {
	return []string{
		"SLUICE_KAFKA_BROKERS=" + strings.Join(env.Brokers(), ","), "SLUICE_REDIS_URL=" + env.RedisURL(),
		"SLUICE_TOPIC=" + env.Topic(prefix+`{event_type}`), "SLUICE_DEAD_LETTER_TOPIC=" + env.Topic(prefix+"dead_letter"),
		"SLUICE_OVERFLOW_TOPIC=" + env.Topic(prefix+"other"), "SLUICE_PARTITIONS=2",
	}
}

// same is what has to be the same of two records.
func same(r testenv.Record, prefix string) string {
	headers := make([]string, 0, len(r.Headers))
	for _, h := range r.Headers {
		headers = append(headers, fmt.Sprintf("%s=%q/%t", h.Name, h.Value, h.Value == nil))
	}
	slices.Sort(headers) // a line groups those of one name
	return fmt.Sprintf("%s %q/%t %q/%t %s", strings.TrimPrefix(r.Topic, prefix), r.Key, r.Key == nil, r.Value, r.Value == nil, headers)
}

func sameOf(t *testing.T, env *testenv.Env, prefix string) (all []string) {
	t.Helper()
	for _, r := range env.Kafka.ConsumeAll(t, env.Topic(prefix)) {
		all = append(all, same(r, env.Topic(prefix)))
	}
	slices.Sort(all)
	return all
}

// bodies of every described type, and some that are no event.
func importBodies(t *testing.T) string {
	t.Helper()
	var lines []string
	for _, s := range ownSamples(t) {
		if len(s.body) > 0 && !bytes.ContainsAny(s.body, "\n\x00") {
			lines = append(lines, string(s.body))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

// Bodies become what serve makes of them; exported and imported again under other names they are the same.
func TestImport(t *testing.T) { //nolint:tparallel // its parts run one after another
	t.Parallel() // it mostly waits
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		here := environment(env, "a_")
		bodies := importBodies(t)
		n := strings.Count(bodies, "\n")
		got := mustRun(t.Context(), t, here, bodies+"\n"+bodies, exitOK, "import", "-")
		if !strings.Contains(got.stdout, fmt.Sprintf(" %d  imported\n", n)) || !strings.Contains(got.stdout, fmt.Sprintf(" %d  left out: the input has them twice\n", n)) {
			t.Fatal(got)
		}
		s := serve(t, append(environment(env, "c_"), "SLUICE_INSECURE_NO_SIGNATURE=true", "SLUICE_LISTEN=127.0.0.1:0",
			"SLUICE_ADMIN_LISTEN=127.0.0.1:0", "SLUICE_LOG_FORMAT=json"))
		for line := range strings.Lines(bodies) {
			request{body: []byte(strings.TrimSuffix(line, "\n"))}.must(t, s.url)
		}
		s.stop()
		imported, served := sameOf(t, env, "a_"), sameOf(t, env, "c_")
		for i := range served {
			served[i] = withoutRequest(served[i])
		}
		for i := range imported {
			imported[i] = withoutRequest(imported[i])
		}
		slices.Sort(served)
		slices.Sort(imported)
		if !slices.Equal(imported, served) {
			t.Errorf("imported\n%s\nserved\n%s", strings.Join(imported, "\n"), strings.Join(served, "\n"))
		}

		for i, ending := range []string{"", ".gz", ".zst"} {
			file := filepath.Join(t.TempDir(), "all.ndjson"+ending)
			mustRun(t.Context(), t, here, "", exitOK, "replay", "*", "dead-letter", "--to-file", file)
			there := fmt.Sprint("d", i, "_")
			mustRun(t.Context(), t, environment(env, there), "", exitOK, "import", file)
			if before, after := sameOf(t, env, "a_"), sameOf(t, env, there); !slices.Equal(before, after) || len(before) != n {
				t.Errorf("%s: exported\n%s\nimported\n%s", ending, strings.Join(before, "\n"), strings.Join(after, "\n"))
			}
		}
	})
}

// withoutRequest leaves out what only a request has, and when it was.
func withoutRequest(text string) string {
	var kept []string
	for part := range strings.SplitSeq(text, " ") {
		if !strings.Contains(part, "X-CIO-") && !strings.Contains(part, "sluice-time=") {
			kept = append(kept, strings.Trim(part, "[]"))
		}
	}
	return strings.Join(kept, " ")
}

func TestImportRefuses(t *testing.T) {
	env := testenv.Fake(t)
	environ, dir := environment(env, ""), t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const line = `{"topic":"t","partition":-1,"offset":-1,"time":"2026-01-02T15:04:05Z","key":"k","headers":{"event-type":"email_sent"},"value":"{}","spool":{"entry":3}}`
	path := write("cut.ndjson", line+"\n"+line[:40]+"\n")
	got := mustRun(t.Context(), t, environ, "", exitFailure, "import", path)
	if !strings.Contains(got.stderr, "line 2: not a record line") || !strings.Contains(got.stderr, "--resume") {
		t.Error(got)
	}
	got = mustRun(t.Context(), t, environ, "", exitFailure, "import", path)
	if !strings.Contains(got.stderr, "is there already: go on with --resume") {
		t.Error(got)
	}
	if err := os.WriteFile(path, []byte(line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got = mustRun(t.Context(), t, environ, "", exitFailure, "import", path, "--resume")
	if !strings.Contains(got.stderr, "has changed since") {
		t.Error(got)
	}
	path = write("skip.ndjson", line+"\n"+line[:40]+"\n")
	got = mustRun(t.Context(), t, environ, "", exitOK, "import", path, "--skip-malformed", "--checkpoint", filepath.Join(dir, "c"))
	if !strings.Contains(got.stderr, "line 2 is left out") || !strings.Contains(got.stdout, " 1  left out: can't be read\n") {
		t.Error(got)
	}
	got = mustRun(t.Context(), t, environ, `{"event_id":"1"}`+"\n"+`{"event_id":"2"}`, exitFailure, "import", "-", "--remember=1")
	if !strings.Contains(got.stderr, "line 2: too many events") {
		t.Error(got)
	}
	for _, name := range []string{filepath.Join(dir, "c"), filepath.Join(dir, "c.journal")} {
		if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left behind", name)
		}
	}
}
