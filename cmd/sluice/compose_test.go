package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/testenv"
)

// TestCompose brings docker-compose.yml up in a clean copy of the tree, by the pages' own commands, in their order.
func TestCompose(t *testing.T) {
	t.Parallel() // it mostly waits
	testenv.Need(t, testenv.ServerDocker, testenv.ServerKcat)
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "bash", "-c",
		`cd ../.. && git ls-files -co --exclude-standard -z | xargs -0 cp --parents -t "$0" 2>/dev/null; test -e "$0/docker-compose.yml"`, dir).CombinedOutput(); err != nil {
		t.Fatalf("copying the tree: %v: %s", err, out)
	}
	webhook, admin, kafka := testenv.FreePort(t), testenv.FreePort(t), testenv.FreePort(t)
	r := newDocRunner(t, dir, "127.0.0.1:8080", fmt.Sprintf("127.0.0.1:%d", webhook), "127.0.0.1:8081", fmt.Sprintf("127.0.0.1:%d", admin),
		"127.0.0.1:9092", fmt.Sprintf("127.0.0.1:%d", kafka))
	r.environ = append(r.environ, fmt.Sprintf("WEBHOOK_PORT=%d", webhook), fmt.Sprintf("ADMIN_PORT=%d", admin), fmt.Sprintf("KAFKA_PORT=%d", kafka),
		"COMPOSE_PROJECT_NAME="+filepath.Base(filepath.Dir(dir))+"test", "IMAGE_TAG=test", "LOAD_DURATION=5s", "COMPOSE_PROGRESS=plain",
		fmt.Sprintf("SLUICE_KAFKA_BROKERS=127.0.0.1:%d", kafka))
	for i, v := range r.environ {
		if path, is := strings.CutPrefix(v, "PATH="); is {
			r.environ[i] = "PATH=" + testenv.DockerShim(t) + ":" + path
		}
	}
	t.Cleanup(func() {
		cmd := exec.Command("bash", "-c", "docker compose --profile example --profile load down --volumes --timeout 5")
		cmd.Dir, cmd.Env = r.dir, r.environ
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	if _, err := os.Stat(filepath.Join(dir, ".env")); err == nil {
		t.Fatal("the copy isn't clean: it has a .env")
	}

	var last []docBlock
	var post docBlock
	for _, b := range docBlocks(t) {
		if b.where != "compose" {
			continue
		}
		if b.last {
			last = append(last, b)
			continue
		}
		if strings.Contains(b.script, "openssl") {
			post = b
		}
		switch {
		case slices.ContainsFunc([]string{"logs", "doctor", "tail", "kcat"}, func(word string) bool { return strings.Contains(b.script, word) }):
			r.runEventually(t, b) // containers have to start, topics to be made
		default:
			r.run(t, b)
		}
	}
	// Everything has been down and up since the event was published, and the image was built anew.
	post.want = `"status":"duplicate"`
	r.run(t, post)
	for _, b := range last {
		r.run(t, b)
	}
}

// runEventually runs a block until it does what it should.
func (r *docRunner) runEventually(t *testing.T, b docBlock) {
	t.Helper()
	testenv.Eventually(t, time.Minute, func() error {
		cmd, out := r.start(t, b)
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("%s: %w:\n%s", b, err, out.text())
		}
		if !strings.Contains(out.text(), b.want) {
			return fmt.Errorf("%s: no %q in:\n%s", b, b.want, out.text())
		}
		return nil
	})
}
