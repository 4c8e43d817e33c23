package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"sluice/config"
	"sluice/event"
	"sluice/internal/stream"
	"sluice/publisher"
)

// deadLetterArgument stands for the dead letters where event types are named.
const deadLetterArgument = "dead-letter"

// groupDeadLetters, with a consumer group's name behind it, stands for what the group's handler didn't take.
const groupDeadLetters = deadLetterArgument + ":"

// eventTypeHeader names the event type on every record of one.
const eventTypeHeader = "event-type"

// typeChoice is a choice of event types.
type typeChoice struct {
	names       []string // exact
	patterns    []string // as path.Match takes them
	documented  bool     // all documented types
	unknown     bool     // all that aren't
	deadLetters bool
	groups      []string // whose dead letters were chosen
}

func newTypeChoice(args []string, unknown, deadLetters bool) (*typeChoice, error) {
	t := &typeChoice{documented: len(args) == 0, unknown: unknown, deadLetters: deadLetters}
	for _, arg := range args {
		switch {
		case arg == deadLetterArgument:
			t.deadLetters = true
		case strings.HasPrefix(arg, groupDeadLetters) && arg != groupDeadLetters:
			t.groups = append(t.groups, strings.TrimPrefix(arg, groupDeadLetters))
		case strings.ContainsAny(arg, `*?[\`):
			if _, err := path.Match(arg, ""); err != nil {
				return nil, fmt.Errorf("pattern %q: %w", arg, err)
			}
			t.patterns = append(t.patterns, arg)
		case arg == "":
			return nil, fmt.Errorf("an event type is empty")
		default:
			t.names = append(t.names, arg)
		}
	}
	return t, nil
}

// has reports whether a type was chosen. Records without one are dead letters or foreign.
func (t *typeChoice) has(eventType string) bool {
	known := event.IsKnown(eventType)
	return t.documented && known || t.unknown && !known || slices.Contains(t.names, eventType) ||
		slices.ContainsFunc(t.patterns, func(pattern string) bool {
			matches, err := path.Match(pattern, eventType)
			return err == nil && matches
		})
}

// onlyDeadLetters reports whether no event of any type was chosen.
func (t *typeChoice) onlyDeadLetters() bool {
	return !t.documented && !t.unknown && len(t.names)+len(t.patterns) == 0
}

// in says where the chosen types are.
func (t *typeChoice) in(o publisher.TopicOptions) *topicChoice {
	return &topicChoice{typeChoice: t, where: o}
}

// topicChoice is a choice of topics.
type topicChoice struct {
	*typeChoice
	where publisher.TopicOptions
}

// topics returns the topics that are certain and, if others in the cluster may have to be read too, what they have to
// match.
func (t *topicChoice) topics() (names []string, match func(string) bool) {
	if t.deadLetters {
		names = append(names, t.where.DeadLetter)
	}
	for _, group := range t.groups {
		names = append(names, t.where.DeadLetterOf(group))
	}
	if t.onlyDeadLetters() {
		return names, nil
	}
	wanted := slices.Clone(t.names)
	if t.documented {
		for _, known := range event.Known() {
			wanted = append(wanted, known.Name)
		}
	}
	for _, name := range wanted {
		names = append(names, t.where.Name(name))
	}
	if t.unknown {
		names = append(names, t.where.Overflow)
	}
	if !t.where.PerType() {
		names = append(names, t.where.Template)
	} else if t.unknown || len(t.patterns) > 0 {
		match = func(topic string) bool {
			eventType, own := t.where.EventType(topic)
			return own && t.has(eventType)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), match
}

// everyTopic chooses all that Sluice writes, as topics does.
func everyTopic(where publisher.TopicOptions) (names []string, match func(string) bool) {
	names = []string{where.DeadLetter, where.Overflow}
	if !where.PerType() {
		return append(names, where.Template), nil
	}
	return names, func(topic string) bool {
		_, own := where.EventType(topic)
		return own
	}
}

// eventType is a record's event type, "" if it has none.
func (t *topicChoice) eventType(r *stream.Record) string {
	if named := r.Header(eventTypeHeader); named != "" {
		return named
	}
	own, _ := t.where.EventType(r.Topic)
	return own
}

// keep reports whether a record was chosen: a topic may hold several types.
func (t *topicChoice) keep(r *stream.Record) bool {
	if r.Topic == t.where.DeadLetter {
		return t.deadLetters
	}
	if t.ofGroup(r.Topic) {
		return true
	}
	return t.has(t.eventType(r))
}

// ofGroup reports whether a topic is for the dead letters of a chosen group.
func (t *topicChoice) ofGroup(topic string) bool {
	return slices.ContainsFunc(t.groups, func(group string) bool { return topic == t.where.DeadLetterOf(group) })
}

// doubtful reports whether it has to be seen in the cluster if what was chosen exists.
func (t *topicChoice) doubtful() bool {
	return len(t.patterns) > 0 || slices.ContainsFunc(t.names, func(name string) bool { return !event.IsKnown(name) })
}

// check warns of chosen types that have no topic, or fails if they aren't waited for. It asks the cluster only if there
// may be such.
func (t *topicChoice) check(ctx context.Context, c *config.Config, waits bool, stderr io.Writer) error {
	if !t.doubtful() {
		return nil
	}
	topics, err := stream.Topics(ctx, c.KafkaBrokers, connection(c))
	if err != nil {
		return explainUnreachable(err)
	}
	for _, missing := range t.missing(topics) {
		if !waits && missing.exact {
			return errors.New(missing.text)
		}
		if waits {
			missing.text += "; waiting"
		}
		fmt.Fprintf(stderr, "sluice: warning: %s\n", missing.text)
	}
	return nil
}

// missingTopic is what was asked for and isn't in the cluster.
type missingTopic struct {
	exact bool
	text  string
}

// missing looks for what was chosen among the cluster's topics.
func (t *topicChoice) missing(topics []string) (found []missingTopic) {
	for _, name := range t.names {
		topic := t.where.Name(name)
		if event.IsKnown(name) || t.where.PerType() && slices.Contains(topics, topic) {
			continue
		}
		text := fmt.Sprintf("no topic for event type %q yet (it would be %s)", name, topic)
		if !t.where.PerType() {
			text = fmt.Sprintf("event type %q isn't documented", name)
		}
		if near := t.nearest(name); len(near) > 0 {
			text += "; did you mean " + strings.Join(near, " or ") + "?"
		}
		found = append(found, missingTopic{exact: t.where.PerType(), text: text})
	}
	if !t.where.PerType() {
		return found
	}
	for _, pattern := range t.patterns {
		one := &typeChoice{patterns: []string{pattern}}
		if !slices.ContainsFunc(topics, func(topic string) bool {
			eventType, own := t.where.EventType(topic)
			return own && one.has(eventType)
		}) {
			found = append(found, missingTopic{text: fmt.Sprintf("no topic matches %q yet", pattern)})
		}
	}
	return found
}

// nearest lists the documented types that a name may have been meant to be, the likeliest first, at most three.
func (t *topicChoice) nearest(name string) []string {
	if eventType, own := t.where.EventType(name); own && event.IsKnown(eventType) {
		return []string{eventType} // its topic's name was given
	}
	type candidate struct {
		name  string
		edits int
	}
	var near []candidate
	for _, known := range event.Known() {
		if n := editsBetween(strings.ReplaceAll(strings.ToLower(name), "-", "_"), known.Name); n <= max(2, len(name)/4) {
			near = append(near, candidate{known.Name, n})
		}
	}
	slices.SortStableFunc(near, func(a, b candidate) int { return cmp.Compare(a.edits, b.edits) })
	var names []string
	for _, c := range near[:min(3, len(near))] {
		if c.edits <= near[0].edits+1 {
			names = append(names, c.name)
		}
	}
	return names
}

// editsBetween counts the letters to insert, delete or replace to get from a to b.
func editsBetween(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
