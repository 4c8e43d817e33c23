package event

import (
	"strings"
	"testing"
)

func TestParseType(t *testing.T) {
	longest := strings.Repeat("m", MaxTypeLength)
	for _, test := range []struct {
		name, body, want string
		rule             Rule
	}{
		{"both names", `{"object_type":"email","metric":"delivered"}`, "email_delivered", RuleNames},
		{"both names win over event_type", `{"event_type":"sms_sent","metric":"opened","object_type":"email"}`, "email_opened", RuleNames},
		{"both names win over data", `{"metric":"sent","object_type":"sms","data":{"device_id":"x"}}`, "sms_sent", RuleNames},
		{"unknown names", `{"object_type":"fax","metric":"jammed"}`, "fax_jammed", RuleNames},
		{"case is kept", `{"object_type":"Email","metric":"SENT"}`, "Email_SENT", RuleNames},
		{"every legal character", `{"metric":"aZ09._-"}`, "aZ09._-", RuleMetric},
		{"dots alone", `{"metric":".."}`, "..", RuleMetric},
		{"escapes are undone", `{"object_type":"em\u0061il","metric":"sent"}`, "email_sent", RuleNames},
		{"longest", `{"event_type":"` + longest + `"}`, longest, RuleEventType},
		{"last wins", `{"object_type":"sms","metric":"sent","object_type":"email","metric":"opened"}`, "email_opened", RuleNames},
		{"last wins as null", `{"object_type":"sms","metric":"sent","event_type":"x_y","object_type":null}`, "x_y", RuleEventType},

		{"event_type", `{"event_type":"email_opened"}`, "email_opened", RuleEventType},
		{"event_type beside a metric", `{"event_type":"email_opened","metric":"sent"}`, "email_opened", RuleEventType},
		{"event_type where a name is empty", `{"event_type":"email_opened","object_type":"","metric":"sent"}`, "email_opened", RuleEventType},
		{"event_type where a name is no string", `{"event_type":"email_opened","object_type":7,"metric":"sent"}`, "email_opened", RuleEventType},

		{"push by device_id", `{"metric":"sent","data":{"device_id":"x"}}`, "push_sent", RuleInferred},
		{"push by platform", `{"metric":"sent","data":{"platform":"ios"}}`, "push_sent", RuleInferred},
		{"push by recipients", `{"metric":"sent","data":{"recipients":[{"device_id":"x"}]}}`, "push_sent", RuleInferred},
		{"push by empty recipients", `{"metric":"sent","data":{"recipients":[]}}`, "push_sent", RuleInferred},
		{"sms by from_phone", `{"metric":"sent","data":{"from_phone":"+1"}}`, "sms_sent", RuleInferred},
		{"sms by to_phone as a number", `{"metric":"sent","data":{"to_phone":15550100}}`, "sms_sent", RuleInferred},
		{"email by email_address", `{"metric":"sent","data":{"email_address":"a@example.net"}}`, "email_sent", RuleInferred},
		{"email by subject", `{"metric":"sent","data":{"subject":"Hello"}}`, "email_sent", RuleInferred},
		{"email by recipient", `{"metric":"sent","data":{"recipient":"a@example.net"}}`, "email_sent", RuleInferred},
		{"email by recipient with an escape", `{"metric":"sent","data":{"recipient":"a\u0040example.net"}}`, "email_sent", RuleInferred},
		{"push before sms and email", `{"metric":"sent","data":{"subject":"x","to_phone":"x","platform":"x"}}`, "push_sent", RuleInferred},
		{"sms before email", `{"metric":"sent","data":{"subject":"x","to_phone":"x"}}`, "sms_sent", RuleInferred},
		{"object_type is empty", `{"object_type":"","metric":"sent","data":{"subject":"x"}}`, "email_sent", RuleInferred},
		{"data before metric", `{"data":{"subject":"x"},"metric":"sent"}`, "email_sent", RuleInferred},
		{"null is absent", `{"metric":"sent","data":{"device_id":null,"to_phone":null,"subject":"x"}}`, "email_sent", RuleInferred},
		{"blank is absent", `{"metric":"sent","data":{"device_id":"","to_phone":"","subject":"x"}}`, "email_sent", RuleInferred},
		{"last hint wins", `{"metric":"sent","data":{"device_id":"x","device_id":null,"subject":"x"}}`, "email_sent", RuleInferred},
		{"last data wins whole", `{"metric":"sent","data":{"device_id":"x"},"data":{"subject":"x"}}`, "email_sent", RuleInferred},

		{"no hint", `{"metric":"sent","data":{"delivery_id":"x"}}`, "sent", RuleMetric},
		{"no data", `{"metric":"sent"}`, "sent", RuleMetric},
		{"data is null", `{"metric":"sent","data":null}`, "sent", RuleMetric},
		{"hints are blank", `{"metric":"sent","data":{"recipients":null,"from_phone":"","subject":""}}`, "sent", RuleMetric},
		{"hints outside data", `{"metric":"sent","subject":"x","x":{"device_id":"x"}}`, "sent", RuleMetric},
		{"hints deeper in data", `{"metric":"sent","data":{"x":{"device_id":"x","subject":"x"}}}`, "sent", RuleMetric},
		{"recipient is no address", `{"metric":"sent","data":{"recipient":"U123"}}`, "sent", RuleMetric},
		{"recipient is no string", `{"metric":"sent","data":{"recipient":["a@example.net"]}}`, "sent", RuleMetric},
		{"last data wins as null", `{"metric":"sent","data":{"subject":"x"},"data":null}`, "sent", RuleMetric},

		{"unsubscribed by email", `{"object_type":"email","metric":"unsubscribed"}`, "unsubscribed", RuleNames},
		{"unsubscribed by a person", `{"object_type":"customer","metric":"unsubscribed"}`, "unsubscribed", RuleNames},
		{"unsubscribed by an odd channel", `{"object_type":"télégramme","metric":"unsubscribed"}`, "unsubscribed", RuleNames},
		{"unsubscribed by event_type", `{"event_type":"customer_unsubscribed"}`, "unsubscribed", RuleEventType},
		{"unsubscribed by bare event_type", `{"event_type":"unsubscribed"}`, "unsubscribed", RuleEventType},
		{"unsubscribed, inferred", `{"metric":"unsubscribed","data":{"to_phone":"x"}}`, "unsubscribed", RuleInferred},
		{"unsubscribed alone", `{"metric":"unsubscribed"}`, "unsubscribed", RuleMetric},
		{"unsubscribed spelled out in the metric", `{"metric":"sms_unsubscribed"}`, "unsubscribed", RuleMetric},
		{"another metric that ends so", `{"object_type":"email","metric":"auto_unsubscribed"}`, "email_auto_unsubscribed", RuleNames},
		{"a name that merely ends so", `{"event_type":"email_resunsubscribed"}`, "email_resunsubscribed", RuleEventType},
		{"subscribed", `{"object_type":"customer","metric":"subscribed"}`, "customer_subscribed", RuleNames},
	} {
		t.Run(test.name, func(t *testing.T) {
			ev, err := Parse([]byte(test.body))
			if err != nil {
				t.Fatal(err)
			}
			if ev.Type != test.want || ev.Rule != test.rule {
				t.Errorf("Type, Rule = %q, %q, want %q, %q", ev.Type, ev.Rule, test.want, test.rule)
			}
		})
	}
}

// TestParseNamesAsReceived: the canonical type does not change the two names.
func TestParseNamesAsReceived(t *testing.T) {
	for _, test := range []struct{ body, objectType, metric string }{
		{`{"object_type":"sms","metric":"unsubscribed"}`, "sms", "unsubscribed"},
		{`{"metric":"sent","data":{"subject":"x"}}`, "", "sent"},
		{`{"object_type":5,"metric":null,"event_type":"email_sent"}`, "", ""},
		{`{"object_type":"é","metric":" "}`, "é", " "},
	} {
		ev, _ := Parse([]byte(test.body))
		if ev.ObjectType != test.objectType || ev.Metric != test.metric {
			t.Errorf("%s: ObjectType, Metric = %q, %q", test.body, ev.ObjectType, ev.Metric)
		}
	}
}
