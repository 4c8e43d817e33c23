package event_test

import (
	"errors"
	"fmt"

	"sluice/event"
)

func ExampleParse() {
	ev, err := event.Parse([]byte(`{
		"event_id": "01K3M8Q4C7V5W9Z2X6Y1B0N8RT",
		"object_type": "email",
		"metric": "clicked",
		"timestamp": 1767225603,
		"data": {
			"delivery_id": "dgOa8wYAAZq4kT0eWb7nQ2sLx==",
			"identifiers": {"id": "p-52881", "cio_id": "a31c0600b0e2"},
			"href": "https://example.net/start"
		}
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(ev.Type, "by", ev.Rule)
	fmt.Println(ev.ID, ev.Time)
	fmt.Println(ev.Key, "from", ev.KeyField)
	// Output:
	// email_clicked by object_type+metric
	// 01K3M8Q4C7V5W9Z2X6Y1B0N8RT 2026-01-01 00:00:03 +0000 UTC
	// p-52881 from identifiers.id
}

// Without object_type the channel follows from the fields of data.
func ExampleParse_inferred() {
	ev, err := event.Parse([]byte(`{"metric": "bounced", "data": {"to_phone": "+15550123", "subject": null}}`))
	fmt.Println(ev.Type, "by", ev.Rule, err)
	// Output: sms_bounced by metric, channel inferred <nil>
}

// The event of a body that cannot be routed is still filled as far as it goes.
func ExampleParse_deadLetter() {
	ev, err := event.Parse([]byte(`{"event_id": "e1", "data": {"test": true}}`))
	if parseErr, ok := errors.AsType[*event.ParseError](err); ok {
		fmt.Println(parseErr.Reason, "for", ev.ID)
	}
	fmt.Println(err)
	// Output:
	// no_event_type for e1
	// parsing event: no_event_type: neither metric nor event_type is a non-empty string
}

func ExampleDecode() {
	body := []byte(`{"event_id": "01K3M8Q4C7V5W9Z2X6Y1B0N8RT", "object_type": "email", "metric": "clicked", "data": {
		"campaign_id": 17, "newsletter_id": null, "link_id": 9007199254740993, "href": "https://example.net/start",
		"machine": false, "recipient": "noor@example.net", "identifiers": {"id": 52881}, "coupon": {"code": "SPRING"}}}`)
	w, err := event.Decode(body)
	if err != nil {
		fmt.Println(err)
		return
	}
	if w.Type == "email_clicked" && !w.Data.Machine {
		fmt.Println(w.Data.Identifiers.ID, "at", w.Data.Address(), "followed link", w.Data.LinkID, "to", w.Data.Href)
	}
	fmt.Printf("campaign %q, newsletter %q\n", w.Data.CampaignID, w.Data.NewsletterID)
	fmt.Printf("undocumented: %s\n", event.Field(w.Data.Raw, "coupon", "code"))
	// Output:
	// 52881 at noor@example.net followed link 9007199254740993 to https://example.net/start
	// campaign "17", newsletter ""
	// undocumented: "SPRING"
}

func ExampleDescribed() {
	for _, typ := range event.Described() {
		if typ.ObjectType == "push" {
			fmt.Printf("%s: %s\n", typ.Name, typ.Summary)
		}
	}
	// Output:
	// push_sent: A push notification left for the devices of a person.
	// push_opened: A push notification was opened on a device.
	// push_bounced: The push service refused a notification for a device, such as one that has gone.
}
