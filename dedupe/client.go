package dedupe

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"go.uber.org/zap"
)

// newClient makes the go-redis client of the URL. Nothing is dialled yet. The client is a *redis.ClusterClient for
// +cluster URLs, a *redis.Client else. connected, if not nil, is called for each new connection.
func newClient(o Options, connected func()) (redis.UniversalClient, error) {
	u, err := parseURL(o.URL)
	if err != nil {
		return nil, err
	}
	if o.Password != "" {
		u.Password = o.Password
	}
	// One attempt, one dial, the same bound on everything, and contexts obeyed: go-redis' defaults make a stopped
	// Redis cost 5 to 25 s a call.
	u.MaxRetries = -1
	u.MaxRedirects = 2 // cluster: a moved slot is followed inside the flight, whose deadline bounds it
	u.DialerRetries = 1
	u.ContextTimeoutEnabled = true
	u.DialTimeout, u.ReadTimeout, u.WriteTimeout, u.PoolTimeout = o.Timeout, o.Timeout, o.Timeout, o.Timeout
	// The pool that go-redis sets apart for pipelines falls over to the main one when dialling or the handshake
	// fails, so that a dead Redis costs every flight two timeouts. Without it the main pool carries the flights.
	u.PipelinePoolSize = -1
	u.ReadBufferSize, u.WriteBufferSize = 64<<10, 64<<10
	u.PoolSize = 32 // a node has one flight and at times a check; after as many failed dials go-redis fails without dialling for up to 1 s
	u.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	u.DisableIdentity = true // CLIENT SETINFO: a round trip a connection, unknown before Redis 7.2
	if connected != nil {
		u.OnConnect = func(context.Context, *redis.Conn) error { connected(); return nil }
	}
	return redis.NewUniversalClient(u), nil
}

// RouteClientLog sends what go-redis itself logs (every failed dial, at no level) to log's debug level instead of
// standard error. go-redis has one logger per process: call it once, at start.
func RouteClientLog(log *zap.Logger) { redis.SetLogger(clientLog{log.Named("go-redis")}) }

type clientLog struct{ log *zap.Logger }

// Printf implements go-redis' logger.
func (l clientLog) Printf(_ context.Context, format string, args ...any) {
	if l.log.Core().Enabled(zap.DebugLevel) {
		l.log.Debug(fmt.Sprintf(format, args...))
	}
}
