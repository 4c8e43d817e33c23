package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/time/rate"

	"sluice/config"
	"sluice/internal/stream"
	"sluice/internal/stream/group"
)

// subscribeCmd is "sluice subscribe".
type subscribeCmd struct {
	config.Config `groups:"Signature,Kafka,Topics"`

	Types   []string `arg:"" optional:"" name:"type" predictor:"event-type" help:"Event types, or patterns such as 'email_*'. All that Customer.io documents, unless given. dead-letter: dead letters; dead-letter:GROUP: those of a group."`
	Unknown bool     `help:"Also types that Customer.io doesn't document, and the overflow topic."`

	Group string `required:"" short:"g" placeholder:"GROUP" help:"Consumer group. Its members share the partitions, and each goes on where the group has got to."`
	From  string `default:"earliest" placeholder:"earliest|latest|TIME" help:"Where a group begins in topics that it hasn't read yet: with the oldest event (earliest, the default), with what arrives from now on (latest), or with the first event of a time, as 2026-01-31T15:04:05Z, 2026-01-31 (midnight UTC), or 10m, 2h, 7d ago."`

	HTTP     string `name:"http" placeholder:"URL" help:"Post each event's body there, signed as Customer.io signs. Unless given, events are printed."`
	JQ       string `name:"jq" placeholder:"EXPR" help:"Only events for which this jq expression gives anything but false or null, such as 'select(.data.campaign_id==42)'."`
	Customer string `placeholder:"ID" help:"Only events of the person with this id, cio_id, customer_id or e-mail address."`

	Posts           postFlags `embed:""`
	GroupDeadLetter string    `name:"group-dead-letter" placeholder:"TOPIC" help:"Where events go that are given up. dead-letter-topic with _GROUP added, unless given."`

	Output string `short:"o" enum:"json,raw" default:"json" placeholder:"json|raw" help:"What to print: a record line of JSON, or the body alone."`

	Rate    float64       `placeholder:"N" help:"Most events a second; 0: as fast as it goes."`
	Count   int64         `short:"n" placeholder:"N" help:"End after so many events."`
	Follow  bool          `short:"f" default:"true" negatable:"" help:"Go on with events as they arrive. --no-follow ends when all is read."`
	Session time.Duration `default:"15s" help:"How long the group waits for a member that has vanished before others take over."`
}

// Help says what it promises and shows how it is used.
func (subscribeCmd) Help() string {
	return `It reads the topics as a member of a consumer group, and prints events or posts them to a webhook handler. Each event is delivered at least once: the group's position moves on only behind what was printed, or answered 2xx. Whatever else the handler answers, the event is posted again, with growing pauses; events of the same topic and key wait behind it, others don't. An event that is given up goes to a dead-letter topic of the group. Ctrl-C ends it: what is under way is finished, and other members take over at once.

Examples:

    # Every event to a handler made for Customer.io; start it again, or several times, to go on:
    SLUICE_SIGNING_KEYS=main=KEY sluice subscribe --group crm --http http://127.0.0.1:3000/webhook

    # All bounces so far, once, and next time only new ones:
    sluice subscribe --group bounces --no-follow email_bounced -o raw >> bounces.ndjson`
}

// Validate refuses what can't be meant. Kong calls it.
func (c *subscribeCmd) Validate() error {
	if _, err := newTypeChoice(c.Types, c.Unknown, false); err != nil {
		return err
	}
	if _, _, err := c.from(time.Now()); err != nil {
		return err
	}
	if _, err := c.filters(context.Background(), nil, &replayCounts{}); err != nil {
		return err
	}
	switch {
	case c.Group == "":
		return errors.New("--group: want the name of a consumer group")
	case c.Count < 0:
		return fmt.Errorf("--count: want 0 or more, got %d", c.Count)
	case c.Rate < 0 || math.IsNaN(c.Rate) || math.IsInf(c.Rate, 0):
		return fmt.Errorf("--rate: want 0 or more, got %v", c.Rate)
	case c.Session < time.Second:
		return fmt.Errorf("--session: want at least 1s, got %s", c.Session)
	case c.HTTP == "" && (c.Posts.SignWith != "" || c.GroupDeadLetter != ""):
		return errors.New("--sign-with and --group-dead-letter are for --http")
	}
	if c.HTTP == "" {
		return nil
	}
	return errors.Join(c.Posts.check(), c.Posts.checkURL("--http", c.HTTP))
}

// from is where to begin in what the group hasn't read.
func (c *subscribeCmd) from(now time.Time) (since time.Time, latest bool, err error) {
	switch c.From {
	case "earliest":
	case "latest":
		latest = true
	default:
		if since, err = stream.ParseTime(c.From, now); err != nil {
			err = fmt.Errorf("--from: want earliest, latest or a time: %w", err)
		}
	}
	return since, latest, err
}

// Run delivers until ctx ends, or what was asked for is done.
func (c *subscribeCmd) Run(ctx context.Context, parsed *kong.Context, p *process) error {
	if _, err := config.Load(&c.Config, config.SourcesOf(parsed, p.environ)); err != nil {
		return err
	}
	types, err := newTypeChoice(c.Types, c.Unknown, false)
	if err != nil {
		return err
	}
	chosen := types.in(topicOptions(&c.Config))
	if err := chosen.check(ctx, &c.Config, c.Follow, p.stderr); err != nil && !errors.Is(err, stream.ErrUnreachable) { // Kafka is waited for
		if ctx.Err() != nil {
			return nil // it was told to end
		}
		return err
	}
	var unjudged replayCounts
	o, err := c.options(chosen, p.stderr)
	if err != nil {
		return err
	}
	if o.Filters, err = c.filters(ctx, chosen, &unjudged); err != nil {
		return err
	}

	// Writing to a standard output that nobody reads would end the process by a signal.
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	defer signal.Stop(broken)

	to := delivery(&printed{w: p.stdout, format: c.format()})
	if c.HTTP != "" {
		posts, err := c.openHTTP(ctx, chosen, o.Log)
		if err != nil {
			if ctx.Err() != nil {
				return nil // it was told to end
			}
			return explainUnreachable(err)
		}
		defer posts.close()
		o.Settle = c.Posts.Timeout + time.Second
		to = posts
	}
	o.Sink = to.sink
	member, err := group.New(o)
	if err != nil {
		return err
	}
	began := time.Now()
	err = member.Run(ctx)
	fmt.Fprintf(p.stderr, "sluice: %s events in %s%s\n", count(member.Counts().Wanted), time.Since(began).Round(time.Millisecond), to.summary())
	if n := unjudged.NotJSON + unjudged.Failed; n > 0 {
		fmt.Fprintf(p.stderr, "sluice: %s events were left out because --jq can't judge them: they aren't JSON, or it fails on them\n", count(n))
	}
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
		return nil
	}
	return explainUnreachable(err)
}

// delivery is where events go.
type delivery interface {
	sink() (stream.Sink, error)
	// summary follows the number of events in the last line.
	summary() string
}

// options are the member's, but for the sink.
func (c *subscribeCmd) options(chosen *topicChoice, stderr io.Writer) (group.Options, error) {
	since, latest, err := c.from(time.Now())
	if err != nil {
		return group.Options{}, err
	}
	o := group.Options{
		Brokers: c.KafkaBrokers, Connect: connection(&c.Config), Group: c.Group, Since: since, Latest: latest,
		Count: c.Count, CaughtUp: !c.Follow, Session: c.Session, Log: noticesTo(stderr),
	}
	o.Topics, o.Match = chosen.topics()
	if c.HTTP != "" && c.Posts.Attempts > 0 {
		dead := c.deadLetterTopic(chosen)
		if slices.Contains(o.Topics, dead) || o.Match != nil && o.Match(dead) {
			return o, fmt.Errorf("--group-dead-letter=%s: it is among the topics to read, so that what fails would come again without end", dead)
		}
	}
	if c.Rate > 0 {
		o.Limit = rate.NewLimiter(rate.Limit(c.Rate), 1+int(min(c.Rate/100, math.MaxInt32)))
	}
	return o, nil
}

// filters leave out what isn't wanted; the group's position moves on over it.
func (c *subscribeCmd) filters(ctx context.Context, chosen *topicChoice, counts *replayCounts) ([]stream.Filter, error) {
	more, err := (&replayCmd{JQ: c.JQ, Customer: c.Customer}).filters(ctx, counts)
	return append([]stream.Filter{func(r *stream.Record) (bool, error) { return chosen.keep(r), nil }}, more...), err
}

// format is the text of a record.
func (c *subscribeCmd) format() tailFormat {
	if c.Output == "raw" {
		return func(b []byte, r *stream.Record) []byte { return append(append(b, r.Value...), '\n') }
	}
	return func(b []byte, r *stream.Record) []byte { return append(stream.AppendLine(b, r), '\n') }
}
