package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"sluice/event"
	"sluice/internal/deadline"
)

// Path is where webhooks are received. The same path with a slash after it
// works too, because a sender that is told 404 for a slash waits an hour.
const Path = "/webhook"

// Handler answers webhook requests. It is safe for concurrent use.
type Handler struct {
	opts     Options
	log      *zap.Logger // sampled by message
	metrics  *metrics
	limits   *limits
	patience *deadline.Shared // Options.RequestTimeout
	echo     *echo.Echo
	closing  atomic.Bool // answers say "Connection: close"
	exchange exchangePool
}

// New makes a Handler. The error names the options that are missing or
// impossible, or the metric that can't be registered.
func New(opts Options) (*Handler, error) {
	opts = opts.withDefaults()
	if err := opts.validate(); err != nil {
		return nil, err
	}
	h := &Handler{
		opts:   opts,
		log:    sampled(opts.Log),
		limits: &limits{maxRequests: opts.MaxInFlightRequests, maxBytes: opts.MaxInFlightBytes},

		patience: deadline.New(opts.RequestTimeout),
	}
	var keyNames []string
	if opts.Verifier != nil {
		keyNames = opts.Verifier.KeyNames()
	}
	var err error
	if h.metrics, err = newMetrics(opts.Registerer, keyNames, h.limits); err != nil {
		return nil, fmt.Errorf("ingest: registering metrics: %w", err)
	}
	h.echo = h.routes()
	return h, nil
}

// routes sets Echo up as a router and nothing more: no middleware, no binder,
// no error pages of its own.
func (h *Handler) routes() *echo.Echo {
	e := echo.New()
	e.Logger.SetOutput(io.Discard)
	e.HTTPErrorHandler = func(err error, c echo.Context) { h.refuse(exchangeOf(c), err) }
	for _, path := range []string{Path, Path + "/"} {
		e.POST(path, h.webhook)
		// Echo would answer 204 by itself.
		e.OPTIONS(path, func(echo.Context) error { return echo.ErrMethodNotAllowed })
	}
	return e
}

// ServeHTTP is the outermost frame of every request. Whatever happens inside,
// a panic in Echo included, ends in an answer.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := h.exchange.get(w, r)
	defer func() {
		if p := recover(); p != nil {
			h.recovered(x, p)
		}
		if x.webhook {
			observe(h.metrics.stageTotal, x.began)
		}
		h.exchange.put(x)
	}()
	h.echo.ServeHTTP(x, r)
}

// webhook is the path of every event, in the order in which it is walked. An
// error returned from here becomes an answer in refuse.
func (h *Handler) webhook(c echo.Context) error {
	x := exchangeOf(c)
	x.webhook = true
	h.metrics.received.Inc()

	if !h.limits.enter() {
		return errTooManyRequests
	}
	defer h.limits.leave()

	body, err := h.read(x)
	defer func() { h.limits.release(x.reserved) }()
	if err != nil {
		return err
	}
	received, step := h.opts.Now(), observe(h.metrics.stageRead, x.began)
	// Not the request's own: a sender that hangs up doesn't stop what was begun, since its retry would only find half of
	// it.
	ctx := h.patience.Context(step)

	keyName, err := h.verify(x, body, received)
	if err != nil {
		return err
	}
	step = observe(h.metrics.stageVerify, step)

	d := h.parse(x, body, keyName, received)
	step = observe(h.metrics.stageParse, step)

	claim, err := h.claim(ctx, d)
	if err != nil {
		return err
	}
	defer claim.abandon()
	duplicate, err := claim.judge(d)
	if err != nil {
		return err
	}
	step = observe(h.metrics.stageClaim, step)
	if duplicate {
		h.metrics.duplicates.inc(d.Event.Type)
		return h.answer(x, statusDuplicate, d)
	}

	outcome, err := h.publish(ctx, d, claim)
	observe(h.metrics.stagePublish, step)
	if err != nil {
		return err
	}
	if outcome == DeadLettered {
		h.deadLettered(d)
		return h.answer(x, statusDeadLettered, d)
	}
	if outcome == Spooled {
		h.metrics.spooled.Inc()
		return h.answer(x, statusSpooled, d)
	}
	h.metrics.published.inc(d.Event.Type)
	return h.answer(x, statusPublished, d)
}

// verify checks the signature over the bytes as they came.
func (h *Handler) verify(x *exchange, body []byte, now time.Time) (keyName string, err error) {
	if h.opts.Verifier == nil {
		return "", nil
	}
	header := x.request.Header
	keyName, err = h.opts.Verifier.Verify(first(header, headerTimestamp), first(header, headerSignature), body, now)
	if err != nil {
		return "", err
	}
	h.metrics.verified[keyName].Inc()
	return keyName, nil
}

// parse reads the envelope. A body that names no topic isn't refused: it is
// signed, so it is kept as a dead letter.
func (h *Handler) parse(x *exchange, body []byte, keyName string, received time.Time) *Delivery {
	header := x.request.Header
	d := &Delivery{
		Body:          body,
		KeyName:       keyName,
		Received:      received,
		RequestID:     x.id,
		CIODeliveryID: first(header, headerDeliveryID),
		Headers:       forwarded(header),
	}
	d.Event, d.RejectCause = event.Parse(body)
	if d.RejectCause != nil {
		d.Reject = event.ReasonNotJSON
		if parseError, ok := errors.AsType[*event.ParseError](d.RejectCause); ok {
			d.Reject = parseError.Reason
		}
	}
	return d
}

// claim asks whether the delivery is new.
func (h *Handler) claim(ctx context.Context, d *Delivery) (*heldClaim, error) {
	claim, err := h.opts.Deduper.Claim(ctx, d)
	if err == nil && claim == nil {
		err = errNoCause
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errClaimFailed, err)
	}
	return &heldClaim{Claim: claim}, nil
}

// publish hands the delivery and its claim over. Only an outcome that means
// "kept" comes back without an error.
func (h *Handler) publish(ctx context.Context, d *Delivery, claim *heldClaim) (Outcome, error) {
	claim.handedOver = true
	outcome, err := h.opts.Publisher.Publish(ctx, d, claim)
	claim.takenOver = true
	switch {
	case err == nil && (outcome == Published || outcome == DeadLettered || outcome == Spooled):
		return outcome, nil
	case outcome == NotKept:
		return outcome, fmt.Errorf("%w: %w", errNotKept, orNone(err))
	default:
		return outcome, fmt.Errorf("%w: %w", errOutcomeUnknown, orNone(err))
	}
}

// errNoCause stands for the error that a deduper or a publisher didn't give.
var errNoCause = errors.New("no cause given")

func orNone(err error) error {
	if err == nil {
		return errNoCause
	}
	return err
}

// deadLettered counts and logs an event that isn't on its own topic. The
// sender is told 200, so this line is how an operator learns of it.
func (h *Handler) deadLettered(d *Delivery) {
	reason := d.Reject
	if reason == "" {
		reason = publisherReason
	}
	h.metrics.countDeadLettered(reason)
	h.log.Warn("event kept as a dead letter: "+string(reason),
		zap.String("reason", string(reason)), zap.String("request_id", d.RequestID))
}
