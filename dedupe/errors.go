package dedupe

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// What [Deduper.Claim] and [Deduper.Check] return beside errors of the caller's context. Every one of Claim's is
// passing: the sender should come again (503).
var (
	// ErrBusy: somebody else, here or in another instance, is publishing this very ID, and hasn't finished within
	// the claim timeout.
	ErrBusy = errors.New("dedupe: the same delivery is being handled")
	// ErrUnavailable: Redis can't be asked and [Options.WhenDown] is [Closed].
	ErrUnavailable = errors.New("dedupe: redis is unavailable")
	// ErrOverloaded: [Options.MaxPending] claims are unsettled.
	ErrOverloaded = errors.New("dedupe: too many unsettled claims")
	// ErrClosed: [Deduper.Close] has been called.
	ErrClosed = errors.New("dedupe: closed")
	// ErrMisconfigured: Redis answers, but refuses in a way that waiting doesn't cure: wrong password, missing
	// permission, unknown command, a cluster without a +cluster URL. Refuse to start.
	ErrMisconfigured = errors.New("dedupe: redis refuses")
)

// errAway is what a command gets that was not sent because the breaker is open.
var errAway = errors.New("dedupe: not sent, redis is away")

// errNoMaster stands for a Sentinel's nil: it watches no master of that name.
var errNoMaster = errors.New("no sentinel knows the master of that name")

// notSent wraps an error that belongs to the connection and not to any command. go-redis leaves the commands of a
// pipeline without error when connecting failed on a Redis reply (wrong password, a Sentinel that doesn't know the
// master): only Exec returns it.
type notSent struct{ error }

func (e notSent) Unwrap() error { return e.error }

// fault classes failures; it is also the label of redis_errors_total.
type fault string

const (
	faultNone       fault = ""
	faultDial       fault = "dial"       // no connection
	faultTimeout    fault = "timeout"    // no answer in time
	faultConnection fault = "connection" // the connection broke
	faultLoading    fault = "loading"
	faultReadOnly   fault = "readonly" // a replica, or a failover under way
	faultMisconf    fault = "misconf"  // Redis can't persist and so refuses writes
	faultMemory     fault = "oom"
	faultCluster    fault = "cluster" // slots without a master, or moving
	faultClients    fault = "max_clients"
	faultScript     fault = "busy_script"
	faultAuth       fault = "auth"
	faultPermission fault = "permission"
	faultMoved      fault = "moved"      // a cluster redirect where none is followed
	faultWrongType  fault = "wrong_type" // the key isn't ours: says nothing about Redis
	faultRefused    fault = "refused"    // any other error reply
)

var faults = []fault{
	faultDial, faultTimeout, faultConnection, faultLoading, faultReadOnly, faultMisconf, faultMemory, faultCluster,
	faultClients, faultScript, faultAuth, faultPermission, faultMoved, faultWrongType, faultRefused,
}

// permanent reports whether waiting doesn't cure the fault.
func (f fault) permanent() bool {
	return f == faultAuth || f == faultPermission || f == faultMoved || f == faultRefused
}

// classify names the fault behind a command's error. Replies are told by go-redis' types, else by the error code,
// the first word, which the Redis protocol sets apart for that ("Simple errors" in the RESP specification).
func classify(err error) fault {
	switch {
	case err == nil:
		return faultNone
	case errors.Is(err, errNoMaster):
		return faultRefused
	}
	if _, ok := errors.AsType[redis.Error](err); ok {
		return classifyReply(err)
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return faultDial
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return faultDial
	}
	var slow net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, redis.ErrPoolTimeout) ||
		(errors.As(err, &slow) && slow.Timeout()) {
		return faultTimeout
	}
	return faultConnection
}

func classifyReply(err error) fault {
	for _, k := range []struct {
		is func(error) bool
		f  fault
	}{
		{redis.IsLoadingError, faultLoading},
		{redis.IsReadOnlyError, faultReadOnly},
		{redis.IsOOMError, faultMemory},
		{redis.IsClusterDownError, faultCluster},
		{redis.IsMasterDownError, faultCluster},
		{redis.IsTryAgainError, faultCluster},
		{redis.IsNoReplicasError, faultMisconf},
		{redis.IsMaxClientsError, faultClients},
		{redis.IsAuthError, faultAuth},
		{redis.IsPermissionError, faultPermission},
	} {
		if k.is(err) {
			return k.f
		}
	}
	if _, moved := redis.IsMovedError(err); moved {
		return faultMoved
	}
	if _, ask := redis.IsAskError(err); ask {
		return faultMoved
	}
	switch {
	case redis.HasErrorPrefix(err, "MISCONF "):
		return faultMisconf
	case redis.HasErrorPrefix(err, "BUSY "):
		return faultScript
	case redis.HasErrorPrefix(err, "WRONGTYPE "):
		return faultWrongType
	}
	return faultRefused
}

// lostConnection reports whether the connection broke under a command: worth one more try on a fresh one, as a
// restarted Redis or an idle timeout leaves dead connections in the pool. A dial that failed or an answer that
// didn't come would only fail again.
func lostConnection(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed)
}
