package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// shared is what the tests of one test binary have in common. It is the one global of this package: a broker or a
// binary that outlives a single test has no other place to be found by the next.
//
//nolint:gochecknoglobals // see above
var shared sharedState

// sharedState is guarded by its mutex, which is held while something is started.
type sharedState struct {
	mu       sync.Mutex
	dir      string // "" unless Wrap's Run is under way
	kafka    *Cluster
	kafkaErr error
	binaries map[string]builtBinary
}

// errNoMain tells a test's author what is missing.
var errNoMain = errors.New("what tests share needs `func TestMain(m *testing.M) { testenv.Main(m) }`, or Wrap")

// Runner is what TestMain is given; *testing.M is one.
type Runner interface{ Run() int }

// Main is the whole of a TestMain: it runs the tests, ends what they shared and exits.
func Main(m Runner) {
	os.Exit(Wrap(m).Run()) //nolint:revive // that is what a TestMain ends with
}

// Wrap is Main for a TestMain that has something else to do: goleak.VerifyTestMain(testenv.Wrap(m)) looks for leaks
// after the shared servers have ended. In a process that [Apart] has started it doesn't return.
func Wrap(m Runner) Runner {
	if os.Getenv(apartVar) != "" {
		fmt.Fprintln(os.Stderr, serveFakes())
		os.Exit(1) //nolint:revive // before anybody has made anything that wants to be ended
	}
	return wrapped{m}
}

type wrapped struct{ inner Runner }

// Run runs the tests. The shared servers and files are gone when it returns; that failing makes the exit code 1.
func (w wrapped) Run() int {
	dir, err := os.MkdirTemp("", "sluice-testenv-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "testenv: making a folder for what tests share:", err)
		return 1
	}
	shared.mu.Lock()
	shared.dir = dir
	shared.mu.Unlock()
	code := w.inner.Run()
	if err := shared.end(); err != nil {
		fmt.Fprintln(os.Stderr, "testenv: ending what tests shared:", err)
		code = max(code, 1)
	}
	return code
}

// end stops everything and empties the state.
func (s *sharedState) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if s.kafka != nil {
		err = s.kafka.close()
	}
	err = errors.Join(err, os.RemoveAll(s.dir))
	s.kafka, s.kafkaErr, s.binaries, s.dir = nil, nil, nil, ""
	return err
}

// SharedKafka is one broker for all tests of this test binary, started by the first that asks and ended by Main or
// Wrap. Tests keep to topics of their own (see Env.Prefix) and never kill, freeze or restart it.
func SharedKafka(t testing.TB) *Cluster {
	t.Helper()
	Need(t, ServerKafka)
	shared.mu.Lock()
	defer shared.mu.Unlock()
	switch {
	case shared.dir == "":
		t.Fatal(errNoMain)
	case shared.kafka == nil && shared.kafkaErr == nil:
		shared.kafka, shared.kafkaErr = startShared(filepath.Join(shared.dir, "kafka"))
	}
	if shared.kafkaErr != nil {
		t.Fatalf("starting the shared Kafka: %v", shared.kafkaErr)
	}
	log := shared.kafka.brokers[0].logFile()
	t.Cleanup(func() { showLog(t, "the shared Kafka broker", log) })
	return shared.kafka
}

// startShared starts the shared broker; it leaves nothing behind when it fails.
func startShared(dir string) (*Cluster, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making its folder: %w", err)
	}
	c, err := newCluster(dir)
	if err != nil {
		return nil, err
	}
	if err := c.start(context.Background()); err != nil { // it outlives the test that asked first
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}
