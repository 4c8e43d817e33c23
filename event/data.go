package event

import (
	"encoding/json"

	"github.com/go-json-experiment/json/jsontext"
)

// Data is the documented fields of data: those of Customer.io's page on reporting webhooks
// (docs.customer.io/api/webhooks), of the AsyncAPI document, and of the old envelope. The name in JSON stands behind
// each field. No event has all of them, and the sender promises none.
//
// A text is taken from a string, or from a number by its digits as they are written, so that no ID loses precision. A
// field that is missing, null or of another type is "", false or empty, and harms no other; [Field] tells more, from
// Raw. Broken Unicode in a string is replaced by U+FFFD.
type Data struct {
	// The message. DeliveryID is shared by all events of one message.
	DeliveryID string `json:"delivery_id,omitzero"`
	Subject    string `json:"subject,omitzero"`
	// Recipient is the address that the message went to: an e-mail address, a phone number, a Slack channel, a URL. For
	// a reply (sms_replied, whatsapp_replied) it is the person who replied, and To the number that they replied to.
	Recipient string `json:"recipient,omitzero"`
	To        string `json:"to,omitzero"`
	// Content is the body of a message that was sent, if the sender is set to include it: HTML, text, or JSON as a text.
	// For cio_subscription_preferences_changed it is the preferences, as JSON in a text.
	Content string `json:"content,omitzero"`
	// Headers are the custom headers of an e-mail that was sent. A value that is no list counts as one of one.
	Headers map[string][]string `json:"headers,omitzero"`

	// The person. CustomerID is deprecated, and blank for one who is deleted.
	Identifiers Identifiers `json:"identifiers,omitzero"`
	CustomerID  string      `json:"customer_id,omitzero"`

	// What sent the message: a campaign with its action; a newsletter; a broadcast with the trigger that started it; or a
	// transactional message. ContentID is the variant of a newsletter or an action.
	CampaignID             string `json:"campaign_id,omitzero"`
	ActionID               string `json:"action_id,omitzero"`
	ParentActionID         string `json:"parent_action_id,omitzero"`
	JourneyID              string `json:"journey_id,omitzero"`
	TriggerEventID         string `json:"trigger_event_id,omitzero"`
	NewsletterID           string `json:"newsletter_id,omitzero"`
	BroadcastID            string `json:"broadcast_id,omitzero"`
	TriggerID              string `json:"trigger_id,omitzero"`
	ContentID              string `json:"content_id,omitzero"`
	TransactionalMessageID string `json:"transactional_message_id,omitzero"`

	// FailureMessage says why: of attempted, bounced, failed and others. Devices have their own.
	FailureMessage string `json:"failure_message,omitzero"`

	// Clicks. Machine: most likely software that tests links. TrackedResponse is an in-app message's.
	Href            string `json:"href,omitzero"`
	LinkID          string `json:"link_id,omitzero"`
	Machine         bool   `json:"machine,omitzero"`
	TrackedResponse string `json:"tracked_response,omitzero"`

	// Opens. Proxied: an image proxy fetched the pixel; Prefetched: ahead of a person's look; Synthetic: concluded from
	// another event, such as a click.
	Proxied    bool `json:"proxied,omitzero"`
	Prefetched bool `json:"prefetched,omitzero"`
	Synthetic  bool `json:"synthetic,omitzero"`

	// InboundEventID is the event of a reply.
	InboundEventID string `json:"inbound_event_id,omitzero"`

	// Recipients are the devices of a push; see [Data.Devices].
	Recipients []Device `json:"recipients,omitzero"`

	// In the shape without object_type.
	EmailAddress string `json:"email_address,omitzero"`
	DeviceID     string `json:"device_id,omitzero"`
	Platform     string `json:"platform,omitzero"`
	FromPhone    string `json:"from_phone,omitzero"`
	ToPhone      string `json:"to_phone,omitzero"`

	// In the old envelope.
	EmailID      string `json:"email_id,omitzero"`
	TemplateID   string `json:"template_id,omitzero"`
	MessageID    string `json:"message_id,omitzero"`
	MessageName  string `json:"message_name,omitzero"`
	CampaignName string `json:"campaign_name,omitzero"`
	Reason       string `json:"reason,omitzero"`

	// Raw is data as it was sent, nil if it wasn't: a part of the body.
	Raw json.RawMessage `json:"-"`
}

// Identifiers are the names that a person has.
type Identifiers struct {
	ID    string `json:"id,omitzero"`     // in the sender's workspace
	Email string `json:"email,omitzero"`  // the e-mail address
	CIOID string `json:"cio_id,omitzero"` // the sender's own; it survives a change of ID
}

// Device is where a push went.
type Device struct {
	ID             string `json:"device_id,omitzero"`
	Platform       string `json:"device_platform,omitzero"` // ios, android, web
	FailureMessage string `json:"failure_message,omitzero"`
}

// Devices returns the devices of a push in either shape: recipients, or else the one of device_id and platform.
func (d *Data) Devices() []Device {
	if len(d.Recipients) == 0 && d.DeviceID != "" {
		return []Device{{ID: d.DeviceID, Platform: d.Platform}}
	}
	return d.Recipients
}

// Address returns where the message went in any shape: recipient, or else email_address, or else to_phone.
func (d *Data) Address() string {
	switch {
	case d.Recipient != "":
		return d.Recipient
	case d.EmailAddress != "":
		return d.EmailAddress
	}
	return d.ToPhone
}

// read fills d from Raw, which is one whole JSON value or nothing. Every field overwrites what it holds, so that the
// last of repeated names wins.
func (d *Data) read() {
	dec := decoders.Get().(*decoder)
	defer dec.free()
	r := dec.open(d.Raw)
	// Raw has been read once before, so there is no error to come; after one, d would hold what came before it.
	_ = r.objectOrSkip(func(name []byte) (err error) {
		if text := d.text(name); text != nil {
			return r.textInto(text)
		}
		switch string(name) {
		case "identifiers":
			d.Identifiers = Identifiers{}
			return r.objectOrSkip(func(name []byte) error { return r.textInto(d.Identifiers.text(name)) })
		case "recipients":
			d.Recipients, err = r.devices()
		case "headers":
			d.Headers, err = r.headers()
		case "machine":
			d.Machine, err = r.bool()
		case "proxied":
			d.Proxied, err = r.bool()
		case "prefetched":
			d.Prefetched, err = r.bool()
		case "synthetic":
			d.Synthetic, err = r.bool()
		default:
			err = r.SkipValue()
		}
		return err
	})
}

// text returns the field of that name if it holds text.
func (d *Data) text(name []byte) *string {
	switch string(name) {
	case "delivery_id":
		return &d.DeliveryID
	case "subject":
		return &d.Subject
	case "recipient":
		return &d.Recipient
	case "to":
		return &d.To
	case "content":
		return &d.Content
	case "customer_id":
		return &d.CustomerID
	case "campaign_id":
		return &d.CampaignID
	case "action_id":
		return &d.ActionID
	case "parent_action_id":
		return &d.ParentActionID
	case "journey_id":
		return &d.JourneyID
	case "trigger_event_id":
		return &d.TriggerEventID
	case "newsletter_id":
		return &d.NewsletterID
	case "broadcast_id":
		return &d.BroadcastID
	case "trigger_id":
		return &d.TriggerID
	case "content_id":
		return &d.ContentID
	case "transactional_message_id":
		return &d.TransactionalMessageID
	case "failure_message":
		return &d.FailureMessage
	case "href":
		return &d.Href
	case "link_id":
		return &d.LinkID
	case "tracked_response":
		return &d.TrackedResponse
	case "inbound_event_id":
		return &d.InboundEventID
	case "email_address":
		return &d.EmailAddress
	case "device_id":
		return &d.DeviceID
	case "platform":
		return &d.Platform
	case "from_phone":
		return &d.FromPhone
	case "to_phone":
		return &d.ToPhone
	case "email_id":
		return &d.EmailID
	case "template_id":
		return &d.TemplateID
	case "message_id":
		return &d.MessageID
	case "message_name":
		return &d.MessageName
	case "campaign_name":
		return &d.CampaignName
	case "reason":
		return &d.Reason
	}
	return nil
}

func (i *Identifiers) text(name []byte) *string {
	switch string(name) {
	case "id":
		return &i.ID
	case "email":
		return &i.Email
	case "cio_id":
		return &i.CIOID
	}
	return nil
}

func (d *Device) text(name []byte) *string {
	switch string(name) {
	case "device_id":
		return &d.ID
	case "device_platform":
		return &d.Platform
	case "failure_message":
		return &d.FailureMessage
	}
	return nil
}

// textInto reads text into a field, or skips the value if there is no such field.
func (r *reader) textInto(field *string) error {
	if field == nil {
		return r.SkipValue()
	}
	text, err := r.text()
	*field = string(text)
	return err
}

// bool reads a boolean, or false from any other value.
func (r *reader) bool() (bool, error) {
	if r.PeekKind() != jsontext.KindTrue {
		return false, r.SkipValue()
	}
	return true, r.SkipValue()
}

// array reads the array that comes next, calling element before each of its values, which it must consume. A value of
// another type is skipped.
func (r *reader) array(element func() error) error {
	if r.PeekKind() != jsontext.KindBeginArray {
		return r.SkipValue()
	}
	if _, err := r.ReadToken(); err != nil {
		return err
	}
	for r.PeekKind() != jsontext.KindEndArray {
		if err := element(); err != nil {
			return err
		}
	}
	_, err := r.ReadToken()
	return err
}

// devices reads a list of devices; elements that are no objects are left out.
func (r *reader) devices() (devices []Device, err error) {
	err = r.array(func() error {
		if r.PeekKind() != jsontext.KindBeginObject {
			return r.SkipValue()
		}
		var d Device
		err := r.object(func(name []byte) error { return r.textInto(d.text(name)) })
		devices = append(devices, d)
		return err
	})
	return devices, err
}

// headers reads an object of texts or of lists of texts; other values are left out.
func (r *reader) headers() (map[string][]string, error) {
	if r.PeekKind() != jsontext.KindBeginObject {
		return nil, r.SkipValue()
	}
	headers := make(map[string][]string)
	err := r.object(func(name []byte) error {
		key, values := string(name), []string(nil)
		value := func() error {
			isText := r.PeekKind() == jsontext.KindString || r.PeekKind() == jsontext.KindNumber
			text, err := r.text()
			if isText {
				values = append(values, string(text))
			}
			return err
		}
		var err error
		if r.PeekKind() == jsontext.KindBeginArray {
			err = r.array(value)
		} else {
			err = value()
		}
		if values == nil {
			delete(headers, key)
		} else {
			headers[key] = values
		}
		return err
	})
	return headers, err
}
