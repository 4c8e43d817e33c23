package testenv

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// roleVar makes the test binary play another program: see playRole.
const roleVar = "TESTENV_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVar); role != "" {
		os.Exit(playRole(role, os.Args[1:]))
	}
	goleak.VerifyTestMain(Wrap(m))
}

// playRole is what the test binary does when a test starts it as the program under test.
func playRole(role string, args []string) int {
	switch role {
	case "server": // listens, says where, answers 204, exits with 7 on SIGTERM
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM)
		ln, err := net.Listen("tcp", args[0])
		if err != nil {
			return 1
		}
		srv := &http.Server{
			Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }),
			ReadHeaderTimeout: time.Second,
		}
		go func() { _ = srv.Serve(ln) }()
		fmt.Fprintln(os.Stdout, "environment:", os.Environ())
		fmt.Fprintln(os.Stderr, "listening on", ln.Addr())
		<-stop
		return 7
	case "parent": // starts a child that is never ended in good order
		self, err := os.Executable()
		if err != nil {
			return 1
		}
		cmd := exec.CommandContext(context.Background(), self, args...)
		cmd.Env = []string{roleVar + "=caller"}
		if _, err := startChild(cmd); err != nil {
			return 1
		}
		select {}
	case "caller": // holds a connection open for as long as it lives
		conn, err := net.Dial("tcp", args[0])
		if err != nil {
			return 1
		}
		_, _ = conn.Read(make([]byte, 1))
		return 0
	default:
		return 2
	}
}
