package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/alecthomas/kong"
	"go.uber.org/zap"

	"sluice/config"
	"sluice/dedupe"
	"sluice/internal/sender"
	"sluice/internal/stream"
)

// dedupeCmd is "sluice dedupe".
type dedupeCmd struct {
	Rebuild dedupeRebuildCmd `cmd:"" help:"Mark again in Redis what the topics hold."`
}

// dedupeRebuildCmd is "sluice dedupe rebuild".
type dedupeRebuildCmd struct {
	config.Config `groups:"Kafka,Topics,Dedupe"`

	Since      *string `placeholder:"TIME" help:"Begin with the first record of this time or later, as 2026-01-31T15:04:05Z, 2026-01-31 (midnight UTC), or 12h, 8d ago. As long ago as events are remembered (dedupe-ttl), unless given."`
	DryRun     bool    `help:"Write nothing; only count how many marks are missing."`
	Rate       float64 `default:"20000" help:"Most marks a second; 0: as fast as it goes."`
	Checkpoint string  `placeholder:"FILE" help:"Note in this file every few seconds, and when interrupted, how far it has come. It is removed at the end."`
	Resume     bool    `help:"Go on from the checkpoint."`
	Output     string  `short:"o" enum:"text,json" default:"text" placeholder:"text|json" help:"Format of the summary."`
}

// Help says what it is for and shows how it is used.
func (dedupeRebuildCmd) Help() string {
	return `When Redis has lost its data, by a flush, a failover or an old backup, events that are kept would be kept again if the sender repeated them. This reads the topics up to their ends as of now and marks every event that they hold, for as long as it would have been remembered. Instances may run meanwhile: what they have marked or are handling is left as it is. It belongs to no consumer group and changes nothing in Kafka. It exits with 0 only if every event that can be marked is.

Examples:

    # How many marks are missing?
    sluice dedupe rebuild --dry-run

    # Write those of the last eight days, not too fast, and go on after an interruption with --resume:
    sluice dedupe rebuild --since 192h --rate 5000 --checkpoint rebuild.json`
}

// Validate refuses what can't be meant. Kong calls it.
func (c *dedupeRebuildCmd) Validate() error {
	if c.Since != nil {
		if _, err := stream.ParseTime(*c.Since, time.Now()); err != nil {
			return fmt.Errorf("--since: %w", err)
		}
	}
	switch {
	case c.Rate < 0 || math.IsNaN(c.Rate):
		return fmt.Errorf("--rate: want 0 or more, got %v", c.Rate)
	case c.Resume && c.Checkpoint == "":
		return errors.New("--resume needs --checkpoint")
	}
	return nil
}

// errIncomplete ends a run that has not marked everything.
var errIncomplete = errors.New("incomplete")

// errOccupied is why, if waiting doesn't change it.
var errOccupied = errors.New("keys under the prefix hold what Sluice doesn't write; does something else use it?")

// Run reads, marks and says what came of it.
func (c *dedupeRebuildCmd) Run(ctx context.Context, parsed *kong.Context, p *process) (err error) {
	if _, err = config.Load(&c.Config, config.SourcesOf(parsed, p.environ)); err != nil {
		return err
	}
	mode, err := dedupe.ParseMode(c.DedupeID)
	if err != nil {
		return err
	}
	state, err := c.begin()
	if err != nil {
		return err
	}
	show := newCountedProgress(p.stderr, rebuildShown{}.text(time.Time{}))
	log := noticesTo(lineWriter(show.say))
	marker, err := c.marker(ctx, log)
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%w: interrupted before anything was read", errIncomplete)
		}
		return err
	}
	defer func() { err = errors.Join(err, marker.Close()) }()
	reader, err := rebuildReader(&c.Config, state.Since, log)
	if err != nil {
		return err
	}
	r := newRebuild(rebuildOptions{
		Topics: topicOptions(&c.Config), Mode: mode, TTL: c.DedupeTTL, Lease: c.DedupeLease, Rate: c.Rate,
		Marker: marker, DryRun: c.DryRun, Checkpoint: c.Checkpoint, Say: show.say,
	}, state)
	done := show.start(func() shown { return r.progress() })
	err = r.run(ctx, reader)
	done()
	summary := r.summary(err == nil)
	return errors.Join(explainUnreachable(err), summary.print(p.stdout, c.Output))
}

// begin is where the run begins: anew, or where the checkpoint says.
func (c *dedupeRebuildCmd) begin() (*rebuildState, error) {
	want := c.settings()
	if c.Resume {
		return readCheckpoint(c.Checkpoint, want)
	}
	if c.Checkpoint != "" {
		if err := checkpointThere(c.Checkpoint); err != nil {
			return nil, err
		}
	}
	now := time.Now()
	since := now.Add(-c.DedupeTTL)
	if c.Since != nil {
		var err error
		if since, err = stream.ParseTime(*c.Since, now); err != nil {
			return nil, fmt.Errorf("--since: %w", err)
		}
	}
	return newRebuildState(want, since), nil
}

// settings are those that a checkpoint belongs to.
func (c *dedupeRebuildCmd) settings() rebuildSettings {
	s := rebuildSettings{
		Brokers: c.KafkaBrokers, Topic: c.Topic, DeadLetter: c.DeadLetterTopic, Overflow: c.OverflowTopic,
		Redis: c.RedisURL.String(), Prefix: c.RedisPrefix, TTL: c.DedupeTTL.String(), ID: c.DedupeID, DryRun: c.DryRun,
	}
	if c.Since != nil {
		s.Since = *c.Since
	}
	return s
}

// marker connects to Redis, and fails if that can't be asked at the start: later it is waited for.
func (c *dedupeRebuildCmd) marker(ctx context.Context, log *zap.Logger) (*dedupe.Marker, error) {
	o := redisOptions(&c.Config, log)
	dedupe.RouteClientLog(zap.NewNop())
	if _, err := dedupe.Lookup(ctx, o, "~rebuild"); err != nil {
		return nil, fmt.Errorf("%w; check --redis-url (SLUICE_REDIS_URL), and whether Redis is up", err)
	}
	return dedupe.NewMarker(o)
}

// redisOptions are those of a marker, which has more time than a request.
func redisOptions(c *config.Config, log *zap.Logger) dedupe.Options {
	return dedupe.Options{
		URL: c.RedisURL.Reveal(), Password: c.RedisPassword.Reveal(), Prefix: c.RedisPrefix,
		Timeout: max(c.RedisTimeout, leastRedisTimeout), Log: log,
	}
}

// rebuildReader reads every topic that Sluice writes, as far as there are such.
func rebuildReader(c *config.Config, since time.Time, log *zap.Logger) (*stream.Reader, error) {
	// Marks are written slowly beside live traffic: there is no use in holding much of what comes next.
	o := stream.Options{Brokers: c.KafkaBrokers, Connect: connection(c), Since: since, Log: log, Ahead: 2 << 20}
	o.Topics, o.Match = everyTopic(topicOptions(c))
	return stream.NewReader(o)
}

// count writes a number for people.
func count(n int64) string { return sender.Count(n) }
