package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/internal/testenv"
)

// readmeBlock returns the shell block of the README that contains text.
func readmeBlock(t *testing.T, text string) string {
	t.Helper()
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range strings.Split(string(readme), "```") {
		if block, ok := strings.CutPrefix(part, "sh\n"); ok && i%2 == 1 && strings.Contains(block, text) {
			return block
		}
	}
	t.Fatalf("no shell block with %q in the README", text)
	return ""
}

func shell(t *testing.T, script string, environ ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), environ...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, stderr.String())
	}
	return string(out)
}

// TestREADME runs the README's commands as they stand, but for addresses.
func TestREADME(t *testing.T) {
	env := testenv.Real(t)
	for _, tool := range []string{"bash", "curl", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("the README's commands need %s: %v", tool, err)
		}
	}
	start := readmeBlock(t, "sluice serve")
	for _, word := range []string{"SLUICE_SIGNING_KEYS=main=your-signing-key", "go run ./cmd/sluice serve"} {
		if !strings.Contains(start, word) {
			t.Errorf("the start command has changed: %s", start)
		}
	}
	s := serve(t, settings(env, "SLUICE_SIGNING_KEYS=main=your-signing-key"))
	post := strings.ReplaceAll(readmeBlock(t, "curl"), "http://127.0.0.1:8080/webhook", s.url)
	for _, want := range []string{"published", "duplicate"} {
		var out string
		testenv.Eventually(t, 30*time.Second, func() error {
			if out = shell(t, post); strings.Contains(out, `"refused"`) {
				return errUnavailable
			}
			return nil
		})
		if !strings.Contains(out, `"status":"`+want+`"`) {
			t.Errorf("curl printed %s, want %s", out, want)
		}
	}
	read := strings.NewReplacer("127.0.0.1:9092", env.Brokers()[0], "customerio_email_opened", env.Topic("email_opened"))
	if out := shell(t, read.Replace(readmeBlock(t, "kcat"))); !strings.Contains(out, "01JZW2BAW2MQMJTYF07BB774KP") {
		t.Errorf("kcat printed %s", out)
	}
	if out := shell(t, "unset ${!SLUICE_*}; "+readmeBlock(t, "sluice config")); !strings.Contains(out, "main=****") || strings.Contains(out, "your-signing-key") {
		t.Errorf("config printed %s", out)
	}
}
