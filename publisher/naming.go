package publisher

import "strings"

// PerType reports whether each event type has a topic of its own; otherwise the template is the one topic of all.
func (o TopicOptions) PerType() bool { return strings.Contains(o.Template, EventTypePlaceholder) }

// DeadLetterOf is the topic on which a consumer group keeps what its handler
// doesn't take.
func (o TopicOptions) DeadLetterOf(group string) string {
	return o.DeadLetter + "_" + strings.Map(func(c rune) rune {
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-' {
			return c
		}
		return '-'
	}, group)
}

// holdsDeadLetters reports whether a topic is for dead letters: Sluice's, or a consumer group's.
func (o TopicOptions) holdsDeadLetters(topic string) bool {
	rest, begins := strings.CutPrefix(topic, o.DeadLetter)
	return begins && (rest == "" || rest[0] == '_')
}

// Name is the topic of an event type. A type that would land on one of the
// special topics goes to the overflow topic. So does, at run time, a type
// whose topic can't be created.
func (o TopicOptions) Name(eventType string) string {
	if !o.PerType() {
		return o.Template
	}
	name := strings.Replace(o.Template, EventTypePlaceholder, eventType, 1)
	if o.holdsDeadLetters(name) || len(name) > 249 { // Kafka's limit
		return o.Overflow
	}
	return name
}

// EventType is the inverse of Name: the event type whose own topic this is, or
// false for the special topics, the one topic of all, and foreign ones.
func (o TopicOptions) EventType(topic string) (string, bool) {
	prefix, suffix, perType := strings.Cut(o.Template, EventTypePlaceholder)
	if !perType || o.holdsDeadLetters(topic) || topic == o.Overflow || len(topic) <= len(prefix)+len(suffix) {
		return "", false
	}
	rest, led := strings.CutPrefix(topic, prefix)
	eventType, ends := strings.CutSuffix(rest, suffix)
	return eventType, led && ends
}
