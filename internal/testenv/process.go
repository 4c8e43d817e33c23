package testenv

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Proc is a process under test. Its methods are for one goroutine at a time, but Logs and Exited are for any.
type Proc struct {
	name  string
	child *child
	log   *logBuffer
}

// Process starts a program with exactly the environment given ("NAME=value") and ends it with the test, by SIGKILL if
// it still runs. Standard output and error are kept together, and their end is shown if the test fails.
func Process(t testing.TB, bin string, env []string, args ...string) *Proc {
	t.Helper()
	p := &Proc{name: filepath.Base(bin), log: newLogBuffer()}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), bin, args...)
	cmd.Env = append([]string{}, env...) // nil would mean the test's own
	cmd.Dir = t.TempDir()
	cmd.Stdout, cmd.Stderr = p.log, p.log
	var err error
	if p.child, err = startChild(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.child.end(os.Kill, killWait); err != nil {
			t.Errorf("ending %s: %v", p.name, err)
		}
		if t.Failed() {
			t.Logf("end of the output of %s (process %d):\n%s", p.name, p.Pid(), lastLines(p.Logs(), 80))
		}
	})
	return p
}

// Pid is the process id.
func (p *Proc) Pid() int { return p.child.cmd.Process.Pid }

// Logs is everything the process has written so far.
func (p *Proc) Logs() string {
	text, _ := p.log.state()
	return text
}

// Exited is closed when the process is gone.
func (p *Proc) Exited() <-chan struct{} { return p.child.done }

// Signal sends sig; a process that is gone fails the test.
func (p *Proc) Signal(t testing.TB, sig os.Signal) {
	t.Helper()
	if err := p.child.signal(sig); err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
}

// Kill ends the process as kill -9 does and waits until it is gone.
func (p *Proc) Kill(t testing.TB) {
	t.Helper()
	if err := p.child.end(os.Kill, killWait); err != nil {
		t.Fatalf("killing %s: %v", p.name, err)
	}
}

// Stop freezes the process, Cont lets it go on.
func (p *Proc) Stop(t testing.TB) { t.Helper(); p.Signal(t, sigStop) }

// Cont lets a frozen process go on.
func (p *Proc) Cont(t testing.TB) { t.Helper(); p.Signal(t, sigCont) }

// Terminate sends SIGTERM and returns the exit code; longer than within fails the test.
func (p *Proc) Terminate(t testing.TB, within time.Duration) int {
	t.Helper()
	p.Signal(t, syscall.SIGTERM)
	return p.Wait(t, within)
}

// Wait returns the exit code, -1 for a process that a signal ended; longer than within fails the test.
func (p *Proc) Wait(t testing.TB, within time.Duration) int {
	t.Helper()
	if err := p.child.wait(within); err != nil {
		t.Fatalf("waiting for %s to end: %v", p.name, err)
	}
	return p.child.exitCode()
}

// WaitLog waits for a line of output that holds every one of the parts, from the beginning of the output on, and
// returns it. The process's end without such a line, and longer than within, fail the test.
func (p *Proc) WaitLog(t testing.TB, within time.Duration, parts ...string) string {
	t.Helper()
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	for {
		gone := p.child.exited() // before the look: what was written until then is in the buffer
		text, more := p.log.state()
		if line, ok := findLine(text, parts); ok {
			return line
		}
		if gone {
			t.Fatalf("%s ended with exit code %d and wrote no line with %q", p.name, p.child.exitCode(), parts)
		}
		select {
		case <-more:
		case <-p.child.done:
		case <-timeout.C:
			t.Fatalf("%s wrote no line with %q within %s", p.name, parts, within)
		}
	}
}

// WaitHTTP waits until a GET of url is answered with that status code. The process's end, and longer than within,
// fail the test.
func (p *Proc) WaitHTTP(t testing.TB, within time.Duration, url string, status int) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * time.Second}
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	err := poll(ctx, func(ctx context.Context) error {
		if p.child.exited() {
			cancel() // no use to ask on
			return fmt.Errorf("%s ended with exit code %d", p.name, p.child.exitCode())
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return fmt.Errorf("making a request: %w", err)
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != status {
			return fmt.Errorf("GET %s was answered %d", url, resp.StatusCode)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("waiting for %d from %s: %v", status, url, err)
	}
}

// findLine finds the first whole line that holds every part.
func findLine(text string, parts []string) (string, bool) {
lines:
	for line := range strings.Lines(text) {
		if !strings.HasSuffix(line, "\n") {
			break // not written whole yet
		}
		for _, part := range parts {
			if !strings.Contains(line, part) {
				continue lines
			}
		}
		return strings.TrimRight(line, "\r\n"), true
	}
	return "", false
}

// logBuffer keeps a process's output and tells those who wait when there is more.
type logBuffer struct {
	mu   sync.Mutex // guards both
	buf  bytes.Buffer
	more chan struct{} // closed and replaced at every write
}

func newLogBuffer() *logBuffer { return &logBuffer{more: make(chan struct{})} }

// Write keeps b.
func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.more)
	l.more = make(chan struct{})
	return l.buf.Write(b)
}

// state is the output so far and a channel that the next write closes.
func (l *logBuffer) state() (string, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String(), l.more
}
