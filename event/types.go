package event

import "slices"

// Type describes one event type that the sender documents. Types that are not
// listed are legal and travel like any other.
type Type struct {
	// Name is the canonical event type, as in Event.Type.
	Name string
	// ObjectType is the channel, and Metric what happened. ObjectType is "" for
	// unsubscribed, which stands for that metric on every channel.
	ObjectType, Metric string
	// Described tells whether the AsyncAPI document has a channel of its own
	// for the type. Those topics exist from the start.
	Described bool
	// Summary says in a sentence when the event is sent; "" if not Described.
	Summary string
}

// Described returns the types of the AsyncAPI document, in its order. The
// caller may change the slice.
func Described() []Type { return slices.Clone(described) }

// Known returns every documented type, the described ones first. The caller may
// change the slice.
func Known() []Type { return slices.Clone(known) }

// IsKnown reports in constant time whether name is the name of a documented
// type. It keeps the values of metric labels bounded.
func IsKnown(name string) bool {
	_, ok := knownNames[name]
	return ok
}

// The tables below are never written to.
var (
	described = []Type{
		message("email", "sent", "An e-mail left for the recipient's mail server."),
		message("email", "delivered", "The recipient's mail server accepted an e-mail."),
		message("email", "opened", "An e-mail was opened, by a person or by software that fetches images."),
		message("email", "clicked", "A tracked link in an e-mail was followed."),
		message("email", "bounced", "The recipient's mail server refused an e-mail, for now or for good."),
		message("email", "spammed", "The recipient reported an e-mail as spam."),
		message("email", "dropped", "An e-mail was held back because its address is suppressed or opted out."),
		{Name: unsubscribed, Metric: unsubscribed, Described: true, Summary: "A person opted out, by whichever channel or as a whole."},
		message("email", "converted", "A person reached the campaign's goal after an e-mail."),
		message("email", "failed", "An e-mail could not be sent because of an error on the sending side."),
		message("push", "sent", "A push notification left for the devices of a person."),
		message("push", "opened", "A push notification was opened on a device."),
		message("push", "bounced", "The push service refused a notification for a device, such as one that has gone."),
		message("sms", "sent", "A text message left for the carrier."),
		message("sms", "delivered", "The carrier confirmed that a text message arrived."),
		message("sms", "failed", "A text message could not be sent."),
		message("sms", "bounced", "The carrier refused a text message or could not deliver it."),
	}

	//nolint:gochecknoglobals // a constant table
	known = slices.Concat(described, undescribed())
	//nolint:gochecknoglobals // a constant table
	knownNames = index(known)
)

// undescribed lists what the sender documents beyond the described types, and
// four that its integrations have been seen to name.
func undescribed() []Type {
	table := []struct {
		objectType string
		metrics    []string
	}{
		{"email", []string{"drafted", "attempted", "undeliverable", "deferred"}},
		{"push", []string{"drafted", "attempted", "delivered", "clicked", "converted", "dropped", "failed", "undeliverable"}},
		{"sms", []string{"drafted", "attempted", "clicked", "converted", "undeliverable", "replied", "dropped"}},
		{"whatsapp", []string{
			"drafted", "attempted", "sent", "delivered", "opened", "clicked",
			"converted", "bounced", "dropped", "failed", "undeliverable", "replied",
		}},
		{"in_app", []string{"drafted", "attempted", "sent", "opened", "clicked", "converted", "failed", "undeliverable"}},
		{"slack", []string{"drafted", "attempted", "sent", "clicked", "converted", "failed", "undeliverable"}},
		// A webhook that a journey calls as one of its steps, not this one.
		{"webhook", []string{"drafted", "attempted", "sent", "clicked", "converted", "failed", "undeliverable"}},
		{"customer", []string{"subscribed", "cio_subscription_preferences_changed"}},
	}
	var types []Type
	for _, row := range table {
		for _, metric := range row.metrics {
			types = append(types, Type{Name: join(row.objectType, metric), ObjectType: row.objectType, Metric: metric})
		}
	}
	return types
}

func message(objectType, metric, summary string) Type {
	return Type{Name: join(objectType, metric), ObjectType: objectType, Metric: metric, Described: true, Summary: summary}
}

func index(types []Type) map[string]struct{} {
	names := make(map[string]struct{}, len(types))
	for _, t := range types {
		names[t.Name] = struct{}{}
	}
	return names
}
