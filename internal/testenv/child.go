package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
)

// child is one process that this test binary started. It is killed with the test binary where the system can do
// that (Linux).
type child struct {
	cmd  *exec.Cmd
	done chan struct{} // closed once the process is reaped; cmd.ProcessState and err are set before
	err  error         // what cmd.Wait said
}

// startChild starts cmd. Starting and waiting are one goroutine on one OS thread, for the child's whole life: Linux
// sends the parent-death signal when the *thread* that forked ends, and the Go runtime ends idle threads.
func startChild(cmd *exec.Cmd) (*child, error) {
	dieWithParent(cmd)
	cmd.WaitDelay = 2 * time.Second // a grandchild that holds the output open must not hold up the test
	c := &child{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		defer close(c.done)
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine, after the child
		err := cmd.Start()
		started <- err
		if err == nil {
			c.err = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	return c, nil
}

// runChild starts cmd and waits for its end, as cmd.Run does.
func runChild(cmd *exec.Cmd) error {
	c, err := startChild(cmd)
	if err != nil {
		return err
	}
	<-c.done
	if c.err != nil {
		return fmt.Errorf("running %s: %w", cmd.Path, c.err)
	}
	return nil
}

// exited tells whether the process has ended and been reaped.
func (c *child) exited() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// exitCode is the process's exit code, -1 for one that a signal ended. Only after done.
func (c *child) exitCode() int { return c.cmd.ProcessState.ExitCode() }

// signal sends sig. After sigStop it returns when no thread runs any more: the signal takes a moment to reach them.
func (c *child) signal(sig os.Signal) error {
	if err := c.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("sending %v to process %d: %w", sig, c.cmd.Process.Pid, err)
	}
	if sig == sigStop {
		return c.awaitStopped()
	}
	return nil
}

func (c *child) awaitStopped() error {
	ctx, cancel := context.WithTimeout(context.Background(), killWait)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !stopped(c.cmd.Process.Pid) {
		select {
		case <-tick.C:
		case <-c.done:
			return os.ErrProcessDone
		case <-ctx.Done():
			return fmt.Errorf("process %d still runs %s after SIGSTOP", c.cmd.Process.Pid, killWait)
		}
	}
	return nil
}

// end sends sig and waits until the process is gone. One that was gone already is no error.
func (c *child) end(sig os.Signal, within time.Duration) error {
	if err := c.signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return c.wait(within)
}

// wait waits until the process is gone.
func (c *child) wait(within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("process %d still runs after %s", c.cmd.Process.Pid, within)
	}
}

// killWait bounds the wait for a process that was sent SIGKILL.
const killWait = 10 * time.Second

// showLog puts the end of a server's log into the test's output when the test has failed.
func showLog(t testing.TB, name, file string) {
	t.Helper()
	if !t.Failed() {
		return
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Logf("log of %s: %v", name, err)
		return
	}
	t.Logf("end of the log of %s:\n%s", name, lastLines(string(raw), 60))
}

// lastLines is the last n lines of s.
func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "\n")
}
