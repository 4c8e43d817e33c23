package ingest

import (
	"errors"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"sluice/ingest/signature"
)

// Why a request is refused, beside the errors of the signature package and
// Echo's two.
var (
	errTooManyRequests = errors.New("too many requests in flight")
	errTooManyBytes    = errors.New("too many body bytes in flight")
	errTooLarge        = errors.New("body over the limit")
	errBodyTimeout     = errors.New("body did not arrive in time")
	errBodyRead        = errors.New("body could not be read")
	errClaimFailed     = errors.New("claiming")
	errNotKept         = errors.New("publishing: not kept")
	errOutcomeUnknown  = errors.New("publishing: outcome unknown")
	errPanic           = errors.New("panic")
	errInternal        = errors.New("internal error")
)

// refusal is the answer to one kind of error.
type refusal struct {
	err    error
	status int
	reason string // in the answer, the log and refused_total
	// cause: the error's text comes from our own parts and says more than the
	// reason, so it's worth logging. The others may hold a sender's address.
	cause bool
}

// refusals is the one table from errors to answers; it is never written to.
// The codes are chosen by what the sender does next: after 401, 404 and 405
// (and 400 and 500, which are not used at all) it waits an hour before the next
// event, after 408, 413 and 503 it retries with its ordinary backoff.
var refusals = [...]refusal{
	{err: signature.ErrMissing, status: http.StatusUnauthorized, reason: "missing_signature"},
	{err: signature.ErrMalformed, status: http.StatusUnauthorized, reason: "malformed_signature"},
	{err: signature.ErrStale, status: http.StatusUnauthorized, reason: "stale_timestamp"},
	{err: signature.ErrMismatch, status: http.StatusUnauthorized, reason: "signature_mismatch"},
	{err: echo.ErrNotFound, status: http.StatusNotFound, reason: "not_found"},
	{err: echo.ErrMethodNotAllowed, status: http.StatusMethodNotAllowed, reason: "method_not_allowed"},
	{err: errBodyTimeout, status: http.StatusRequestTimeout, reason: "body_timeout"},
	{err: errBodyRead, status: http.StatusRequestTimeout, reason: "body_read"},
	{err: errTooLarge, status: http.StatusRequestEntityTooLarge, reason: "body_too_large"},
	{err: errTooManyRequests, status: http.StatusServiceUnavailable, reason: "too_many_requests"},
	{err: errTooManyBytes, status: http.StatusServiceUnavailable, reason: "too_many_bytes"},
	{err: errClaimFailed, status: http.StatusServiceUnavailable, reason: "claim_failed", cause: true},
	{err: errNotKept, status: http.StatusServiceUnavailable, reason: "not_kept", cause: true},
	{err: errOutcomeUnknown, status: http.StatusServiceUnavailable, reason: "outcome_unknown", cause: true},
	{err: errPanic, status: http.StatusServiceUnavailable, reason: "panic"},
	internal,
}

// internal is for errors that nobody thought of, such as a new one of Echo's.
//
//nolint:gochecknoglobals // a constant
var internal = refusal{err: errInternal, status: http.StatusServiceUnavailable, reason: "internal", cause: true}

// RetryAfter is the Retry-After of every 503, in seconds: long enough for a
// broker to elect a leader, short enough not to build up a queue at the sender.
const RetryAfter = "5"

func refusalOf(err error) refusal {
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return r
		}
	}
	return internal
}

// refuse answers a request with the error's code, counts it and logs it. The
// rest of the body is read away first.
func (h *Handler) refuse(x *exchange, err error) {
	r := refusalOf(err)
	h.metrics.refused[r.reason].Inc()
	h.logRefusal(x, r, err)

	header := x.Header()
	if !h.discard(x) {
		x.linger()
		header["Connection"] = connectionClose
	}
	switch r.status {
	case http.StatusServiceUnavailable:
		header["Retry-After"] = retryAfter
	case http.StatusMethodNotAllowed:
		header["Allow"] = allowPost
	}
	x.buf = appendRefusal(x.buf[:0], r.reason, x.id)
	h.send(x, r.status)
}

// The numbers of lines that one reason may log: in ordinary trouble each
// refused request has its line, in a flood the disk stays empty and
// refused_total has the numbers.
const (
	logTick     = time.Minute
	logsPerTick = 100
)

// sampled caps the lines of each message. The reason is part of the message
// for that.
func sampled(log *zap.Logger) *zap.Logger {
	return log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(core, logTick, logsPerTick, 0)
	}))
}

// logRefusal writes the one line of a refused request. It holds nothing that
// the sender chose, except a request id of harmless characters.
func (h *Handler) logRefusal(x *exchange, r refusal, err error) {
	level := zapcore.InfoLevel
	if r.status == http.StatusServiceUnavailable || r.status == http.StatusRequestEntityTooLarge {
		level = zapcore.WarnLevel
	}
	entry := h.log.Check(level, "request refused: "+r.reason)
	if entry == nil {
		return
	}
	fields := []zap.Field{
		zap.String("reason", r.reason), zap.String("request_id", x.id), zap.Int("status", r.status),
	}
	if r.cause {
		fields = append(fields, zap.Error(err))
	}
	entry.Write(fields...)
}

// recovered ends a request that panicked, http.ErrAbortHandler included: a
// closed connection would cost the sender an hour.
func (h *Handler) recovered(x *exchange, p any) {
	fields := []zap.Field{
		zap.String("request_id", x.id), zap.String("panic", panicText(p)), zap.ByteString("stack", debug.Stack()),
	}
	h.log.Error("handler panicked", fields...)
	if !x.answered {
		h.refuse(x, errPanic)
	}
}

// panicText is the message of a run-time error, whose text the Go run time
// makes, and only the type of any other value, which may hold bytes of a body.
func panicText(p any) string {
	switch p := p.(type) {
	case runtime.Error:
		return p.Error()
	case error:
		if errors.Is(p, http.ErrAbortHandler) {
			return p.Error()
		}
	}
	return typeName(p)
}
