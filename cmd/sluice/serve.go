package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"

	"sluice/config"
	"sluice/dedupe"
	"sluice/event"
	"sluice/ingest"
	"sluice/internal/admin"
	"sluice/publisher"
	"sluice/publisher/balance"
)

// serveCmd is "sluice serve".
type serveCmd struct {
	config.Config
}

// Help says what it is for and shows how it is used.
func (serveCmd) Help() string {
	return `It answers POST /webhook and writes each signed event to its Kafka topic once. It starts whether or not Kafka and Redis can be reached, and refuses to start if Redis turns it away.

Examples:

    # With Kafka and Redis on this machine:
    SLUICE_SIGNING_KEYS=main=KEY sluice serve

    # Two workspaces, settings from a file, another port:
    sluice serve --config sluice.yaml --signing-keys eu=KEY1,us=KEY2 --listen :9000`
}

// Run serves until ctx ends and everything is drained, or until a part fails.
func (c *serveCmd) Run(ctx context.Context, parsed *kong.Context, p *process) error {
	report, err := config.Load(&c.Config, config.SourcesOf(parsed, p.environ))
	if err != nil {
		return err
	}
	log, err := newLogger(c.Log, p.stderr)
	if err != nil {
		return err
	}
	dedupe.RouteClientLog(log)
	for _, w := range report.Warnings {
		log.Warn("configuration: " + w)
	}
	if c.SpoolDir == "" {
		log.Info("without spool-dir, events that are under way when this process is killed may be stored twice")
	}
	if c.InsecureNoSignature {
		log.Warn("SIGNATURES ARE NOT CHECKED: whoever reaches the port can write to the topics")
	}
	sockets, err := takeOver(p.environ, log)
	if err != nil {
		return err
	}
	limitMemory(int64(c.MaxInFlightBytes))
	s, err := openOn(ctx, &c.Config, log, sockets)
	if err != nil {
		return err
	}
	return s.serve(ctx)
}

// memoryBeside is what serve may take beside the bodies in flight: requests to Kafka and the spool, and all that is small.
const memoryBeside = 128 << 20

// limitMemory has the collector keep the process below the bodies in flight and memoryBeside, where GOMEMLIMIT doesn't say
// otherwise. By itself it lets garbage grow to as much as is in use: large bodies would take their cap twice.
func limitMemory(bodies int64) {
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		debug.SetMemoryLimit(bodies + memoryBeside)
	}
}

// service is everything that runs:
//
//	sender → server → handler ─claim→ deduper → Redis
//	                          └publish→ publisher → Kafka
//	operator → admin (health, metrics, page)
type service struct {
	config    *config.Config
	log       *zap.Logger
	metrics   *prometheus.Registry
	book      *balance.Book // what becomes of the events on their way
	deduper   *dedupe.Deduper
	publisher *publisher.Publisher
	handler   *ingest.Handler
	server    *ingest.Server
	admin     *admin.Server
	inherited inherited
}

// open is openOn with sockets of its own.
func open(ctx context.Context, c *config.Config, log *zap.Logger) (*service, error) {
	return openOn(ctx, c, log, inherited{})
}

// openOn builds the parts from the inside out and listens, on the inherited
// sockets where there are any; nothing is accepted before serve. After an error
// nothing is left running.
func openOn(ctx context.Context, c *config.Config, log *zap.Logger, sockets inherited) (_ *service, err error) {
	reg := prometheus.NewRegistry()
	s := &service{config: c, log: log, metrics: reg, book: new(balance.Book), inherited: sockets}
	defer func() {
		if err != nil {
			s.closeAll()
			sockets.close()
		}
	}()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), s.book)
	mode, err := dedupe.ParseMode(c.DedupeID)
	if err != nil {
		return nil, err
	}
	if s.deduper, err = newDeduper(c, log, reg); err != nil {
		return nil, err
	}
	if err = s.deduper.Check(ctx); err != nil {
		return nil, err
	}
	remember := func(k publisher.Kept) { s.deduper.Remember(k.ID, k.DeadLetter) }
	if s.publisher, err = newPublisher(c, remember, s.book, log, reg); err != nil {
		return nil, err
	}
	// Before anything is accepted: what an earlier process has published, or has left to this one to publish, is kept.
	for _, k := range s.publisher.Recovered() {
		remember(k)
	}
	if err = s.guard(mode); err != nil {
		return nil, err
	}
	if s.handler, err = newHandler(c, deduper{s.deduper, mode, s.book}, publishing{s.publisher, mode}, log.Named("ingest"), reg); err != nil {
		return nil, err
	}
	if s.server, err = ingest.NewServer(ingest.ServerOptions{
		Addr: c.Listen, Listener: sockets.webhook, Handler: s.handler, Log: log.Named("http"),
		ReadHeaderTimeout: c.ReadHeaderTimeout, IdleTimeout: c.IdleTimeout,
	}); err != nil {
		return nil, err
	}
	if s.admin, err = admin.New(admin.Options{
		Addr: c.AdminListen, Listener: sockets.admin, Gatherer: reg, AsyncAPI: event.AsyncAPI(), Dependencies: s.dependencies, Balance: s.book.Balance, Log: log.Named("admin"),
		Insecure: c.InsecureNoSignature, Version: thisBuild().version,
	}); err != nil {
		return nil, err
	}
	if err = s.admin.Open(ctx); err != nil {
		return nil, listenError("admin-listen", err)
	}
	if err = s.server.Open(ctx); err != nil {
		return nil, listenError("listen", err)
	}
	return s, nil
}

// listenError says what to do about an address that can't be had.
func listenError(setting string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w\nAnother program, perhaps another sluice, has that port; choose one with --%s or %s", err, setting, config.Env(setting))
	}
	return fmt.Errorf("--%s: %w", setting, err)
}

// webhook is the address to post to.
func (s *service) webhook() string { return s.server.URL() + ingest.Path }

// serve runs until ctx ends or a listener fails, then shuts down.
func (s *service) serve(ctx context.Context) error {
	failed := make(chan error, 2)
	go func() { failed <- s.admin.Serve() }()
	go func() { failed <- s.server.Serve() }()
	s.admin.SetReady()
	s.log.Info("listening", zap.String("version", thisBuild().version), zap.String("webhook", s.webhook()), zap.String("admin", s.admin.URL()),
		zap.Strings("inherited", s.inherited.names()))

	var err error
	running := 2
	select {
	case <-ctx.Done():
	case err = <-failed:
		running--
	}
	err = errors.Join(err, s.shutdown(context.WithoutCancel(ctx)))
	for range running {
		err = errors.Join(err, <-failed)
	}
	return err
}

// shutdown ends the parts from the outside in, each step with a bound, all of
// them within ShutdownTimeout; before that it is unready for ShutdownDelay. A step that fails doesn't keep the next from
// running: what can still be kept is kept.
func (s *service) shutdown(ctx context.Context) error {
	s.admin.SetDraining()
	<-time.After(s.config.ShutdownDelay) // a second signal ends the process at once
	total := s.config.ShutdownTimeout
	deadline := time.Now().Add(total)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	steps := []struct {
		name  string
		until time.Time
		do    func(context.Context) error
	}{
		// Requests that have begun get their answers; those need Kafka and Redis.
		{"drain requests", deadline.Add(-total / 2), s.server.Drain},
		// Batches that were sent get their answers, which the claims wait for.
		{"settle batches", deadline.Add(-total / 4), s.publisher.Close},
		// Redis learns of what is kept.
		{"write marks", deadline.Add(-total / 8), s.writeMarks},
		{"close admin", deadline, s.admin.Close},
	}
	var failed error
	for _, step := range steps {
		began := time.Now()
		sctx, stop := context.WithDeadline(ctx, step.until)
		err := step.do(sctx)
		stop()
		s.log.Info("shutdown", zap.String("step", step.name), zap.Duration("took", time.Since(began)), zap.Error(err))
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("shutdown, %s: %w", step.name, err))
		}
	}
	s.account()
	return failed
}

// marksAway is how long the end waits for a Redis that is away. Nothing listens meanwhile, which costs the sender more than
// the marks of some retries.
const marksAway = 2 * time.Second

func (s *service) writeMarks(ctx context.Context) error {
	if !s.deduper.State().Up {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, marksAway)
		defer cancel()
	}
	return s.deduper.Close(ctx)
}

// account logs the balance of this life, and what is left to the next.
func (s *service) account() {
	n := s.book.Balance()
	s.log.Info("balance", zap.Reflect("balance", n))
	if n.Spooled > 0 {
		s.log.Warn("events are left on disk and may be nowhere else: an instance that starts with this spool-dir publishes them",
			zap.Int64("events", n.Spooled), zap.String("spool_dir", s.config.SpoolDir), zap.String("instance", s.config.Instance))
	}
	if n.InFlight > 0 {
		s.log.Warn("what became of some events isn't known: their senders weren't told 200 and will send them again", zap.Int64("events", n.InFlight))
	}
}

// closeAll undoes a failed open.
func (s *service) closeAll() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var err error
	if s.server != nil {
		err = s.server.Close()
	}
	if s.admin != nil {
		err = errors.Join(err, s.admin.Close(ctx))
	}
	if s.publisher != nil {
		err = errors.Join(err, s.publisher.Close(ctx))
	}
	if s.deduper != nil {
		err = errors.Join(err, s.deduper.Close(ctx))
	}
	if err != nil {
		s.log.Warn("cleaning up", zap.Error(err))
	}
}

// dependencies tells the admin pages what Kafka and Redis do.
func (s *service) dependencies() []admin.Dependency {
	up, since, err := s.publisher.State()
	kafka := admin.Dependency{Name: "kafka", Up: up, Since: since}
	if err != nil {
		kafka.Detail = err.Error()
	}
	r := s.deduper.State()
	if r.Up && r.Unrepaired {
		r.Reason = "being repaired: what it has lost of kept events may be published again"
	}
	return []admin.Dependency{kafka, {Name: "redis", Up: r.Up, Since: r.Since, Detail: r.Reason}}
}
