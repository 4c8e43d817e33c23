//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"

	"sluice/config"
	"sluice/ingest"
	"sluice/internal/testenv"
)

func TestInheritedNames(t *testing.T) {
	const pid = 42
	for name, c := range map[string]struct {
		environ string
		want    string
		refused string // part of the error's text
	}{
		"nothing":              {"PATH=/bin", "", ""},
		"another process's":    {"LISTEN_PID=41 LISTEN_FDS=1", "", ""},
		"none":                 {"LISTEN_PID=42 LISTEN_FDS=0", "", ""},
		"no process id":        {"LISTEN_FDS=1", "", ""},
		"one":                  {"LISTEN_PID=42 LISTEN_FDS=1", "webhook", ""},
		"two":                  {"LISTEN_PID=42 LISTEN_FDS=2", "webhook admin", ""},
		"names":                {"LISTEN_PID=42 LISTEN_FDS=2 LISTEN_FDNAMES=admin:webhook", "admin webhook", ""},
		"one name":             {"LISTEN_PID=42 LISTEN_FDS=1 LISTEN_FDNAMES=admin", "admin", ""},
		"made-up names":        {"LISTEN_PID=42 LISTEN_FDS=2 LISTEN_FDNAMES=sluice.socket:sluice.socket", "webhook admin", ""},
		"empty names":          {"LISTEN_PID=42 LISTEN_FDS=1 LISTEN_FDNAMES=", "webhook", ""},
		"the last counts":      {"LISTEN_PID=42 LISTEN_FDS=9 LISTEN_FDS=1", "webhook", ""},
		"text as process id":   {"LISTEN_PID=self LISTEN_FDS=1", "", `"self"`},
		"text as number":       {"LISTEN_PID=42 LISTEN_FDS=one", "", `"one"`},
		"no number":            {"LISTEN_PID=42", "", "LISTEN_FDS"},
		"negative":             {"LISTEN_PID=42 LISTEN_FDS=-1", "", `"-1"`},
		"three":                {"LISTEN_PID=42 LISTEN_FDS=3", "", "at most two"},
		"twice":                {"LISTEN_PID=42 LISTEN_FDS=2 LISTEN_FDNAMES=webhook:webhook", "", "two sockets"},
		"one that isn't known": {"LISTEN_PID=42 LISTEN_FDS=2 LISTEN_FDNAMES=webhook:metrics", "", `"metrics"`},
		"too few names":        {"LISTEN_PID=42 LISTEN_FDS=2 LISTEN_FDNAMES=webhook", "", "1 names for 2"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := inheritedNames(strings.Fields(c.environ), pid)
			if c.refused != "" {
				if err == nil || !strings.Contains(err.Error(), c.refused) {
					t.Errorf("%q, %v; want an error with %q", got, err, c.refused)
				}
				return
			}
			if err != nil || strings.Join(got, " ") != c.want {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
}

// descriptor is a descriptor of its own of a socket, which inheriting takes away.
func descriptor(t *testing.T, socket syscall.Conn) int {
	t.Helper()
	raw, err := socket.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	fd := -1
	var dupErr error
	if err := raw.Control(func(from uintptr) { fd, dupErr = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 100) }); err != nil || dupErr != nil {
		t.Fatal(err, dupErr)
	}
	return fd
}

func TestListenersOf(t *testing.T) {
	tcp, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	path := filepath.Join(t.TempDir(), "s")
	local, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	for _, l := range []net.Listener{tcp, local} {
		in, err := listenersOf([]string{webhookSocket}, descriptor(t, l.(syscall.Conn)), zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		if got := in.webhook.Addr().String(); got != l.Addr().String() || !reflect.DeepEqual(in.names(), []string{webhookSocket}) {
			t.Errorf("listens on %s as %q, want %s", got, in.names(), l.Addr())
		}
		in.close()
		conn, err := new(net.Dialer).DialContext(t.Context(), l.Addr().Network(), l.Addr().String())
		if err != nil {
			t.Errorf("after the copy was closed: %v", err)
			continue
		}
		_ = conn.Close()
	}
}

func TestListenersOfRefuses(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	packets, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	file, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for name, c := range map[string]struct {
		fd   int
		want error
	}{
		"a connection":      {descriptor(t, conn.(*net.TCPConn)), errNotListening},
		"a datagram socket": {descriptor(t, packets.(*net.UDPConn)), errNotStream},
		"a file":            {descriptor(t, file), syscall.ENOTSOCK},
		"nothing":           {1 << 20, syscall.EBADF},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := inheritedListener(c.fd); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			_, err := listenersOf([]string{webhookSocket}, c.fd, zap.NewNop())
			if _, ok := errors.AsType[*config.InvalidError](err); !ok || !strings.Contains(err.Error(), strconv.Itoa(c.fd)) {
				t.Errorf("%v, want an invalid configuration that names the descriptor", err)
			}
			_ = syscall.Close(c.fd)
		})
	}
}

// A queue in which few connections can wait is warned of.
func TestShortBacklog(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for backlog, warned := range map[int]bool{smallBacklog - 1: true, smallBacklog: false} {
		fd := descriptor(t, l.(syscall.Conn))
		if err := unix.Listen(fd, backlog); err != nil { // again: only the queue's length changes
			t.Fatal(err)
		}
		core, logs := observer.New(zapcore.WarnLevel)
		in, err := listenersOf([]string{webhookSocket}, fd, zap.New(core))
		if err != nil {
			t.Fatal(err)
		}
		in.close()
		if got := logs.FilterField(zap.Int("backlog", backlog)).Len() == 1; got != warned {
			t.Errorf("backlog %d: warned %v; %v", backlog, got, logs.All())
		}
	}
}

// supervisor holds a listening socket and runs one sluice after another on it.
type supervisor struct {
	socket  *os.File
	more    []*os.File
	url     string
	environ []string
	command string // of the shell, with $SLUICE
	binary  string
}

// supervise opens the socket. The file of a listener is in blocking mode, as sockets of other supervisors may be.
func supervise(t *testing.T, environ []string) *supervisor {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return &supervisor{
		socket: file, url: "http://" + l.Addr().String() + "/webhook", environ: environ,
		command: `LISTEN_FDS=1 LISTEN_PID=$$ exec "$SLUICE" serve`, binary: testenv.Binary(t, "./cmd/sluice"),
	}
}

// supervised is a sluice that serves on its supervisor's socket. Its log is complete once it has ended.
type supervised struct {
	cmd  *exec.Cmd
	log  bytes.Buffer
	done chan struct{}
}

// start doesn't wait for the process to listen: the socket does. It is killed with the test binary.
func (s *supervisor) start(t *testing.T) *supervised {
	t.Helper()
	p := &supervised{done: make(chan struct{})}
	p.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), "sh", "-c", s.command)
	p.cmd.Env = append([]string{"SLUICE=" + s.binary}, s.environ...)
	p.cmd.ExtraFiles = append([]*os.File{s.socket}, s.more...)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	go func() {
		defer close(p.done)
		runtime.LockOSThread() // the death of the thread that starts the process counts as its parent's
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // what matters is the exit code
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("log of process %d:\n%s", p.cmd.Process.Pid, p.log.String())
		}
	})
	return p
}

// wait is the exit code.
func (p *supervised) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		t.Fatal("the process doesn't end")
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *supervised) terminate(t *testing.T) int {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	return p.wait(t)
}

// withoutListen are settings whose own port can't be opened: what is answered came by the inherited socket.
func withoutListen(env *testenv.Env) []string {
	return settings(env, "SLUICE_LISTEN=192.0.2.1:1")
}

var handoverRestarts = flag.Int("handover.restarts", 10, "how often TestRestartsUnderLoad restarts sluice")

// TestRestartsUnderLoad replaces sluice again and again under load. Clients with keep-alive, clients that dial for
// every request, and clients that pause see no connection fail, and no event is lost or doubled.
func TestRestartsUnderLoad(t *testing.T) {
	restarts := *handoverRestarts
	if testing.Short() {
		restarts = 3
	}
	env := testenv.Fake(t)
	s := supervise(t, withoutListen(env))
	l := newLedger()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	var failures []error // guarded by mu
	var wg sync.WaitGroup
	client := func(name string, keepAlive bool, pause time.Duration) {
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: !keepAlive}, Timeout: 4 * time.Second}
		defer c.CloseIdleConnections()
		answered := time.Now()
		for i := 0; ctx.Err() == nil; i++ {
			id := fmt.Sprintf("%s-%d", name, i)
			body := fmt.Appendf(nil, `{"event_id":%q,"event_type":"email_sent"}`, id)
			for {
				idle := time.Since(answered) // a busy machine makes a client of few pauses a slow one
				a, err := request{body: body, client: c}.send(context.WithoutCancel(ctx), s.url)
				answered = time.Now()
				if err != nil {
					mu.Lock()
					failures = append(failures, fmt.Errorf("%s after %v: %w", id, a.took, err))
					mu.Unlock()
					break
				}
				if a.code == http.StatusRequestTimeout && idle > ingest.DefaultSharedIdleGrace/2 {
					continue // it crossed with the goodbye to an idle connection, which is for repeating at once
				}
				l.note(id, a)
				if a.code == http.StatusOK || ctx.Err() != nil {
					break
				}
				sleep(ctx, 50*time.Millisecond)
			}
			sleep(ctx, pause)
		}
	}
	p := s.start(t)
	for c := range 32 {
		wg.Go(func() { client(fmt.Sprintf("keep%d", c), true, 5*time.Millisecond) })
	}
	for c := range 8 {
		wg.Go(func() { client(fmt.Sprintf("dial%d", c), false, 10*time.Millisecond) })
		wg.Go(func() { client(fmt.Sprintf("slow%d", c), true, time.Duration(300+100*c)*time.Millisecond) })
	}
	var down, longest time.Duration
	for range restarts {
		sleep(ctx, 500*time.Millisecond)
		began := time.Now()
		if code := p.terminate(t); code != exitOK {
			t.Errorf("exit code %d", code)
		}
		took := time.Since(began)
		down += took
		longest = max(longest, took)
		if !strings.Contains(p.log.String(), `"inherited":["webhook"]`) {
			t.Error("the log doesn't say that the socket was inherited")
		}
		p = s.start(t)
	}
	sleep(ctx, time.Second)
	cancel()
	wg.Wait()
	if code := p.terminate(t); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	l.check(t, env)
	requests := len(failures)
	for code, n := range l.codes {
		requests += n
		if code != http.StatusOK && code != http.StatusServiceUnavailable {
			t.Errorf("answers %v", l.codes)
		}
	}
	for i, err := range failures {
		if i < 5 {
			t.Errorf("a request failed: %v", err)
		}
	}
	t.Logf("%d restarts: %d of %d requests failed, longest answer %v, a stop took %v on average, %v at most",
		restarts, len(failures), requests, l.worst, down/time.Duration(restarts), longest)
}

// What can't be served on is refused before anything is answered, and not for another try.
func TestRefusedSockets(t *testing.T) {
	env := testenv.Fake(t)
	for name, c := range map[string]struct {
		command, want string
	}{
		"no socket":   {`LISTEN_FDS=1 LISTEN_PID=$$ exec "$SLUICE" serve 3</dev/null`, "descriptor 3, for the webhook port, is no listening TCP or Unix socket"},
		"not open":    {`LISTEN_FDS=1 LISTEN_PID=$$ exec "$SLUICE" serve 3<&-`, "descriptor 3, for the webhook port, is no listening TCP or Unix socket"},
		"not known":   {`LISTEN_FDS=3 LISTEN_PID=$$ exec "$SLUICE" serve`, "LISTEN_FDS hands over 3 sockets"},
		"not a count": {`LISTEN_FDS=x LISTEN_PID=$$ exec "$SLUICE" serve`, `LISTEN_FDS is "x"`},
	} {
		t.Run(name, func(t *testing.T) {
			s := supervise(t, withoutListen(env))
			s.command = c.command
			p := s.start(t)
			if code := p.wait(t); code != exitUsage || !strings.Contains(p.log.String(), c.want) {
				t.Errorf("exit code %d, want %d and %q", code, exitUsage, c.want)
			}
		})
	}
}

// Both ports can be handed over.
func TestInheritedAdminPort(t *testing.T) {
	env := testenv.Fake(t)
	s := supervise(t, append(withoutListen(env), "SLUICE_ADMIN_LISTEN=192.0.2.1:2"))
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	s.more = []*os.File{file}
	s.command = `LISTEN_FDS=2 LISTEN_FDNAMES=webhook:admin LISTEN_PID=$$ exec "$SLUICE" serve`
	for range 2 {
		p := s.start(t)
		testenv.Eventually(t, 20*time.Second, func() error {
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * time.Second}
			resp, err := client.Get("http://" + l.Addr().String() + "/readyz")
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return errUnavailable
			}
			return nil
		})
		if code := p.terminate(t); code != exitOK || !strings.Contains(p.log.String(), `"inherited":["webhook","admin"]`) {
			t.Errorf("exit code %d", code)
		}
	}
}

// Variables that a parent got and left in its environment are no reason to take a descriptor.
func TestSocketsOfAnotherProcess(t *testing.T) {
	environ := settings(testenv.Fake(t), "LISTEN_FDS=1", "LISTEN_PID=1")
	s := serve(t, environ)
	if a := (request{body: []byte(`{"event_id":"own","event_type":"email_sent"}`)}).insist(t, s.url); a.code != http.StatusOK {
		t.Errorf("%+v", a)
	}
	if code := s.stop(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}
