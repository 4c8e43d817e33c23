package sender

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strconv"

	"sluice/event"
)

// draft is what is decided about one event before its form is.
type draft struct {
	rand   *rand.Rand
	id     string // a ULID, unlike every other event's
	hash   [sha256.Size]byte
	time   int64 // Unix seconds
	person person
}

func newDraft(g *Generator, n uint64) *draft {
	d := &draft{
		rand: rand.New(rand.NewPCG(g.options.Seed, n)),
		id:   string(appendDigits([]byte(g.options.RunID), n, eventDigits)),
	}
	d.hash = sha256.Sum256([]byte(d.id))
	d.time = g.began - d.rand.Int64N(90)
	d.person = newPerson(d.rand)
	return d
}

// oldID is an event_id of the old shape: 20 hex digits.
func (d *draft) oldID() string { return hex.EncodeToString(d.hash[:10]) }

// deliveryID names the message; here each event is about a message of its own.
func (d *draft) deliveryID() string {
	return "dgT" + base64.RawURLEncoding.EncodeToString(d.hash[10:28])
}

// number is between 1 and below.
func (d *draft) number(below int64) int64 { return 1 + d.rand.Int64N(below-1) }

func (d *draft) pick(from []string) string { return from[d.rand.IntN(len(from))] }

// plain makes ordinary events of a type.
func plain(t event.Type, s Shape) maker {
	return func(d *draft) Event {
		envelope, id := d.today(t), d.id
		if s == ShapeOld {
			envelope, id = d.old(t), d.oldID()
		}
		return Event{Body: appendJSON(nil, envelope), ID: id, Type: t.Name, DeliveryID: d.deliveryID()}
	}
}

// today is the envelope with object_type and metric.
func (d *draft) today(t event.Type) object {
	channel := t.ObjectType
	if channel == "" {
		channel = d.pick([]string{"customer", "email"})
	}
	data := append(d.source(),
		member{"customer_id", d.person.id},
		member{"delivery_id", d.deliveryID()},
		member{"identifiers", object{
			{"id", d.person.id}, {"email", d.person.email}, {"cio_id", d.person.cioID},
		}},
	)
	data = append(data, d.message(channel)...)
	data = append(data, d.happened(channel, t.Metric)...)
	return object{
		{"event_id", d.id}, {"object_type", channel}, {"metric", t.Metric}, {"timestamp", d.time}, {"data", data},
	}
}

// source is what the message belongs to.
func (d *draft) source() object {
	switch d.rand.IntN(6) {
	case 0:
		return object{{"newsletter_id", d.number(200)}, {"content_id", d.number(900)}}
	case 1:
		return object{{"broadcast_id", d.number(80)}, {"trigger_id", d.number(4000)}, {"action_id", d.number(900)}}
	case 2:
		return object{{"transactional_message_id", d.number(60)}}
	}
	return object{
		{"action_id", d.number(900)},
		{"campaign_id", d.number(120)},
		{"content_id", d.number(9000)},
		{"journey_id", "01J" + hexUpper(d.hash[:12])[:23]},
		{"parent_action_id", d.number(900)},
	}
}

// message is what was sent, and to whom.
func (d *draft) message(channel string) object {
	switch channel {
	case "push":
		devices := list{object{{"device_id", d.device()}, {"device_platform", d.pick(platforms)}}}
		if d.rand.IntN(4) == 0 {
			devices = append(devices, object{{"device_id", d.device()}, {"device_platform", d.pick(platforms)}})
		}
		return object{{"recipients", devices}}
	case "sms", "whatsapp":
		return object{{"recipient", d.person.phone}}
	case "customer":
		return object{{"email_address", d.person.email}}
	}
	return object{{"subject", d.pick(subjects)}, {"recipient", d.person.email}}
}

// happened is what a metric adds.
func (d *draft) happened(channel, metric string) object {
	switch metric {
	case "clicked":
		link := d.number(9999)
		return object{{"href", d.pick(sites) + "?utm_campaign=" + strconv.FormatInt(link, 36) + "&ref=" + d.person.cioID}, {"link_id", link}}
	case "opened":
		if channel == "email" {
			return object{{"proxied", d.rand.IntN(3) == 0}, {"prefetched", d.rand.IntN(5) == 0}}
		}
	case "bounced", "dropped", "failed", "undeliverable", "attempted":
		return object{{"failure_message", d.pick(failures(channel))}}
	}
	return nil
}

// device is a push token.
func (d *draft) device() string {
	return fmt.Sprintf("%016x%016x%016x", d.rand.Uint64(), d.rand.Uint64(), d.rand.Uint64())
}

// old is the envelope with event_type, in which ids are strings.
func (d *draft) old(t event.Type) object {
	name := t.Name
	if t.ObjectType == "" {
		name = d.pick([]string{"customer_unsubscribed", "email_unsubscribed"})
	}
	text := func(below int64) string { return strconv.FormatInt(d.number(below), 10) }
	data := object{
		{"customer_id", d.person.id},
		{"campaign_id", text(120)},
		{"campaign_name", d.pick(campaigns)},
		{"template_id", text(9000)},
		{"delivery_id", d.deliveryID()},
	}
	switch t.ObjectType {
	case "push":
		data = append(data, object{{"device_id", d.device()}, {"platform", d.pick(platforms)}, {"push_id", text(90_000)}}...)
	case "sms":
		data = append(data, object{{"from_phone", "+12025550100"}, {"to_phone", d.person.phone}, {"sms_id", text(90_000)}}...)
	default:
		data = append(data, object{
			{"email_address", d.person.email}, {"email_id", text(90_000)}, {"subject", d.pick(subjects)},
		}...)
	}
	switch t.Metric {
	case "clicked":
		data = append(data, object{{"href", d.pick(sites)}, {"link_id", text(9999)}}...)
	case "bounced", "dropped", "failed":
		data.set("reason", d.pick(failures(t.ObjectType)))
	}
	data.set("variables", object{
		{"customer", object{{"id", d.person.id}, {"email", d.person.email}, {"first_name", d.person.first}}},
		{"campaign", object{{"id", text(120)}, {"type", "behavioral"}}},
	})
	return object{{"event_type", name}, {"event_id", d.oldID()}, {"timestamp", d.time}, {"data", data}}
}
