package publisher

import "strings"

// PerType reports whether each event type has a topic of its own; otherwise the template is the one topic of all.
func (o TopicOptions) PerType() bool { return strings.Contains(o.Template, EventTypePlaceholder) }

// Name is the topic of an event type. A type that would land on one of the
// two special topics goes to the overflow topic. So does, at run time, a type
// whose topic can't be created.
func (o TopicOptions) Name(eventType string) string {
	if !o.PerType() {
		return o.Template
	}
	name := strings.Replace(o.Template, EventTypePlaceholder, eventType, 1)
	if name == o.DeadLetter || len(name) > 249 { // Kafka's limit
		return o.Overflow
	}
	return name
}

// EventType is the inverse of Name: the event type whose own topic this is, or
// false for the special topics, the one topic of all, and foreign ones.
func (o TopicOptions) EventType(topic string) (string, bool) {
	prefix, suffix, perType := strings.Cut(o.Template, EventTypePlaceholder)
	if !perType || topic == o.DeadLetter || topic == o.Overflow || len(topic) <= len(prefix)+len(suffix) {
		return "", false
	}
	rest, led := strings.CutPrefix(topic, prefix)
	eventType, ends := strings.CutSuffix(rest, suffix)
	return eventType, led && ends
}
