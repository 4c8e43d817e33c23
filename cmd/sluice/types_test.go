package main

import (
	"slices"
	"strings"
	"testing"

	"sluice/event"
	"sluice/publisher"
)

func TestTailTopics(t *testing.T) {
	perType := tailTemplate()
	single := publisher.TopicOptions{Template: "customerio", DeadLetter: "customerio_dead_letter", Overflow: "customerio_other"}
	tests := []struct {
		name              string
		args              []string
		unknown, dead     bool
		where             publisher.TopicOptions
		names             []string // the first ones, "" for all documented
		matches, matchNot []string
		keeps, keepsNot   []string // event types
	}{
		{
			name: "all documented", where: perType, names: []string{""},
			keeps: []string{"email_sent", "sms_replied"}, keepsNot: []string{"fax_sent", ""},
		},
		{
			name: "one", args: []string{"email_sent"}, where: perType, names: []string{"customerio_email_sent"},
			keeps: []string{"email_sent"}, keepsNot: []string{"email_opened"},
		},
		{
			name: "undocumented by name", args: []string{"fax_sent"}, where: perType, names: []string{"customerio_fax_sent"},
			keeps: []string{"fax_sent"},
		},
		{
			name: "pattern", args: []string{"email_*"}, where: perType,
			matches: []string{"customerio_email_sent", "customerio_email_new"}, matchNot: []string{"customerio_push_sent", "email_sent", "customerio_other"},
			keeps: []string{"email_sent", "email_new"}, keepsNot: []string{"push_sent"},
		},
		{
			name: "unknown", unknown: true, where: perType, names: []string{"", "customerio_other"},
			matches: []string{"customerio_fax_sent"}, matchNot: []string{"customerio_dead_letter", "foreign"},
			keeps: []string{"fax_sent", "email_sent"},
		},
		{
			name: "with dead letters", args: []string{"email_sent"}, dead: true, where: perType, names: []string{"customerio_dead_letter", "customerio_email_sent"},
		},
		{
			name: "only dead letters", args: []string{"dead-letter"}, where: perType, names: []string{"customerio_dead_letter"},
			keepsNot: []string{"email_sent", ""},
		},
		{
			name: "a type that would collide", args: []string{"dead_letter"}, where: perType, names: []string{"customerio_other"},
			keeps: []string{"dead_letter"}, keepsNot: []string{"fax_sent"},
		},
		{
			name: "single topic", args: []string{"email_*"}, where: single, names: []string{"customerio"},
			keeps: []string{"email_sent"}, keepsNot: []string{"push_sent", ""},
		},
		{
			name: "only dead letters beside a single topic", args: []string{"dead-letter"}, where: single, names: []string{"customerio_dead_letter"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			types, err := newTypeChoice(test.args, test.unknown, test.dead)
			if err != nil {
				t.Fatal(err)
			}
			chosen := types.in(test.where)
			var want []string
			for _, name := range test.names {
				if name != "" {
					want = append(want, name)
					continue
				}
				for _, known := range event.Known() {
					want = append(want, test.where.Name(known.Name))
				}
			}
			slices.Sort(want)
			names, match := chosen.topics()
			if !slices.Equal(names, want) {
				t.Errorf("topics\n%q, want\n%q", names, want)
			}
			if (match != nil) != (test.matches != nil) {
				t.Fatalf("further topics are looked for: %t", match != nil)
			}
			for _, topic := range test.matches {
				if !match(topic) {
					t.Errorf("%s isn't read", topic)
				}
			}
			for _, topic := range test.matchNot {
				if match(topic) {
					t.Errorf("%s is read", topic)
				}
			}
			for _, eventType := range test.keeps {
				if !chosen.keep(tailRecord("any", "", "", "", "event-type", eventType)) {
					t.Errorf("%s is left out", eventType)
				}
			}
			for _, eventType := range test.keepsNot {
				if chosen.keep(tailRecord("any", "", "", "", "event-type", eventType)) {
					t.Errorf("%q is kept", eventType)
				}
			}
			if got, want := chosen.keep(tailRecord(test.where.DeadLetter, "", "", "", "event-type", "email_sent")), test.dead || slices.Contains(test.args, "dead-letter"); got != want {
				t.Errorf("dead letters kept: %t", got)
			}
		})
	}
}

func TestTailMissing(t *testing.T) {
	for _, test := range []struct {
		arg, want string
	}{
		{"email_sent", ""}, // documented: it may come any time
		{"fax_sent", ""},   // in the cluster
		{"emial_sent", `no topic for event type "emial_sent" yet (it would be customerio_emial_sent); did you mean email_sent`},
		{"Email-Sent", "did you mean email_sent"},
		{"customerio_email_sent", "did you mean email_sent?"},
		{"something_else", `no topic for event type "something_else" yet (it would be customerio_something_else)`},
		{"letter_*", `no topic matches "letter_*" yet`},
		{"fax_*", ""},
	} {
		types, err := newTypeChoice([]string{test.arg}, false, false)
		if err != nil {
			t.Fatal(err)
		}
		missing := types.in(tailTemplate()).missing([]string{"customerio_fax_sent", "other"})
		switch {
		case test.want == "" && len(missing) > 0:
			t.Errorf("%s: %s", test.arg, missing[0].text)
		case test.want != "" && (len(missing) != 1 || !strings.Contains(missing[0].text, test.want)):
			t.Errorf("%s: %+v, want %s", test.arg, missing, test.want)
		}
	}
}
