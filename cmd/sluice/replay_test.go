package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sluice/internal/testenv"
)

// replayed is what a run of the command leaves behind.
type replayed struct {
	code           int
	stdout, stderr string
}

func replayRun(ctx context.Context, t *testing.T, environ []string, args ...string) replayed {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	var out, complaints bytes.Buffer
	code := run(ctx, append([]string{"replay"}, args...), &process{environ: environ, stdout: &out, stderr: &complaints})
	return replayed{code, out.String(), complaints.String()}
}

func TestReplayToFile(t *testing.T) {
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		w := newTailWriter(t, env, "email_sent", "email_opened", "dead_letter")
		for i := range 30 {
			topic := []string{"email_sent", "email_opened", "dead_letter"}[i%3]
			w.write(env.Topic(topic), topic, fmt.Sprint("e", i))
		}
		dir := t.TempDir()
		for _, name := range []string{"a.ndjson", "a.ndjson.gz", "a.ndjson.zst"} {
			got := replayRun(t.Context(), t, tailSettings(env), "--to-file", filepath.Join(dir, name))
			if got.code != exitOK {
				t.Fatalf("%+v", got)
			}
			t.Log(got)
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil || len(b) == 0 {
				t.Fatal(err)
			}
			if name == "a.ndjson" {
				t.Logf("%s", b)
			}
		}
		t.Log(replayRun(t.Context(), t, tailSettings(env), "--to-file", "-", "dead-letter", "--jq", ".event_id == \"e2\""))
		t.Log(replayRun(t.Context(), t, tailSettings(env), "--dry-run"))
	})
}
