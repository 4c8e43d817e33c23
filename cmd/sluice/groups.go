package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"sluice/config"
	"sluice/internal/groups"
)

// groupsCmd is "sluice groups".
type groupsCmd struct {
	config.Config `groups:"Kafka,Topics"`

	Types []string `arg:"" optional:"" name:"type" predictor:"event-type" help:"Event types, or patterns such as 'email_*', or dead-letter. All topics that Sluice writes, unless given."`

	Group  string `short:"g" placeholder:"NAME" help:"Only this group, with its partitions and members."`
	Output string `short:"o" enum:"text,json" default:"text" placeholder:"text|json" help:"Format of the list."`
}

// Help says what it is for and shows how it is used.
func (groupsCmd) Help() string {
	return `It lists the consumer groups that have committed offsets on the topics: their members, how many events they have yet to read, and for how long the oldest of these has been waiting. The number is that of offsets, so it is at most so many: markers of transactions and compaction leave gaps. It changes nothing. It needs the right to describe the groups and topics, and to read the topics for the times.

Examples:

    # Who is how far behind?
    sluice groups

    # Which partitions hold a group up, and who has them?
    sluice groups --group analytics 'email_*'`
}

// Validate refuses patterns that can't be. Kong calls it.
func (c *groupsCmd) Validate() error {
	_, err := newTypeChoice(c.Types, false, false)
	return err
}

// Run lists.
func (c *groupsCmd) Run(ctx context.Context, parsed *kong.Context, p *process) error {
	if _, err := config.Load(&c.Config, config.SourcesOf(parsed, p.environ)); err != nil {
		return err
	}
	report, err := c.look(ctx, p.stderr)
	if err != nil {
		return endedEarly(ctx, err)
	}
	write := report.writeText
	switch {
	case c.Output == "json":
		write = report.writeJSON
	case c.Group != "":
		write = report.Groups[0].writeText
	}
	if err := write(p.stdout); err != nil {
		return fmt.Errorf("writing the list: %w", err)
	}
	return nil
}

// endedEarly says why nothing came of it.
func endedEarly(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("interrupted; nothing was changed")
	}
	return explainUnreachable(err)
}

func (c *groupsCmd) look(ctx context.Context, stderr io.Writer) (*groupsReport, error) {
	topics, match, err := chooseTopics(ctx, &c.Config, c.Types, stderr)
	if err != nil {
		return nil, err
	}
	admin, err := groups.New(ctx, c.KafkaBrokers, connection(&c.Config))
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	l := groupsLook{admin: admin, brokers: c.KafkaBrokers, connect: connection(&c.Config)}
	if err := l.place(ctx, topics, match); err != nil {
		return nil, err
	}
	names := []string{c.Group}
	if c.Group == "" {
		if names, err = admin.List(ctx); err != nil {
			return nil, err
		}
	}
	found, err := l.all(ctx, names)
	if err != nil {
		return nil, err
	}
	if c.Group != "" && len(found) == 0 {
		return nil, c.nothingOf(ctx, &l)
	}
	return &groupsReport{At: time.Now().UTC(), Groups: found}, nil
}

// nothingOf says that the group asked for isn't there, and which are.
func (c *groupsCmd) nothingOf(ctx context.Context, l *groupsLook) error {
	text := fmt.Sprintf("group %q has no committed offsets on these topics", c.Group)
	names, err := l.admin.List(ctx)
	if err != nil {
		return fmt.Errorf("%s; %w", text, err)
	}
	if len(names) == 0 {
		return errors.New(text + "; there are no groups, or none that this login may describe")
	}
	slices.SortStableFunc(names, func(a, b string) int { return editsBetween(c.Group, a) - editsBetween(c.Group, b) })
	return fmt.Errorf("%s; groups in this cluster are %s", text, firstOf(names, 5))
}

// firstOf joins the first names, and says how many more there are.
func firstOf(names []string, most int) string {
	more := ""
	if n := len(names) - most; n > 0 {
		names, more = names[:most], fmt.Sprintf(" and %s more", count(int64(n)))
	}
	shown := make([]string, len(names))
	for i, name := range names {
		shown[i] = terminalSafe(name)
	}
	return strings.Join(shown, ", ") + more
}

// chooseTopics are the topics of the types, or, with none named, all that Sluice writes, as Places and Reader take
// them. It warns of types that have no topic.
func chooseTopics(ctx context.Context, c *config.Config, types []string, stderr io.Writer) ([]string, func(string) bool, error) {
	where := topicOptions(c)
	if len(types) == 0 {
		names, match := everyTopic(where)
		return names, match, nil
	}
	chosen, err := newTypeChoice(types, false, false)
	if err != nil {
		return nil, nil, err
	}
	if err := chosen.in(where).check(ctx, c, false, stderr); err != nil {
		return nil, nil, err
	}
	names, match := chosen.in(where).topics()
	return names, match, nil
}
