package publisher

import (
	"strings"
	"testing"
)

func TestTopicNames(t *testing.T) {
	perType := TopicOptions{Template: "customerio_{event_type}", DeadLetter: "customerio_dead_letter", Overflow: "customerio_other"}
	for typ, want := range map[string]string{
		"email_sent": "customerio_email_sent", "dead_letter": "customerio_other", "other": "customerio_other",
		strings.Repeat("x", 240): "customerio_other",
	} {
		if got := perType.Name(typ); got != want {
			t.Errorf("%s → %s, want %s", typ, got, want)
		}
	}
	around := TopicOptions{Template: "in.{event_type}.v1", DeadLetter: "in.dead.v1", Overflow: "in.other.v1"}
	for topic, want := range map[string]string{
		"in.email_sent.v1": "email_sent", "in.dead.v1": "", "in.other.v1": "", "in..v1": "", "in.v1": "", "in.email_sent": "", "email_sent.v1": "",
	} {
		if got, is := around.EventType(topic); got != want && is || is != (want != "") {
			t.Errorf("%s ← %s (%t), want %q", topic, got, is, want)
		}
	}
	one := TopicOptions{Template: "customerio", DeadLetter: "d", Overflow: "o"}
	if got := one.Name("email_sent"); got != "customerio" || one.PerType() {
		t.Errorf("%s, per type: %t", got, one.PerType())
	}
	if got, is := one.EventType("customerio"); is {
		t.Errorf("the one topic of all belongs to %q", got)
	}
}
