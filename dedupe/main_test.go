package dedupe

import (
	"testing"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"sluice/internal/testenv"
)

func TestMain(m *testing.M) {
	RouteClientLog(zap.NewNop())
	goleak.VerifyTestMain(testenv.Wrap(m), leakOptions()...)
}

// leakOptions names what go-redis leaves behind for a moment after Close; both end by themselves.
func leakOptions() []goleak.Option {
	return []goleak.Option{
		// After PoolSize failed dials a pool dials in the background, sleeping a second in between.
		goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"),
		// Reading the cluster's slots again is followed by a pause of 200 ms.
		goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9.(*clusterStateHolder).LazyReload.func1"),
	}
}
