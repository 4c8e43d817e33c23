package testenv

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// caller is a listener and a command that connects to it and holds the connection for as long as the process lives.
func caller(t *testing.T, role string) (net.Listener, *exec.Cmd) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, ln.Addr().String())
	cmd.Env = []string{roleVar + "=" + role}
	return ln, cmd
}

// accept takes the connection that tells whether the process lives; reading from it then ends after patience.
func accept(t *testing.T, ln net.Listener, patience time.Duration) net.Conn {
	t.Helper()
	if err := ln.(*net.TCPListener).SetDeadline(time.Now().Add(killWait)); err != nil {
		t.Fatal(err)
	}
	conn, err := ln.Accept()
	if err != nil {
		t.Fatalf("the process has not connected: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestChildDiesWithTestBinary kills a test binary that has started a process: the process must not outlive it.
func TestChildDiesWithTestBinary(t *testing.T) {
	ln, cmd := caller(t, "parent")
	parent, err := startChild(cmd)
	if err != nil {
		t.Fatal(err)
	}
	conn := accept(t, ln, killWait) // made by the grandchild: it lives
	if err := parent.end(os.Kill, killWait); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("the grandchild's connection says %v, want the end of file that its death causes", err)
	}
}

// TestChildOutlivesThread ends the thread that asked for a process: the process must go on, though Linux ties the
// parent-death signal to a thread.
func TestChildOutlivesThread(t *testing.T) {
	ln, cmd := caller(t, "caller")
	var c *child
	var err error
	offMain(func() { c, err = startChild(cmd) })
	if err != nil {
		t.Fatal(err)
	}
	conn := accept(t, ln, 300*time.Millisecond)
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the process's connection says %v; its exit code is %d", err, c.exitCode())
	}
	if err := c.end(os.Kill, killWait); err != nil {
		t.Fatal(err)
	}
}

// offMain runs f on a thread that has ended, or is about to, when offMain returns.
func offMain(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked, so the thread ends with this goroutine
		if syscall.Gettid() == os.Getpid() {
			offMain(f) // but not the main thread, which only sleeps
			return
		}
		f()
	}()
	<-done
}
