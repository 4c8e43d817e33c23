package config

import (
	"maps"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"
)

func (l *loader) checkBrokers() {
	c := l.cfg
	if !l.usable(&c.KafkaBrokers) {
		return
	}
	valid := len(c.KafkaBrokers) > 0
	for _, broker := range c.KafkaBrokers {
		host, port, err := net.SplitHostPort(broker)
		valid = valid && err == nil && host != "" && isPort(port, 1) && !strings.ContainsAny(host, " /")
	}
	if !valid {
		l.refuse(&c.KafkaBrokers, "want HOST:PORT, or several separated by commas, such as kafka-1:9092,kafka-2:9092")
	}
	if !clientIDPattern.MatchString(c.KafkaClientID) {
		l.refuse(&c.KafkaClientID, "want 1 to 128 of A-Z a-z 0-9 . _ -")
	}
}

var clientIDPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)

// checkTLS refuses details of TLS without TLS: whoever sets them believes the connection to be encrypted.
func (l *loader) checkTLS() {
	c := l.cfg
	if !l.usable(&c.KafkaTLS) {
		return
	}
	if !c.KafkaTLS {
		for _, detail := range []*string{&c.KafkaTLSCA, &c.KafkaTLSCert, &c.KafkaTLSKey, &c.KafkaTLSServerName} {
			if *detail != "" {
				l.refuse(detail, "has no effect without SLUICE_KAFKA_TLS=true")
			}
		}
		if c.KafkaTLSInsecureSkipVerify {
			l.refuse(&c.KafkaTLSInsecureSkipVerify, "has no effect without SLUICE_KAFKA_TLS=true")
		}
		return
	}
	switch {
	case c.KafkaTLSCert != "" && c.KafkaTLSKey == "":
		l.refuse(&c.KafkaTLSCert, "want SLUICE_KAFKA_TLS_KEY as well")
	case c.KafkaTLSKey != "" && c.KafkaTLSCert == "":
		l.refuse(&c.KafkaTLSKey, "want SLUICE_KAFKA_TLS_CERT as well")
	}
	if c.KafkaTLSInsecureSkipVerify {
		l.warn("%s is on: whoever is between Sluice and the brokers can pose as a broker", l.name(&c.KafkaTLSInsecureSkipVerify))
	}
}

func (l *loader) checkSASL() {
	c := l.cfg
	if !l.usable(&c.KafkaSASLMechanism, &c.KafkaSASLUsername, &c.KafkaSASLPassword) {
		return
	}
	if c.KafkaSASLMechanism == "" {
		if c.KafkaSASLUsername != "" {
			l.refuse(&c.KafkaSASLUsername, "has no effect without SLUICE_KAFKA_SASL_MECHANISM")
		}
		if c.KafkaSASLPassword.IsSet() {
			l.refuse(&c.KafkaSASLPassword, "has no effect without SLUICE_KAFKA_SASL_MECHANISM")
		}
		return
	}
	var missing []string
	if c.KafkaSASLUsername == "" {
		missing = append(missing, "SLUICE_KAFKA_SASL_USERNAME")
	}
	if !c.KafkaSASLPassword.IsSet() {
		missing = append(missing, "SLUICE_KAFKA_SASL_PASSWORD")
	}
	if len(missing) > 0 {
		l.refuse(&c.KafkaSASLMechanism, "want %s as well", strings.Join(missing, " and "))
	}
	if c.KafkaSASLMechanism == "plain" && l.usable(&c.KafkaTLS) && !c.KafkaTLS {
		l.warn("%s=plain without TLS sends the password readable over the network", l.name(&c.KafkaSASLMechanism))
	}
}

// EventTypePlaceholder stands for the event type in [Topics].Topic.
const EventTypePlaceholder = "{event_type}"

const (
	// maxTopicName is Kafka's limit (org.apache.kafka.common.internals.Topic).
	maxTopicName = 249
	// maxEventType is the longest event type that becomes part of a topic's name; a longer one is a dead letter.
	maxEventType = 120
)

// topicPattern has the characters that Kafka allows in names.
var topicPattern = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// SingleTopic reports whether all events go to one topic, because the template has no placeholder.
func (t *Topics) SingleTopic() bool { return !strings.Contains(t.Topic, EventTypePlaceholder) }

func (l *loader) checkTopics() {
	c := l.cfg
	const legal = "want a topic name: 1 to 249 of A-Z a-z 0-9 . _ -"
	longest := strings.ReplaceAll(c.Topic, EventTypePlaceholder, strings.Repeat("x", maxEventType))
	switch rest := strings.ReplaceAll(c.Topic, EventTypePlaceholder, ""); {
	case strings.ContainsAny(rest, "{}"):
		l.refuse(&c.Topic, "want no placeholder but %s", EventTypePlaceholder)
	case !topicPattern.MatchString(longest) || longest == "." || longest == "..":
		l.refuse(&c.Topic, legal+", and in it %s where the event type belongs", EventTypePlaceholder)
	case len(longest) > maxTopicName:
		l.refuse(&c.Topic, "want it shorter: with an event type of %d characters the name would have %d, and Kafka allows %d", maxEventType, len(longest), maxTopicName)
	}
	for _, topic := range []*string{&c.DeadLetterTopic, &c.OverflowTopic} {
		if !topicPattern.MatchString(*topic) || *topic == "." || *topic == ".." || len(*topic) > maxTopicName {
			l.refuse(topic, legal)
		}
	}
	if l.usable(&c.DeadLetterTopic, &c.OverflowTopic) && c.DeadLetterTopic == c.OverflowTopic {
		l.refuse(&c.OverflowTopic, "want another topic than that of %s", l.name(&c.DeadLetterTopic))
	}
	if l.usable(&c.DeadLetterTopic, &c.Topic) && c.DeadLetterTopic == c.Topic {
		l.refuse(&c.DeadLetterTopic, "want another topic than that of %s", l.name(&c.Topic))
	}
	l.warnMixedNames()
	if len(c.TopicOverrides) > 0 && c.SingleTopic() {
		l.warn("%s has no effect: %s has no %s in it, so no event type has a topic of its own", l.name(&c.TopicOverrides), l.name(&c.Topic), EventTypePlaceholder)
	}
}

// warnMixedNames points out names with both '.' and '_': Kafka's metrics write '.' as '_', so the broker refuses to
// create a topic whose name differs from another's in nothing else. Event types bring a '_' of their own.
func (l *loader) warnMixedNames() {
	c := l.cfg
	for _, topic := range []*string{&c.Topic, &c.DeadLetterTopic, &c.OverflowTopic} {
		if strings.Contains(*topic, ".") && strings.Contains(*topic, "_") {
			l.warn("%s=%s: names with both . and _ can collide in Kafka, which treats the two alike when it creates topics", l.name(topic), *topic)
		}
	}
}

func (l *loader) checkCounts() {
	c := l.cfg
	for _, count := range []struct {
		value *int
		limit int
	}{{&c.Partitions, maxPartitions}, {&c.Replication, maxReplication}} {
		if n := *count.value; n == 0 || n < -1 || n > count.limit {
			l.refuse(count.value, "%v", errCount)
		}
	}
}

func (l *loader) checkRetention() {
	c := l.cfg
	if !l.usable(&c.DedupeTTL) {
		return
	}
	const consequence = "what is remembered as stored may be deleted already, and can't be rebuilt from the topic after Redis has lost it"
	if l.usable(&c.Retention) && c.Retention.shorterThan(c.DedupeTTL) {
		l.warn("%s (%s) is shorter than %s (%s): %s", l.name(&c.Retention), c.Retention, l.name(&c.DedupeTTL), formatDuration(c.DedupeTTL), consequence)
	}
	for _, eventType := range slices.Sorted(maps.Keys(c.TopicOverrides)) {
		retention := c.TopicOverrides[eventType].Retention
		if time.Duration(retention) > 0 && retention.shorterThan(c.DedupeTTL) {
			l.warn("%s: the retention of %s (%s) is shorter than %s (%s): %s", l.name(&c.TopicOverrides), eventType, retention, l.name(&c.DedupeTTL), formatDuration(c.DedupeTTL), consequence)
		}
	}
}
