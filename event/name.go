package event

import (
	"fmt"
	"strings"
)

// unsubscribed is the one name for every event of a person who opts out: the
// sender tells them apart by channel in some shapes and not in others.
const unsubscribed = "unsubscribed"

// name returns the canonical event type and the rule that gave it, or "". The
// name is not yet checked for characters and length. names is objectType, '_' and
// metric.
func (e *envelope) name(names, metric string) (string, Rule) {
	switch {
	case len(e.objectType.text) > 0 && metric == unsubscribed:
		return unsubscribed, RuleNames
	case len(e.objectType.text) > 0 && metric != "":
		return names, RuleNames
	case len(e.eventType.text) > 0:
		return spelled(string(e.eventType.text)), RuleEventType
	case metric != "":
		if channel := e.data.hints.channel(); channel != "" {
			return join(channel, metric), RuleInferred
		}
		return spelled(metric), RuleMetric
	}
	return "", ""
}

// join names an event whose metric is known.
func join(objectType, metric string) string {
	if metric == unsubscribed {
		return unsubscribed
	}
	return objectType + "_" + metric
}

// spelled names an event whose metric is known only as the end of its name.
func spelled(name string) string {
	if name == unsubscribed || strings.HasSuffix(name, "_"+unsubscribed) {
		return unsubscribed
	}
	return name
}

// checkType tells what keeps name out of a topic name. Kafka refuses "." and
// ".." as whole names; behind a prefix they are legal, so they are here.
func checkType(name string) error {
	if len(name) > MaxTypeLength {
		return fmt.Errorf("the event type is %d bytes long, the limit is %d", len(name), MaxTypeLength)
	}
	for i, r := range name {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.', r == '_', r == '-':
		default:
			return fmt.Errorf("the event type has %q at byte %d, where only letters of ASCII, digits, '.', '_' and '-' may stand", r, i)
		}
	}
	return nil
}

// hints is the set of fields seen in data that tell the channel of an event
// without object_type.
type hints uint8

const (
	hintDevice hints = 1 << iota
	hintPlatform
	hintRecipients
	hintFromPhone
	hintToPhone
	hintEmailAddress
	hintSubject
	hintRecipient // a recipient that holds an @

	pushHints  = hintDevice | hintPlatform | hintRecipients
	smsHints   = hintFromPhone | hintToPhone
	emailHints = hintEmailAddress | hintSubject | hintRecipient
)

// hintOf tells what the mere presence of a field of data hints at, 0 if nothing.
// Present is any value but null and "": zero, false, [] and {} count, because a
// field with no meaning for a channel would have been left out or left blank.
func hintOf(field []byte) hints {
	switch string(field) {
	case "device_id":
		return hintDevice
	case "platform":
		return hintPlatform
	case "recipients":
		return hintRecipients
	case "from_phone":
		return hintFromPhone
	case "to_phone":
		return hintToPhone
	case "email_address":
		return hintEmailAddress
	case "subject":
		return hintSubject
	}
	return 0
}

// set records whether the last field of that name was present.
func (h *hints) set(field hints, present bool) {
	*h &^= field
	if present {
		*h |= field
	}
}

// channel returns the object_type that the hints stand for, or "". A push or an
// SMS may carry a person's e-mail address, so e-mail comes last.
func (h hints) channel() string {
	switch {
	case h&pushHints != 0:
		return "push"
	case h&smsHints != 0:
		return "sms"
	case h&emailHints != 0:
		return "email"
	}
	return ""
}
