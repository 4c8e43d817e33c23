package testenv

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/twmb/franz-go/pkg/kfake"
)

// apartVar makes a test binary serve the fakes instead of running its tests.
const apartVar = "SLUICE_TEST_SERVE_FAKES"

// Apart starts kfake and miniredis in a process of their own, so that what is measured in this one is without them: their
// allocations above all. It is this test binary once more, and needs Main or Wrap in TestMain.
func Apart(t testing.TB) (brokers []string, redisURL string) {
	t.Helper()
	bin, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := Process(t, bin, []string{apartVar + "=1"})
	line := strings.Fields(p.WaitLog(t, 30*time.Second, "fakes:"))
	return line[1:2], "redis://" + line[2]
}

// serveFakes does what Apart asks for, until it is killed.
func serveFakes() error {
	kafka, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DefaultNumPartitions(1))
	if err != nil {
		return fmt.Errorf("starting kfake: %w", err)
	}
	redis, err := miniredis.Run()
	if err != nil {
		return fmt.Errorf("starting miniredis: %w", err)
	}
	fmt.Fprintln(os.Stdout, "fakes:", kafka.ListenAddrs()[0], redis.Addr())
	select {}
}
