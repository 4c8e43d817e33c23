package event

import (
	"fmt"
	"slices"
	"testing"
)

func TestDescribed(t *testing.T) {
	want := []string{
		"email_sent", "email_delivered", "email_opened", "email_clicked", "email_bounced", "email_spammed",
		"email_dropped", "unsubscribed", "email_converted", "email_failed",
		"push_sent", "push_opened", "push_bounced",
		"sms_sent", "sms_delivered", "sms_failed", "sms_bounced",
	}
	var got []string
	for _, typ := range Described() {
		got = append(got, typ.Name)
		if !typ.Described || typ.Summary == "" {
			t.Errorf("%s: Described = %v, Summary = %q", typ.Name, typ.Described, typ.Summary)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("Described = %v, want %v", got, want)
	}
}

// TestKnown holds the table to Parse: a known name that Parse never gives would
// be a label without a count.
func TestKnown(t *testing.T) {
	known := Known()
	if n := len(Described()); !slices.Equal(known[:n], Described()) {
		t.Errorf("Known does not begin with Described")
	}
	seen := make(map[string]bool)
	for i, typ := range known {
		if seen[typ.Name] {
			t.Errorf("%s is listed twice", typ.Name)
		}
		seen[typ.Name] = true
		if !IsKnown(typ.Name) {
			t.Errorf("IsKnown(%q) = false", typ.Name)
		}
		if typ.Described != (i < len(Described())) {
			t.Errorf("%s: Described = %v at place %d", typ.Name, typ.Described, i)
		}
		ev, err := Parse(fmt.Appendf(nil, `{"object_type":%q,"metric":%q}`, typ.ObjectType, typ.Metric))
		if err != nil || ev.Type != typ.Name {
			t.Errorf("Parse(%q, %q) = %q, %v, want %q", typ.ObjectType, typ.Metric, ev.Type, err, typ.Name)
		}
	}
	for _, name := range []string{
		"email_undeliverable", "push_undeliverable", "sms_replied", "whatsapp_replied", "whatsapp_opened",
		"in_app_clicked", "slack_sent", "webhook_attempted", "customer_subscribed",
		"customer_cio_subscription_preferences_changed", "email_deferred", "slack_converted", "webhook_converted", "sms_dropped",
	} {
		if !seen[name] {
			t.Errorf("%s is not listed", name)
		}
	}
}

func TestIsKnownUnknown(t *testing.T) {
	for _, name := range []string{
		"", "other", "sent", "fax_sent", "Email_sent", "email_sent ", "email_unsubscribed", "customer_unsubscribed",
		"sms_opened", "in_app_delivered", "slack_delivered",
	} {
		if IsKnown(name) {
			t.Errorf("IsKnown(%q) = true", name)
		}
	}
}

func TestTablesAreCopies(t *testing.T) {
	clear(Known())
	clear(Described())
	clear(AsyncAPI())
	if Known()[0].Name == "" || Described()[0].Name == "" || AsyncAPI()[0] == 0 {
		t.Error("a caller changed the table")
	}
}
