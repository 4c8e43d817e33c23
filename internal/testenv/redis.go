package testenv

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// redisWait bounds the wait for Redis to answer or to shut down: some 20 ms on an idle machine.
const redisWait = 30 * time.Second

// RedisServer is a real redis-server process. Its methods are for one goroutine at a time.
type RedisServer struct {
	dir   string
	port  *port
	args  []string
	child *child
}

// Redis starts redis-server for this test on a port of its own, with nothing kept on disk unless args say so
// ("--appendonly", "yes"), and waits until it answers. It ends with the test. The test is skipped, or fails, where
// there is no redis-server (see Need).
func Redis(t testing.TB, args ...string) *RedisServer {
	t.Helper()
	Need(t, ServerRedis)
	reserved, err := reservePort()
	if err != nil {
		t.Fatalf("starting Redis: %v", err)
	}
	t.Cleanup(reserved.release)
	r := &RedisServer{dir: t.TempDir(), port: reserved}
	r.args = append([]string{
		"--port", strconv.Itoa(reserved.number), "--bind", "127.0.0.1", "--dir", r.dir,
		"--save", "", "--appendonly", "no", "--databases", "16", "--daemonize", "no",
	}, args...)
	t.Cleanup(func() {
		if r.child != nil {
			if err := r.child.end(os.Kill, killWait); err != nil {
				t.Errorf("ending Redis: %v", err)
			}
		}
		showLog(t, "Redis", r.logFile())
	})
	if err := r.start(context.WithoutCancel(t.Context())); err != nil {
		t.Fatalf("starting Redis: %v", err)
	}
	return r
}

// Addr is host:port.
func (r *RedisServer) Addr() string { return r.port.addr() }

// URL is the address as SLUICE_REDIS_URL takes it.
func (r *RedisServer) URL() string { return "redis://" + r.Addr() + "/0" }

// Pid is the server's process id.
func (r *RedisServer) Pid() int { return r.child.cmd.Process.Pid }

// Kill ends the server as kill -9 does and waits until the process is gone.
func (r *RedisServer) Kill(t testing.TB) {
	t.Helper()
	if err := r.child.end(os.Kill, killWait); err != nil {
		t.Fatalf("killing Redis: %v", err)
	}
}

// Terminate shuts the server down in good order (SIGTERM).
func (r *RedisServer) Terminate(t testing.TB) {
	t.Helper()
	if err := r.child.end(syscall.SIGTERM, redisWait); err != nil {
		t.Fatalf("terminating Redis: %v", err)
	}
}

// Stop freezes the server (SIGSTOP): its connections stay open, and nothing answers.
func (r *RedisServer) Stop(t testing.TB) {
	t.Helper()
	if err := r.child.signal(sigStop); err != nil {
		t.Fatalf("stopping Redis: %v", err)
	}
}

// Cont lets a frozen server go on and waits until it answers.
func (r *RedisServer) Cont(t testing.TB) {
	t.Helper()
	err := r.child.signal(sigCont)
	if err == nil {
		err = r.waitReady(t.Context())
	}
	if err != nil {
		t.Fatalf("continuing Redis: %v", err)
	}
}

// Restart starts the server again on its old port and folder, after killing it if it runs, and waits until it
// answers. Without persistence it has forgotten everything.
func (r *RedisServer) Restart(t testing.TB) {
	t.Helper()
	err := r.child.end(os.Kill, killWait)
	if err == nil {
		err = r.start(context.WithoutCancel(t.Context()))
	}
	if err != nil {
		t.Fatalf("restarting Redis: %v", err)
	}
}

// CLI runs one command through redis-cli, as an operator would, and returns what it prints without the last newline.
func (r *RedisServer) CLI(t testing.TB, args ...string) string {
	t.Helper()
	all := append([]string{"-h", "127.0.0.1", "-p", strconv.Itoa(r.port.number), "-e", "--raw"}, args...)
	out, err := exec.CommandContext(t.Context(), "redis-cli", all...).CombinedOutput()
	if err != nil {
		t.Fatalf("redis-cli %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSuffix(string(out), "\n")
}

func (r *RedisServer) logFile() string { return filepath.Join(r.dir, "redis.log") }

// start starts the process and waits until it answers.
func (r *RedisServer) start(ctx context.Context) error {
	log, err := os.OpenFile(r.logFile(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening the log: %w", err)
	}
	defer func() { _ = log.Close() }() // the child has its own descriptor
	cmd := exec.CommandContext(ctx, "redis-server", r.args...)
	cmd.Dir = r.dir
	cmd.Stdout, cmd.Stderr = log, log
	if r.child, err = startChild(cmd); err != nil {
		return err
	}
	return r.waitReady(ctx)
}

// errRedisBusy is an answer that isn't "ready": loading its data, for one.
var errRedisBusy = errors.New("not ready")

// waitReady waits for an answer to PING. One that asks for a password is an answer too.
func (r *RedisServer) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, redisWait, fmt.Errorf("no answer within %s", redisWait))
	defer cancel()
	err := poll(ctx, func(ctx context.Context) error {
		if r.child.exited() {
			cancel() // no use to ask on
			return fmt.Errorf("redis-server ended with exit code %d", r.child.exitCode())
		}
		return pingRedis(ctx, r.Addr())
	})
	if err != nil {
		return fmt.Errorf("waiting for Redis: %w", err)
	}
	return nil
}

// pingRedis asks once.
func pingRedis(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("dialling: %w", err)
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	if _, err := conn.Write([]byte("*1\r\n$4\r\nPING\r\n")); err != nil {
		return fmt.Errorf("asking: %w", err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if code, _, _ := strings.Cut(strings.TrimSpace(line), " "); code != "+PONG" && code != "-NOAUTH" {
		return fmt.Errorf("%w: %s", errRedisBusy, strings.TrimSpace(line))
	}
	return nil
}

// Miniredis starts a fake Redis inside the test binary. Its clock stands still: keys end only with FastForward (see
// Env.Elapse).
func Miniredis(t testing.TB) *miniredis.Miniredis {
	t.Helper()
	return miniredis.RunT(t)
}
