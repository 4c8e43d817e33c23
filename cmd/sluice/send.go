package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/alecthomas/kong"

	"sluice/config"
	"sluice/internal/sender"
)

// sendCmd is "sluice send".
type sendCmd struct {
	config.Config `groups:"Signature"`

	Files []string `arg:"" optional:"" name:"file" help:"Bodies to send: a file each, or one a line in *.ndjson, *.jsonl and on standard input (-). Without files events are made up."`

	URL          string `name:"url" default:"http://127.0.0.1:8080/webhook" help:"Where to post."`
	SignWith     string `placeholder:"NAME" help:"Which of the signing keys to sign with. The first, unless given."`
	NoDeliveryID bool   `name:"no-delivery-id" help:"Leave out the X-CIO-Delivery-ID header."`
	NDJSON       *bool  `name:"ndjson" negatable:"" help:"Read one body a line from every file, or with --no-ndjson one from every file, whatever its name."`

	Count  *uint64  `short:"n" placeholder:"N" help:"Events to make up; 0: until --duration is over or you interrupt. One of each kind, unless given."`
	Types  []string `placeholder:"TYPE" help:"Make up events of these described types only."`
	Shape  string   `enum:"today,old,both" default:"both" placeholder:"today|old|both" help:"Form of the made-up events: object_type and metric, or event_type."`
	Odd    bool     `help:"Mix in unusual events, and bodies that must become dead letters."`
	Seed   uint64   `default:"1" placeholder:"N" help:"Decides about names and numbers in made-up events. Ids are new each time."`
	Ledger string   `placeholder:"FILE" help:"Write down what became of each event, one JSON object a line."`

	Duration    time.Duration `placeholder:"DURATION" help:"How long to begin new events."`
	Rate        float64       `placeholder:"N" help:"Most events begun a second. As fast as they are answered, unless given."`
	Concurrency int           `default:"1" placeholder:"N" help:"Events under way at a time; Customer.io keeps a queue."`
	Duplicates  share         `placeholder:"SHARE" help:"Share of events to post again without need, as 0.1 or 10%: half of them twice at once, half later."`
	Timeout     time.Duration `default:"4s" help:"How long to wait for an answer."`
	RetryFor    time.Duration `default:"60s" help:"How long to repeat an event before it is given up; 0: without end. Customer.io does for 7 days."`
	FirstWait   time.Duration `default:"500ms" help:"Pause before the first retry; each next one is twice as long."`
	MaxWait     time.Duration `default:"30s" help:"Longest pause between retries."`

	Output string `short:"o" enum:"text,json" default:"text" placeholder:"text|json" help:"Format of the summary."`
}

// Help says what it is for and shows how it is used.
func (sendCmd) Help() string {
	return `It posts signed events and repeats each until it is acknowledged, while those behind it wait. It exits with 0 only if every event was acknowledged.

Examples:

    # One event of each type in both shapes to the sluice on this machine:
    SLUICE_SIGNING_KEYS=main=KEY sluice send

    # For a minute 200 events a second, odd ones among them, a tenth of them twice, and a record of what became of each:
    sluice send --duration 1m --rate 200 --concurrency 16 --odd --duplicates 10% --ledger sent.ndjson`
}

// Validate refuses what can't be meant. Kong calls it.
func (c *sendCmd) Validate() error {
	if c.Concurrency < 1 {
		return fmt.Errorf("--concurrency must be at least 1 but is %d", c.Concurrency)
	}
	if c.Timeout <= 0 || c.FirstWait <= 0 || c.MaxWait <= 0 {
		return errors.New("--timeout, --first-wait and --max-wait must be above 0")
	}
	if len(c.Files) > 0 && (c.Count != nil || c.Odd || len(c.Types) > 0) {
		return errors.New("--count, --types and --odd are about made-up events, not about files")
	}
	if _, err := c.generator(); err != nil {
		return err
	}
	_, err := sender.New(c.options())
	return err
}

// Run sends the events and says what became of them.
func (c *sendCmd) Run(ctx context.Context, parsed *kong.Context, p *process) (err error) {
	if _, err = config.Load(&c.Config, config.SourcesOf(parsed, p.environ)); err != nil {
		return err
	}
	options := c.options()
	keyName, secret, err := signingKey(&c.Config, c.SignWith)
	if err != nil {
		return err
	}
	options.Key = secret
	events, total, err := c.events(p.stdin)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	show := newSendProgress(p.stderr, total)
	watch := &sendWatch{advice: sendAdvice{url: c.URL, keyName: keyName, timeout: c.Timeout}, say: show.say, stop: stop}
	if c.Ledger != "" {
		if watch.ledger, err = sender.OpenLedger(c.Ledger); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, watch.ledger.Close()) }()
	}
	options.Results, options.Failures = watch.result, watch.failure
	s, err := sender.New(options)
	if err != nil {
		return err
	}

	done := show.start(s.Progress)
	summary, err := s.Run(ctx, events)
	done()
	if err == nil {
		err = watch.fatal()
	}
	return errors.Join(err, c.print(p.stdout, &summary), missing(&summary))
}

// options are the sender's, but for the key and the hooks.
func (c *sendCmd) options() sender.Options {
	return sender.Options{
		URL: c.URL, Timeout: c.Timeout, Concurrency: c.Concurrency, Rate: c.Rate, Duplicates: float64(c.Duplicates),
		FirstWait: c.FirstWait, MaxWait: c.MaxWait, RetryFor: c.RetryFor, Duration: c.Duration,
	}
}

func (c *sendCmd) generator() (*sender.Generator, error) {
	return sender.NewGenerator(sender.GeneratorOptions{
		Types: c.Types, Shape: sender.Shape(c.Shape), Odd: c.Odd, Seed: c.Seed, DeliveryIDs: !c.NoDeliveryID,
	})
}

// events are those to send, and how many, 0 if that isn't known.
func (c *sendCmd) events(stdin io.Reader) (iter.Seq2[sender.Event, error], uint64, error) {
	if len(c.Files) > 0 {
		files := sender.Files{Names: c.Files, Stdin: stdin, DeliveryIDs: !c.NoDeliveryID}
		if c.NDJSON != nil {
			files.Format = sender.FormatBody
			if *c.NDJSON {
				files.Format = sender.FormatNDJSON
			}
		}
		return files.Events(), 0, nil
	}
	g, err := c.generator()
	if err != nil {
		return nil, 0, err
	}
	count := uint64(g.Pass())
	switch {
	case c.Count != nil:
		count = *c.Count
	case c.Duration > 0:
		count = 0
	}
	return g.Events(count), count, nil
}

func (c *sendCmd) print(w io.Writer, s *sender.Summary) error {
	write := s.WriteText
	if c.Output == "json" {
		write = s.WriteJSON
	}
	if err := write(w); err != nil {
		return fmt.Errorf("writing the summary: %w", err)
	}
	return nil
}

// missing says which events weren't acknowledged, if any.
func missing(s *sender.Summary) error {
	if s.NotAcknowledged == 0 {
		return nil
	}
	names := strings.Join(s.Unacknowledged, ", ")
	if rest := s.NotAcknowledged - int64(len(s.Unacknowledged)); rest > 0 {
		names += fmt.Sprintf(" and %s more", sender.Count(rest))
	}
	return fmt.Errorf("%s of %s events not acknowledged: %s", sender.Count(s.NotAcknowledged), sender.Count(s.Events), names)
}

// sendWatch follows a run from its hooks.
type sendWatch struct {
	advice sendAdvice
	say    func(string)
	stop   context.CancelCauseFunc
	ledger *sender.Ledger // nil for none

	mu           sync.Mutex // guards the rest
	acknowledged bool
	failed       error
}

// result writes the event down. A ledger with a gap is worse than none, so that its trouble ends the run.
func (w *sendWatch) result(r sender.Result) {
	if w.ledger != nil {
		if err := w.ledger.Write(&r); err != nil {
			w.end(err)
		}
	}
	w.mu.Lock()
	w.acknowledged = w.acknowledged || r.Acknowledged
	never := !w.acknowledged
	w.mu.Unlock()
	if never && hopeless(r.Code, r.Err) {
		w.end(errHopeless)
	}
}

// failure gives advice.
func (w *sendWatch) failure(a sender.Answer) {
	if text := w.advice.on(a); text != "" {
		w.say(text)
	}
}

func (w *sendWatch) end(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed == nil {
		w.failed = err
		w.stop(err)
	}
}

func (w *sendWatch) fatal() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}
