//go:build !nodemo

package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sluice/config"
	"sluice/dedupe"
	"sluice/event"
	"sluice/ingest/signature"
	"sluice/internal/audit"
	"sluice/internal/demo"
	"sluice/internal/sender"
)

// demoCommand is a part of [cli]. Builds with the tag nodemo, such as the image's, are without it and without the fakes.
type demoCommand struct {
	Demo demoCmd `cmd:"" help:"Try it all in one process, with nothing installed."`
}

// demoCmd is "sluice demo".
type demoCmd struct {
	Duration    time.Duration `placeholder:"DURATION" help:"End after this time, with a check of the topics. 0: at Ctrl-C." default:"0"`
	Rate        float64       `placeholder:"N" help:"Events sent a second." default:"20"`
	Duplicates  float64       `placeholder:"SHARE" help:"Share of the events that are sent twice, from 0 to 1." default:"0.1"`
	Send        bool          `negatable:"" help:"Send events; without, only what you post arrives." default:"true"`
	Listen      string        `placeholder:"HOST:PORT" help:"Address that receives webhooks; by default 127.0.0.1:8080, or any free port if that is taken."`
	AdminListen string        `placeholder:"HOST:PORT" help:"Address of the status page; by default 127.0.0.1:8081, or any free port if that is taken."`
	Output      string        `enum:"auto,live,lines" default:"auto" placeholder:"auto|live|lines" help:"A table that redraws itself, or lines; auto: the table on a terminal."`
}

// Help says what it is for and shows how it is used.
func (demoCmd) Help() string {
	return `A Kafka, a Redis, Sluice and a sender run in this process. Sluice itself is what "sluice serve" runs. The sender posts signed events of every type, some of them odd, some twice; it stops after 10 minutes or 50,000 events, while Sluice goes on receiving what you post. At the end a reader that shares no code with Sluice compares the topics with what was sent, and the exit code is 1 if anything differs. Everything is in memory and gone afterwards. No SLUICE_… variable is used.

Examples:

    # Watch it until Ctrl-C:
    sluice demo

    # Ten seconds, faster:
    sluice demo --duration 10s --rate 200`
}

// The demo's bounds.
const (
	demoSendFor    = 10 * time.Minute
	demoSendEvents = 50_000
	demoReadFor    = time.Minute // the check of the topics
)

// demoKey signs the demo's events. It opens nothing else.
const demoKey = "sluice-demo-key-which-is-no-secret"

// Run runs it until ctx ends or the duration is over.
func (c *demoCmd) Run(ctx context.Context, p *process) error {
	return c.run(ctx, p, func(*demo.Servers) {})
}

// run is Run with a hook that gets the servers before anything uses them.
func (c *demoCmd) run(ctx context.Context, p *process, opened func(*demo.Servers)) error {
	servers, err := demo.Open(demoKafka)
	if err != nil {
		return err
	}
	defer servers.Close()
	opened(servers)
	conf, err := c.config(servers)
	if err != nil {
		return err
	}
	screen := newScreen(p.stdout, c.Output == "live" || c.Output == "auto" && isTerminal(p.stdout))
	log, err := newLogger(config.Log{LogLevel: "error", LogFormat: "console"}, screen)
	if err != nil {
		return err
	}
	dedupe.RouteClientLog(log)
	s, err := open(ctx, conf, log)
	if err != nil {
		return err
	}
	// Sluice outlives ctx: what was sent has to be answered before it is checked.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	served := make(chan error, 1)
	go func() { served <- s.serve(serving) }()

	t := &trial{command: c, service: s, servers: servers, screen: screen, process: p}
	err = t.run(ctx, served)
	stop()
	return errors.Join(err, <-served)
}

// config is that of "sluice serve", for the demo's servers.
func (c *demoCmd) config(servers *demo.Servers) (*config.Config, error) {
	var conf config.Config
	_, err := config.Load(&conf, config.Sources{Environ: []string{
		"SLUICE_LISTEN=" + given(c.Listen, demoListen),
		"SLUICE_ADMIN_LISTEN=" + given(c.AdminListen, demoAdminListen),
		"SLUICE_SIGNING_KEYS=demo=" + demoKey,
		"SLUICE_KAFKA_BROKERS=" + servers.Brokers()[0],
		"SLUICE_REDIS_URL=" + servers.RedisURL(),
		"SLUICE_INSTANCE=demo",
	}})
	return &conf, err
}

// The usual addresses.
const (
	demoListen      = "127.0.0.1:8080"
	demoAdminListen = "127.0.0.1:8081"
	demoKafka       = "127.0.0.1:9092"
)

// given is the address that was asked for, or else the usual one, or else any port of loopback.
func given(address, usual string) string {
	if address != "" {
		return address
	}
	l, err := net.Listen("tcp", usual)
	if errors.Is(err, syscall.EADDRINUSE) {
		return "127.0.0.1:0"
	}
	if err == nil {
		_ = l.Close()
	}
	return usual
}

// trial is one run of the demo.
type trial struct {
	command *demoCmd
	service *service
	servers *demo.Servers
	screen  *screen
	process *process
	sent    []audit.Sent
}

// run sends, shows what happens, and checks the topics at the end.
func (t *trial) run(ctx context.Context, served chan error) error {
	if t.command.Duration > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, t.command.Duration)
		defer stop()
	}
	generator, err := sender.NewGenerator(sender.GeneratorOptions{Odd: true, DeliveryIDs: true})
	if err != nil {
		return err
	}
	post, err := sender.New(sender.Options{
		URL: t.service.webhook(), Key: demoKey, Rate: t.command.Rate, Duplicates: t.command.Duplicates,
		Concurrency: 8, Duration: demoSendFor, RetryFor: 10 * time.Second,
		Results: t.record,
	})
	if err != nil {
		return err
	}
	t.greet(generator)

	sending := make(chan sender.Summary, 1)
	go func() {
		var summary sender.Summary
		if t.command.Send {
			// Its error is that of reading events, and these are made.
			summary, _ = post.Run(ctx, generator.Events(demoSendEvents))
		}
		sending <- summary
	}()
	tick := time.NewTicker(t.screen.every())
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			t.screen.show(t.table())
		case err := <-served:
			served <- nil
			return fmt.Errorf("sluice has ended: %w", err)
		}
	}
	t.screen.clear()
	return t.check(context.WithoutCancel(ctx), <-sending)
}

// record keeps what the check needs of an event, which isn't its body.
func (t *trial) record(r sender.Result) {
	t.sent = append(t.sent, audit.Sent{
		ID: r.Event.ID, DeliveryID: r.Event.DeliveryID, Type: r.Event.Type,
		Body: sha256.Sum256(r.Event.Body), Acknowledged: r.Acknowledged,
	})
}

// greet says where everything is.
func (t *trial) greet(generator *sender.Generator) {
	// An event that the sender won't make, with a person of its own.
	id := generator.Event(demoSendEvents).ID
	body := `{"event_id":"` + id + `","object_type":"email","metric":"opened","timestamp":` + strconv.FormatInt(time.Now().Unix(), 10) +
		`,"data":{"delivery_id":"posted-by-hand","identifiers":{"id":"you"},"subject":"Hello"}}`
	timestamp := strconv.FormatInt(time.Now().Unix(), 10)
	fmt.Fprintf(t.process.stdout, `Sluice with a Kafka, a Redis and a sender in one process. All of it is gone when it ends.

  webhook      %[1]s
  signing key  %[2]s
  status page  %[3]s/
  Kafka        %[4]s

Post an event yourself; the second time it is a duplicate:

  curl -sS %[1]s -H 'X-CIO-Timestamp: %[5]s' -H 'X-CIO-Signature: %[6]s' -d '%[7]s'

Read along in another terminal:

  go run ./cmd/sluice tail --kafka-brokers %[4]s

`, t.service.webhook(), demoKey, t.service.admin.URL(), t.servers.Brokers()[0], timestamp, signature.Sign(demoKey, timestamp, []byte(body)), body)
	if taken := t.taken(); len(taken) > 0 {
		fmt.Fprintf(t.process.stdout, "Another program has %s, hence the other ports.\n\n", strings.Join(taken, ", "))
	}
	if t.command.Send {
		fmt.Fprintf(t.process.stdout, "Sending %v events a second. Ctrl-C ends it with a check of the topics.\n\n", t.command.Rate)
	}
}

// taken lists the usual addresses that weren't free.
func (t *trial) taken() (taken []string) {
	for _, a := range []struct{ asked, usual, got string }{
		{t.command.Listen, demoListen, t.service.server.URL()},
		{t.command.AdminListen, demoAdminListen, t.service.admin.URL()},
		{"", demoKafka, t.servers.Brokers()[0]},
	} {
		if a.asked == "" && !strings.HasSuffix(a.got, a.usual) {
			taken = append(taken, a.usual)
		}
	}
	return taken
}

// topicsOf are the topics on which an event of a type may be.
func (t *trial) topicsOf(eventType string) []string {
	topics := topicOptions(t.service.config)
	switch {
	case eventType == "":
		return []string{topics.DeadLetter}
	case event.IsKnown(eventType):
		return []string{topics.Name(eventType)}
	}
	return []string{topics.Name(eventType), topics.Overflow} // beyond max-topics
}
