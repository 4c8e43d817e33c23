package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"sluice/config"
	"sluice/internal/stream"
)

// tailCmd is "sluice tail".
type tailCmd struct {
	config.Config `groups:"Kafka,Topics"`

	Types      []string `arg:"" optional:"" name:"type" predictor:"event-type" help:"Event types, or patterns such as 'email_*'. All that Customer.io documents, unless given. dead-letter alone: only dead letters."`
	Unknown    bool     `help:"Also types that Customer.io doesn't document, and the overflow topic."`
	DeadLetter bool     `help:"Also dead letters."`

	Since  *string `placeholder:"TIME" help:"Begin with the first event of this time or later, as 2026-01-31T15:04:05Z, 2026-01-31 (midnight UTC), or 10m, 2h, 7d ago."`
	Until  *string `placeholder:"TIME" help:"End before the first event later than this, and don't follow."`
	Last   *int    `short:"n" placeholder:"N" help:"Begin with the last N events of all topics together, and don't follow unless --follow is given."`
	Follow *bool   `short:"f" negatable:"" help:"Go on with events as they arrive. The default, except with --until or --last."`
	Output string  `short:"o" enum:"auto,pretty,json,raw" default:"auto" placeholder:"auto|pretty|json|raw" help:"Format: a line to read, a record line of JSON, or the body alone. auto: pretty on a terminal, else json."`
}

// Help says where it begins and ends, and shows how it is used.
func (tailCmd) Help() string {
	return `Without --since and --last it begins now, or with the oldest event if it isn't to follow. The events that are there come in the order of their time; then others as they arrive, also from topics that are new. It changes nothing in Kafka, belongs to no consumer group, and needs no rights but to describe and read the topics. Ctrl-C ends it.

Examples:

    # Every e-mail event as it arrives, and those of the last ten minutes:
    sluice tail 'email_*' --since 10m

    # The ids of the last 100 bounced pushes:
    sluice tail push_bounced -n 100 -o raw | jq -r .event_id`
}

// Validate refuses flags that don't fit together.
func (c *tailCmd) Validate() error {
	since, until, err := c.span(time.Now())
	switch {
	case err != nil:
		return err
	case c.Last != nil && *c.Last < 0:
		return fmt.Errorf("--last: want 0 or more, got %d", *c.Last)
	case c.Until != nil && c.Follow != nil && *c.Follow:
		return errors.New("--until and --follow exclude each other")
	case !since.IsZero() && !until.IsZero() && until.Before(since):
		return fmt.Errorf("--until (%s) is before --since (%s)", until.Format(time.RFC3339), since.Format(time.RFC3339))
	}
	_, err = newTypeChoice(c.Types, c.Unknown, c.DeadLetter)
	return err
}

// span is the times of the flags, zero for those that weren't given.
func (c *tailCmd) span(now time.Time) (since, until time.Time, err error) {
	if c.Since != nil {
		if since, err = stream.ParseTime(*c.Since, now); err != nil {
			return since, until, fmt.Errorf("--since: %w", err)
		}
	}
	if c.Until != nil {
		if until, err = stream.ParseTime(*c.Until, now); err != nil {
			return since, until, fmt.Errorf("--until: %w", err)
		}
	}
	return since, until, nil
}

// follows resolves the default of --follow.
func (c *tailCmd) follows() bool {
	if c.Follow != nil {
		return *c.Follow
	}
	return c.Until == nil && c.Last == nil
}

// Run prints until it is through, ctx ends or nobody reads any more.
func (c *tailCmd) Run(ctx context.Context, parsed *kong.Context, p *process) error {
	if _, err := config.Load(&c.Config, config.SourcesOf(parsed, p.environ)); err != nil {
		return err
	}
	types, err := newTypeChoice(c.Types, c.Unknown, c.DeadLetter)
	if err != nil {
		return err
	}
	if c.Last != nil && *c.Last == 0 && !c.follows() {
		return nil
	}
	chosen := types.in(topicOptions(&c.Config))
	if err := chosen.check(ctx, &c.Config, c.follows(), p.stderr); err != nil {
		if ctx.Err() != nil {
			return nil // it was told to end
		}
		return err
	}
	o, err := c.readerOptions(chosen, p.stderr)
	if err != nil {
		return err
	}

	// Writing to a standard output that nobody reads would end the process by a signal.
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	defer signal.Stop(broken)
	out := newTailOutput(p.stdout, c.format(p, chosen))
	o.Idle = out.Flush
	reader, err := stream.NewReader(o)
	if err != nil {
		return err
	}
	err = reader.Run(ctx, out.print)
	if flushed := out.Flush(); err == nil {
		err = flushed
	}
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
		return nil
	}
	return explainUnreachable(err)
}

func (c *tailCmd) readerOptions(chosen *topicChoice, stderr io.Writer) (stream.Options, error) {
	since, until, err := c.span(time.Now())
	if err != nil {
		return stream.Options{}, err
	}
	o := stream.Options{
		Brokers: c.KafkaBrokers, Connect: connection(&c.Config),
		Keep: chosen.keep, Since: since, Until: until, Follow: c.follows(), Log: noticesTo(stderr),
	}
	o.Topics, o.Match = chosen.topics()
	if c.Last != nil {
		o.Last = *c.Last
	}
	o.FromStart = !o.Follow && c.Since == nil && c.Last == nil
	if o.Follow {
		o.Ready = func(topics int) { fmt.Fprintf(stderr, "sluice: following %d topics; Ctrl-C ends\n", topics) }
	}
	return o, nil
}

// noticeName begins a notice.
const noticeName = "sluice:"

// noticesTo is a log of plain lines for someone who sits before it.
func noticesTo(w io.Writer) *zap.Logger {
	encoder := zapcore.NewConsoleEncoder(zapcore.EncoderConfig{
		NameKey: "name", MessageKey: "message", ConsoleSeparator: " ",
		EncodeName:     func(_ string, out zapcore.PrimitiveArrayEncoder) { out.AppendString(noticeName) }, // without the package
		EncodeDuration: zapcore.StringDurationEncoder,
	})
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), zap.InfoLevel)).Named(noticeName)
}

// explainUnreachable says what to do about brokers that don't answer.
func explainUnreachable(err error) error {
	if errors.Is(err, stream.ErrUnreachable) {
		return fmt.Errorf("%w; check --kafka-brokers (SLUICE_KAFKA_BROKERS), TLS and login, and whether Kafka is up", err)
	}
	return err
}
