package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/internal/testenv"
)

// docRunner runs blocks as they stand, but for addresses.
type docRunner struct {
	dir     string
	environ []string
	replace *strings.Replacer
}

// newDocRunner makes blocks find sluice without building it each time, and listeners of their own where the pages have
// the usual ports. addresses are pairs: as on the page, and in their place.
func newDocRunner(t *testing.T, dir string, addresses ...string) *docRunner {
	t.Helper()
	for _, tool := range []string{"bash", "curl", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the pages' commands need %s: %v", tool, err)
		}
	}
	binary := testenv.Binary(t, "./cmd/sluice")
	gobin := t.TempDir()
	r := &docRunner{dir: dir, replace: strings.NewReplacer(append([]string{"go run ./cmd/sluice", "sluice"}, addresses...)...)}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "SLUICE_") && !strings.HasPrefix(v, "PATH=") {
			r.environ = append(r.environ, v)
		}
	}
	r.environ = append(r.environ, "GOBIN="+gobin, "PATH="+strings.Join([]string{filepath.Dir(binary), gobin, os.Getenv("PATH")}, ":"))
	return r
}

// output is what a block has printed, for two goroutines.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// start runs a block in a process group of its own, for Ctrl-C.
func (r *docRunner) start(t *testing.T, b docBlock) (*exec.Cmd, *output) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", r.replace.Replace(b.script))
	cmd.Dir, cmd.Env, cmd.SysProcAttr = r.dir, r.environ, &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out := &output{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, out
}

// run runs a block and checks what it does.
func (r *docRunner) run(t *testing.T, b docBlock) string {
	t.Helper()
	b.want, b.interrupt = r.replace.Replace(b.want), r.replace.Replace(b.interrupt)
	cmd, out := r.start(t, b)
	if b.interrupt != "" {
		testenv.Eventually(t, time.Minute, func() error {
			if !strings.Contains(out.text(), b.interrupt) {
				return fmt.Errorf("%s: no %q in:\n%s", b, b.interrupt, out.text())
			}
			return nil
		})
		interrupt(t, cmd)
	}
	err := cmd.Wait()
	code := 0
	if failed, is := errors.AsType[*exec.ExitError](err); is {
		code = failed.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if code != b.exit || !strings.Contains(out.text(), b.want) {
		t.Errorf("%s: exit code %d, want %d and %q:\n%s", b, code, b.exit, b.want, out.text())
	}
	return out.text()
}

func interrupt(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Error(err)
	}
}

// TestDocs runs what needs no containers, page by page, each on a Redis of its own.
func TestDocs(t *testing.T) { //nolint:tparallel // its parts run one after another
	t.Parallel() // it mostly waits
	pages := map[string][]docBlock{}
	for _, b := range docBlocks(t) {
		if slices.Contains([]string{"", "servers", "background"}, b.where) {
			pages[b.page] = append(pages[b.page], b)
		}
	}
	for page, blocks := range pages {
		t.Run(page, func(t *testing.T) {
			env := testenv.Real(t)
			listen, admin := testenv.FreePort(t), testenv.FreePort(t)
			addresses := []string{
				"127.0.0.1:9092", env.Brokers()[0], "redis://127.0.0.1:6379/0", env.RedisURL(), "customerio_", env.Prefix + "_",
				"127.0.0.1:8080", fmt.Sprintf("127.0.0.1:%d", listen), "127.0.0.1:8081", fmt.Sprintf("127.0.0.1:%d", admin),
			}
			r := newDocRunner(t, filepath.Join("..", ".."), addresses...)
			url := strings.NewReplacer(addresses...)
			// Where the pages have no address because it is the default.
			r.environ = append(r.environ, "SLUICE_TOPIC="+env.Topic("{event_type}"), "SLUICE_DEAD_LETTER_TOPIC="+env.Topic("dead_letter"),
				"SLUICE_OVERFLOW_TOPIC="+env.Topic("other"), "SLUICE_LISTEN="+url.Replace("127.0.0.1:8080"),
				"SLUICE_KAFKA_BROKERS="+env.Brokers()[0], "SLUICE_ADMIN_LISTEN="+url.Replace("127.0.0.1:8081"))
			served := false
			for _, b := range blocks {
				switch {
				case b.where == "background":
					cmd, out := r.start(t, b)
					awaitURL(t, url.Replace(b.operand), out)
					defer func() {
						interrupt(t, cmd)
						if err := cmd.Wait(); err != nil {
							t.Errorf("%s ended with %v:\n%s", b, err, out.text())
						}
					}()
				case b.where == "servers" && !served:
					served = true
					s := serve(t, settings(env, "SLUICE_LISTEN="+url.Replace("127.0.0.1:8080"), "SLUICE_ADMIN_LISTEN="+url.Replace("127.0.0.1:8081")))
					for _, body := range []string{`{"event_id":"docs-1","object_type":"email","metric":"sent"}`, "not JSON"} {
						if a := (request{body: []byte(body)}).insist(t, s.url); a.code != http.StatusOK {
							t.Fatalf("%+v", a)
						}
					}
					r.run(t, b)
				default:
					r.run(t, b)
				}
			}
		})
	}
}

func awaitURL(t *testing.T, url string, out *output) {
	t.Helper()
	testenv.Eventually(t, time.Minute, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return fmt.Errorf("%w; it prints:\n%s", err, out.text())
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %d", url, res.StatusCode)
		}
		return nil
	})
}
