package sender

import (
	"strings"

	"sluice/event"
)

// odd lists the unusual kinds. Those that are ordinary but for one thing are of the given types, in turns.
func odd(types []event.Type) []maker {
	var makers []maker
	for i, change := range changes() {
		makers = append(makers, changed(types[i%len(types)], change))
	}
	for _, t := range []event.Type{
		{ObjectType: "line", Metric: "sent"},
		{ObjectType: "email", Metric: "human_opened"},
		{ObjectType: "whatsapp", Metric: "replied"}, // documented, but without a channel of its own
		{ObjectType: "in_app", Metric: "clicked"},
		{ObjectType: "webhook", Metric: "attempted"},
	} {
		t.Name = t.ObjectType + "_" + t.Metric
		makers = append(makers, plain(t, ShapeToday))
	}
	makers = append(makers, inferred)
	return append(makers, deadLetters()...)
}

// specimen is an ordinary envelope with the event that it makes, for a change to change.
type specimen struct {
	envelope object
	data     object
	event    Event
	after    string // what follows the envelope
}

// changed makes events of a type, with a change.
func changed(t event.Type, change func(*draft, *specimen)) maker {
	return func(d *draft) Event {
		envelope := d.today(t)
		last := len(envelope) - 1
		s := &specimen{
			envelope: envelope[:last], data: envelope[last].value.(object),
			event: Event{ID: d.id, Type: t.Name, DeliveryID: d.deliveryID()},
		}
		change(d, s)
		if s.data != nil {
			s.envelope = append(s.envelope, member{"data", s.data})
		}
		s.event.Body = append(appendJSON(nil, s.envelope), s.after...)
		return s.event
	}
}

// bigContent is the size of a message's content that some workspaces ask to have sent along, in bytes.
const bigContent = 200_000

// changes are the ways to be odd and still an event.
func changes() []func(*draft, *specimen) {
	return []func(*draft, *specimen){
		// Characters of every width, from right to left, and a line separator.
		func(_ *draft, s *specimen) {
			s.data.set("subject", "Zażółć 🦊 \u202e\u05e9\u05dc\u05d5\u05dd\u202c 价格 e\u0301\u2028")
		},
		func(_ *draft, s *specimen) { s.data.set("subject", literal(`"Gl\u00fcck \ud83e\udd8a\u0000"`)) },
		// Half a pair, cut off in the middle of an emoji.
		func(_ *draft, s *specimen) { s.data.set("subject", literal(`"cut \ud83e"`)) },
		func(d *draft, s *specimen) { // such an id counts as none
			s.envelope.set("event_id", literal(`"`+d.id+`\udd8a"`))
			s.event.ID = ""
		},
		func(_ *draft, s *specimen) {
			s.envelope = s.envelope.without("event_id")
			s.event.ID = ""
		},
		// Beyond 64 bits and beyond a float64's exact integers.
		func(_ *draft, s *specimen) {
			s.data.set("campaign_id", literal("98765432109876543210987654321"))
			s.data.set("content_id", literal("9007199254740993"))
			s.envelope.set("timestamp", literal("1.7672256e9"))
		},
		// The last one counts.
		func(_ *draft, s *specimen) {
			s.envelope = append(object{{"event_id", "not-this-one"}, {"metric", "not/this"}}, s.envelope...)
		},
		func(_ *draft, s *specimen) { s.after = "\n" },
		func(_ *draft, s *specimen) { s.after = " \r\n\t " },
		func(_ *draft, s *specimen) {
			s.data.set("content", strings.Repeat(`<p class="b">Fünf & mehr</p>`, bigContent/len(`<p class="b">Fünf & mehr</p>`)))
		},
		func(d *draft, s *specimen) {
			s.data.set("customer_id", d.number(1e9))
			s.data.set("identifiers", object{{"id", d.number(1e9)}, {"email", nil}, {"cio_id", d.number(1e9)}})
		},
		func(_ *draft, s *specimen) { s.data = nil },
		func(_ *draft, s *specimen) {
			s.data = nil
			s.envelope.set("data", nil)
		},
		func(_ *draft, s *specimen) { // a deleted person
			s.data = s.data.without("identifiers")
			s.data.set("customer_id", "")
		},
		func(_ *draft, s *specimen) { s.envelope.set("timestamp", "tomorrow") },
		func(_ *draft, s *specimen) {
			s.data.set("deep", literal(strings.Repeat("[", 5000)+strings.Repeat("]", 5000)))
		},
		// One message's events may share the header, and are different events all the same.
		func(_ *draft, s *specimen) { s.event.DeliveryID = "dgTsameMessageForAll" },
	}
}

// inferred has no object_type: the channel is to be told from data.
func inferred(d *draft) Event {
	envelope := d.today(event.Type{ObjectType: "sms", Metric: "sent"}).without("object_type")
	data := envelope[len(envelope)-1].value.(object).without("recipient")
	data.set("to_phone", d.person.phone)
	envelope.set("data", data)
	return Event{Body: appendJSON(nil, envelope), ID: d.id, Type: "sms_sent", DeliveryID: d.deliveryID()}
}

// deadLetters are bodies that are no events. No two are alike: each holds its draft's id in some way.
func deadLetters() []maker {
	of := func(id func(*draft) string, body func(*draft) string) maker {
		return func(d *draft) Event {
			return Event{Body: []byte(body(d)), ID: id(d), DeliveryID: d.deliveryID()}
		}
	}
	none := func(*draft) string { return "" }
	own := func(d *draft) string { return d.id }
	return []maker{
		of(none, func(d *draft) string { return "event_id=" + d.id + "&metric=sent" }),
		of(own, func(d *draft) string { return `{"event_id":"` + d.id + `","metric":"sent"} and more` }),
		of(own, func(d *draft) string { return `{"event_id":"` + d.id + `","object_type":"email","metric":"se` }),
		of(none, func(d *draft) string { return `[{"event_id":"` + d.id + `","object_type":"email","metric":"sent"}]` }),
		of(none, func(d *draft) string { return `"` + d.id + `"` }),
		of(none, func(d *draft) string { return "{" + blank(d.id) + "}" }),
		of(own, func(d *draft) string { return `{"event_id":"` + d.id + `","data":{"subject":"nothing happened"}}` }),
		of(own, func(d *draft) string { return `{"event_id":"` + d.id + `","event_type":"no/topic name","data":{}}` }),
		of(own, func(d *draft) string {
			return `{"event_id":"` + d.id + `","event_type":"` + strings.Repeat("long_", 60) + `"}`
		}),
		of(none, func(d *draft) string {
			return "\ufeff" + `{"event_id":"` + d.id + `","object_type":"email","metric":"sent"}`
		}),
	}
}

// blank writes a text as white space, so that an object may be empty and yet unlike every other one.
func blank(text string) string {
	var b strings.Builder
	for i := range len(text) {
		for bit := range 8 {
			b.WriteByte(" \t"[text[i]>>bit&1])
		}
	}
	return b.String()
}
