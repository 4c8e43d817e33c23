package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/testenv"
)

// A handler that refuses an event for good ends the replay with the event's place; when it is well, --resume posts what is
// left, and everything has arrived in the order of each key.
func TestReplayToHTTP(t *testing.T) {
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		w := newTailWriter(t, env, "email_sent")
		topic := env.Topic("email_sent")
		var want []string
		for n := range 60 {
			id := fmt.Sprintf("k%d-%d", n%6, n)
			want = append(want, id)
			w.writeFor(topic, "email_sent", id, fmt.Sprint("k", n%6))
		}
		var well atomic.Bool
		h := newWebhook(t, webhookKey, func(id string, _ int) int {
			if id == "k1-31" && !well.Load() {
				return http.StatusBadRequest
			}
			return http.StatusOK
		})
		checkpoint := filepath.Join(t.TempDir(), "checkpoint")
		replay := func(extra ...string) (code int, out, said string) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var stdout, stderr bytes.Buffer
			code = run(ctx, append([]string{
				"replay", "email_sent", "--to-http", h.URL, "--attempts", "2", "--max-wait", "10ms",
				"--checkpoint", checkpoint,
			}, extra...), &process{environ: tailSettings(env, "SLUICE_SIGNING_KEYS="+webhookKey), stdout: &stdout, stderr: &stderr})
			return code, stdout.String(), stderr.String()
		}
		code, out, said := replay()
		if code != exitFailure || !strings.Contains(said, "is given up after 2 attempts: the handler answered 400") || !strings.Contains(said, "--resume") {
			t.Fatalf("code %d, printed %q, said %q", code, out, said)
		}
		if slices.Contains(h.accepted(), "k1-37") {
			t.Error("what follows the refused event of its key was posted")
		}
		well.Store(true)
		if code, out, said = replay("--resume"); code != exitOK {
			t.Fatalf("code %d, printed %q, said %q", code, out, said)
		}
		(&subscribers{T: t, hook: h}).eventually(want)
		(&subscribers{T: t, hook: h}).inOrder()
	})
}
