package config

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// TopicOverride says what differs for the topic of one event type. A field at its zero value doesn't differ; the others
// are as [Topics] has them.
type TopicOverride struct {
	Partitions  int
	Replication int
	Retention   Retention
}

// TopicOverrides maps an event type to what differs for its topic.
type TopicOverrides map[string]TopicOverride

// String writes the overrides sorted by type, so that UnmarshalText reads them back.
func (o TopicOverrides) String() string {
	var types []string
	for _, name := range slices.Sorted(maps.Keys(o)) {
		types = append(types, name+":"+o[name].String())
	}
	return strings.Join(types, ";")
}

// String writes what differs, as "partitions=12,retention=168h".
func (o TopicOverride) String() string {
	var parts []string
	if o.Partitions != 0 {
		parts = append(parts, "partitions="+strconv.Itoa(o.Partitions))
	}
	if o.Replication != 0 {
		parts = append(parts, "replication="+strconv.Itoa(o.Replication))
	}
	if o.Retention != 0 {
		parts = append(parts, "retention="+o.Retention.String())
	}
	return strings.Join(parts, ",")
}

// eventTypePattern is what may reach a topic's name; any other event type is a dead letter.
var eventTypePattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,120}$`)

// UnmarshalText reads "TYPE:NAME=VALUE,NAME=VALUE;TYPE:...". All problems are returned, not only the first.
func (o *TopicOverrides) UnmarshalText(text []byte) error {
	overrides := make(TopicOverrides)
	var problems []error
	for entry := range strings.SplitSeq(string(text), ";") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		name, list, found := strings.Cut(entry, ":")
		name = strings.TrimSpace(name)
		switch _, twice := overrides[name]; {
		case !found || !eventTypePattern.MatchString(name):
			problems = append(problems, fmt.Errorf("%q: want an event type, a colon and what differs, such as email_sent:partitions=12,retention=168h", entry))
			continue
		case twice:
			problems = append(problems, fmt.Errorf("%s stands there twice", name))
			continue
		}
		override, err := parseTopicOverride(list)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", name, err))
		}
		overrides[name] = override
	}
	if err := joinProblems(problems); err != nil {
		return err
	}
	*o = overrides
	return nil
}

func parseTopicOverride(list string) (TopicOverride, error) {
	var override TopicOverride
	var problems []error
	for pair := range strings.SplitSeq(list, ",") {
		name, value, _ := strings.Cut(pair, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		var err error
		switch name {
		case "partitions":
			override.Partitions, err = parseCount(value, maxPartitions)
		case "replication":
			override.Replication, err = parseCount(value, maxReplication)
		case "retention":
			err = override.Retention.UnmarshalText([]byte(value))
		default:
			problems = append(problems, fmt.Errorf("%q: want partitions=, replication= or retention=", strings.TrimSpace(pair)))
			continue
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s=%q: %w", name, value, err))
		}
	}
	return override, joinProblems(problems)
}

// The widths of these fields in Kafka's CreateTopics request (protocol guide): int32 and int16.
const (
	maxPartitions  = 1<<31 - 1
	maxReplication = 1<<15 - 1
)

var errCount = errors.New("want a whole number from 1, or -1 for the broker's default")

func parseCount(text string, limit int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n == 0 || n < -1 || n > limit {
		return 0, errCount
	}
	return n, nil
}
