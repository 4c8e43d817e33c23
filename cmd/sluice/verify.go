package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/alecthomas/kong"

	"sluice/config"
	"sluice/ingest/signature"
	"sluice/internal/stream"
)

// verifyCmd is "sluice verify".
type verifyCmd struct {
	InsecureNoSignature, SignatureTolerance struct{} `kong:"-"`
	config.Config                           `groups:"Kafka,Topics,Signature"`

	Types []string `arg:"" optional:"" name:"type" predictor:"event-type" help:"Event types, or patterns such as 'email_*', or dead-letter. All topics that Sluice writes, unless given."`

	Since     *string `placeholder:"TIME" help:"Begin with the first record of this time or later, as 2026-01-31T15:04:05Z, 2026-01-31 (midnight UTC), or 10m, 2h, 7d ago. The oldest, unless given."`
	Until     *string `placeholder:"TIME" help:"End before the first record later than this. The end as of now, unless given."`
	Strict    bool    `help:"Records without a signature are wrong too."`
	Offenders int     `default:"10" placeholder:"N" help:"How many wrong records are listed; 0: all. JSON always has all."`
	Output    string  `short:"o" enum:"text,json" default:"text" placeholder:"text|json" help:"Format: a report, or a line of JSON for each wrong record and a last one with the counts."`
}

// Help says what it is for and shows how it is used.
func (verifyCmd) Help() string {
	return `Records keep the timestamp and the signature that they were received with. This verifies them again, with the signing keys of now, whatever their age: give the keys of the time as well, old ones too. It tells how many each key has signed, which are signed by none, and how many carry no signature, as those received with SLUICE_INSECURE_NO_SIGNATURE. It changes nothing, and belongs to no consumer group. It exits with 0 only if no record is wrong.

Examples:

    # Has anybody else written to the topics in the last day?
    SLUICE_SIGNING_KEYS=main=KEY,old=OLDKEY sluice verify --since 1d

    # The ids of the e-mail events of January that are signed by none of the keys:
    sluice verify 'email_*' --since 2026-01-01 --until 2026-02-01 -o json | jq -r 'select(.reason) | .event_id'`
}

// Validate refuses what can't be meant. Kong calls it.
func (c *verifyCmd) Validate() error {
	since, until, err := c.span(time.Now())
	switch {
	case err != nil:
		return err
	case !since.IsZero() && !until.IsZero() && until.Before(since):
		return fmt.Errorf("--until (%s) is before --since (%s)", until.Format(time.RFC3339), since.Format(time.RFC3339))
	case c.Offenders < 0:
		return fmt.Errorf("--offenders: want 0 or more, got %d", c.Offenders)
	}
	_, err = newTypeChoice(c.Types, false, false)
	return err
}

func (c *verifyCmd) span(now time.Time) (since, until time.Time, err error) {
	return (&tailCmd{Since: c.Since, Until: c.Until}).span(now)
}

// errNoVerifyingKey is a usage error.
const errNoVerifyingKey = "no signing key: set SLUICE_SIGNING_KEYS (or SLUICE_SIGNING_KEYS_FILE) to those of the receiver, former ones too"

// Run verifies and reports. Its error says that records are wrong, or couldn't all be read.
func (c *verifyCmd) Run(ctx context.Context, parsed *kong.Context, p *process) error {
	if _, err := config.Load(&c.Config, config.SourcesOf(parsed, p.environ)); err != nil {
		return err
	}
	if len(c.SigningKeys) == 0 {
		return &config.InvalidError{Problems: []string{errNoVerifyingKey}}
	}
	verifier, err := signature.New(signingKeys(&c.Config), time.Nanosecond)
	if err != nil {
		return err
	}
	v := newVerify(verifier, c, p.stdout)
	show := newCountedProgress(p.stderr, verifyShown{}.text(time.Time{}))
	v.say = show.say
	o := stream.Options{Brokers: c.KafkaBrokers, Connect: connection(&c.Config), Log: noticesTo(lineWriter(show.say))}
	if o.Topics, o.Match, err = chooseTopics(ctx, &c.Config, c.Types, p.stderr); err != nil {
		return err
	}
	if len(c.Types) > 0 {
		chosen, err := newTypeChoice(c.Types, false, false)
		if err != nil {
			return err
		}
		o.Keep = chosen.in(topicOptions(&c.Config)).keep
	}
	if o.Since, o.Until, err = c.span(time.Now()); err != nil {
		return err
	}
	o.FromStart = o.Since.IsZero()
	reader, err := stream.NewReader(o)
	if err != nil {
		return err
	}
	done := show.start(func() shown { return v.progress() })
	err = reader.RunFrom(ctx, stream.From{Placed: v.placed}, v.take)
	done()
	if ctx.Err() != nil {
		err = errors.New("interrupted, hence incomplete")
	}
	v.report.Complete = err == nil
	return errors.Join(explainUnreachable(err), v.write(), v.verdict())
}
