package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"sluice/config"
	"sluice/internal/groups"
	"sluice/internal/stream"
)

// rewindCmd is "sluice rewind".
type rewindCmd struct {
	config.Config `groups:"Kafka,Topics"`

	Types []string `arg:"" optional:"" name:"type" predictor:"event-type" help:"Event types, or patterns such as 'email_*', or dead-letter. The topics on which the group has offsets, unless given."`

	Group   string  `short:"g" required:"" placeholder:"NAME" help:"The consumer group."`
	To      *string `placeholder:"TIME" help:"Where it is to go on: with the first event of this time or later, as 2026-01-31T15:04:05Z, 2026-01-31 (midnight UTC), or 10m, 2h, 7d ago; or earliest, or latest."`
	Restore *string `placeholder:"FILE" help:"Put back the offsets that an earlier run has saved in this file."`
	Execute bool    `help:"Do it. Without, it only prints the plan."`
	Save    *string `placeholder:"FILE" help:"With --execute: save the offsets of before here. rewind-GROUP-TIME.json in this folder, unless given."`
	Output  string  `short:"o" enum:"text,json" default:"text" placeholder:"text|json" help:"Format of the plan."`
}

// Help says what it is for and shows how it is used.
func (rewindCmd) Help() string {
	return `It sets the offsets that a consumer group has committed, so that its consumers go on from there when they start again. It prints what it would set, and how many events would then come; the number is that of offsets, so it is at most so many. Nothing is changed without --execute, and nothing while the group has members: stop its consumers first. Only consumers that assign partitions to themselves aren't seen as members. Before anything is changed the offsets of before are saved in a file; --restore puts them back, and partitions that had none lose theirs again. It exits with 0 only if Kafka then has what was planned.

Examples:

    # What would come again if the group went back two hours?
    sluice rewind --group analytics --to 2h

    # Do it for the e-mail events, and undo it:
    sluice rewind --group analytics --to 2h --execute --save before.json 'email_*'
    sluice rewind --group analytics --restore before.json --execute`
}

// Places that --to names.
const (
	toEarliest = "earliest"
	toLatest   = "latest"
)

// Validate refuses what can't be meant. Kong calls it.
func (c *rewindCmd) Validate() error {
	switch {
	case c.Group == "":
		return errors.New("--group: name the consumer group")
	case (c.To == nil) == (c.Restore == nil):
		return errors.New("give either --to or --restore")
	case c.Restore != nil && len(c.Types) > 0:
		return errors.New("--restore puts back what the file has: leave out the types")
	}
	if c.To != nil {
		if _, err := c.target(time.Now()); err != nil {
			return err
		}
	}
	_, err := newTypeChoice(c.Types, false, false)
	return err
}

// target is the time of --to, zero for earliest and latest.
func (c *rewindCmd) target(now time.Time) (time.Time, error) {
	text := *c.To
	if text == toEarliest || text == toLatest {
		return time.Time{}, nil
	}
	if ago, minus := strings.CutPrefix(text, "-"); minus && !strings.Contains(ago, "-") { // -2h is 2h ago
		text = ago
	}
	t, err := stream.ParseTime(text, now)
	if err != nil {
		return t, fmt.Errorf("--to: %w, or earliest or latest", err)
	}
	return t, nil
}

// Run plans, and executes if it is told to.
func (c *rewindCmd) Run(ctx context.Context, parsed *kong.Context, p *process) error {
	if _, err := config.Load(&c.Config, config.SourcesOf(parsed, p.environ)); err != nil {
		return err
	}
	admin, err := groups.New(ctx, c.KafkaBrokers, connection(&c.Config))
	if err != nil {
		return err
	}
	defer admin.Close()
	plan, err := c.plan(ctx, admin, p.stderr)
	if err != nil {
		return endedEarly(ctx, err)
	}
	switch {
	case c.Execute:
		err = c.execute(ctx, admin, plan, p)
	case plan.group.MayBeSet():
		plan.Notes = append(plan.Notes, "nothing was changed; --execute does it")
	default:
		plan.Notes = append(plan.Notes, "nothing was changed, and --execute would refuse: "+occupied(plan.group).Error())
	}
	switch {
	case c.Output == "json":
		err = errors.Join(err, writeJSON(p.stdout, plan))
	case !c.Execute:
		err = plan.writeText(p.stdout)
	}
	return explainUnreachable(err)
}

// plan is what is to be set. The file's name is checked here, before the user decides.
func (c *rewindCmd) plan(ctx context.Context, admin *groups.Admin, stderr io.Writer) (*rewindPlan, error) {
	cluster, err := admin.Cluster(ctx)
	if err != nil {
		return nil, err
	}
	plan := &rewindPlan{Group: c.Group, Cluster: cluster, Partitions: []rewindPartition{}, Notes: []string{}}
	if plan.group, err = admin.Describe(ctx, c.Group); err != nil {
		return nil, err
	}
	plan.State = plan.group.State
	if plan.before, err = admin.Offsets(ctx, c.Group); err != nil {
		return nil, err
	}
	if c.Save != nil {
		if _, err := os.Lstat(*c.Save); err == nil {
			return nil, fmt.Errorf("--save: %s is there already, and isn't overwritten", *c.Save)
		}
	}
	if c.Restore != nil {
		return plan, c.planRestore(ctx, plan)
	}
	return plan, c.planTo(ctx, plan, stderr)
}

// planTo plans for --to.
func (c *rewindCmd) planTo(ctx context.Context, plan *rewindPlan, stderr io.Writer) error {
	now := time.Now()
	at, err := c.target(now)
	if err != nil {
		return err
	}
	if len(c.Types) > 0 && !topicOptions(&c.Config).PerType() {
		return fmt.Errorf("all events are on one topic (%s), and a group is at one place of it: leave out the types", c.Topic)
	}
	topics, match, err := chooseTopics(ctx, &c.Config, c.Types, stderr)
	if err != nil {
		return err
	}
	var times []time.Time
	plan.To = *c.To
	if !at.IsZero() {
		times, plan.To = []time.Time{at}, at.UTC().Format(time.RFC3339)
	}
	places, err := stream.Places(ctx, c.KafkaBrokers, connection(&c.Config), topics, match, times...)
	if err != nil {
		return err
	}
	plan.set(*c.To, places, len(c.Types) == 0)
	if len(plan.Partitions) > 0 {
		return nil
	}
	if len(c.Types) > 0 {
		return errors.New("there is no topic of these types")
	}
	if plan.State == groups.Missing {
		return fmt.Errorf("there is no group %q, or it has never committed; sluice groups lists those that there are. To give a new one its offsets, name the event types", c.Group)
	}
	return fmt.Errorf("group %q has no offsets on Sluice's topics: name the event types, or see --topic (SLUICE_TOPIC)", c.Group)
}

// planRestore plans for --restore.
func (c *rewindCmd) planRestore(ctx context.Context, plan *rewindPlan) error {
	saved, err := readRewind(*c.Restore)
	if err != nil {
		return err
	}
	switch {
	case saved.Group != c.Group:
		return fmt.Errorf("%s has the offsets of group %q, not of %q", *c.Restore, saved.Group, c.Group)
	case saved.Cluster != plan.Cluster:
		return fmt.Errorf("%s is of another Kafka cluster (%s; this one is %s)", *c.Restore, saved.Cluster, plan.Cluster)
	}
	plan.To = "as saved " + saved.Saved.Format(time.RFC3339)
	places, err := stream.Places(ctx, c.KafkaBrokers, connection(&c.Config), saved.topics(), nil)
	if err != nil {
		return err
	}
	plan.restore(saved, places)
	return nil
}

// occupied says why a group's offsets can't be set.
func occupied(g *groups.Group) error {
	var names []string
	for _, m := range g.Members {
		names = append(names, fmt.Sprintf("%s at %s", m.ClientID, m.Host))
	}
	switch {
	case len(names) > 0:
		return fmt.Errorf("group %q has %s: %s; stop its consumers first. Kafka forgets one that was killed after its session timeout, as 45 s",
			g.Name, plural(len(names), "member"), firstOf(names, 5))
	case g.State == groups.Unknown:
		return fmt.Errorf("it can't be told whether group %q has members: %s", g.Name, g.Why)
	}
	return fmt.Errorf("group %q is about to get members (its state is %s); stop its consumers first", g.Name, g.State)
}
