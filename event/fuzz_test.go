package event

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

var legalType = regexp.MustCompile(`^[A-Za-z0-9._-]{1,120}$`)

// FuzzParse compares Parse with encoding/json, which also keeps the last of
// repeated names when it decodes into a map. Known differences: where exactly
// the limit of nesting lies, and how many replacement characters stand for a
// stretch of broken Unicode.
func FuzzParse(f *testing.F) {
	bodies, err := filepath.Glob(filepath.Join("testdata", "*.json"))
	if err != nil || len(bodies) == 0 {
		f.Fatalf("%d bodies in testdata, %v", len(bodies), err)
	}
	for _, file := range bodies {
		body, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	for _, body := range []string{
		``, `{}`, `[]`, `{"metric":"sent"} x`, "\uFEFF{}", `{"event_id":"\ud83c","metric":"sent"}`, `{"metric":NaN}`,
		`{"data":{"delivery_id":1e5},"data":{"customer_id":null},"event_type":"a_unsubscribed","timestamp":"1.5e9"}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		before := bytes.Clone(body)
		ev, err := Parse(body)
		if !bytes.Equal(body, before) {
			t.Fatal("Parse changed the body")
		}
		checkInvariants(t, ev, reasonOf(t, err))
		if nesting := bytes.Count(body, []byte("[")) + bytes.Count(body, []byte("{")); nesting < 9000 {
			checkAgainstStandardLibrary(t, body, ev, reasonOf(t, err))
		}
	})
}

// FuzzDecode holds Decode to Parse, and the fields of data to encoding/json.
func FuzzDecode(f *testing.F) {
	bodies, err := filepath.Glob(filepath.Join("testdata", "data", "*.json"))
	if err != nil || len(bodies) == 0 {
		f.Fatalf("%d bodies in testdata/data, %v", len(bodies), err)
	}
	for _, file := range bodies {
		body, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Fuzz(checkDecode)
}

func checkInvariants(t *testing.T, ev Event, reason Reason) {
	t.Helper()
	reasons := []Reason{"", ReasonNotJSON, ReasonNotObject, ReasonNoType, ReasonBadType}
	if !slices.Contains(reasons, reason) {
		t.Errorf("reason %q is none of the bounded set", reason)
	}
	if legal := legalType.MatchString(ev.Type); legal != (reason == "") || !legal && ev.Type != "" {
		t.Errorf("Type = %q with reason %q", ev.Type, reason)
	}
	if (ev.Rule == "") != (ev.Type == "") {
		t.Errorf("Rule = %q with Type %q", ev.Rule, ev.Type)
	}
	if strings.HasSuffix(ev.Type, "_unsubscribed") && (ev.Rule == RuleEventType || ev.Rule == RuleMetric || ev.Metric == "unsubscribed") {
		t.Errorf("Type = %q by %q is not canonical", ev.Type, ev.Rule)
	}
	if (ev.Key == "") != (ev.KeyField == "") || len(ev.Key) > MaxKeyLength {
		t.Errorf("Key = %q of %q", ev.Key, ev.KeyField)
	}
	if !ev.Time.IsZero() && (ev.Time.Year() < 1970 || ev.Time.Year() > 9999) {
		t.Errorf("Time = %v", ev.Time)
	}
	for _, text := range []string{ev.ID, ev.ObjectType, ev.Metric, ev.DeliveryID, ev.Key} {
		if !utf8.ValidString(text) {
			t.Errorf("%q is not UTF-8", text)
		}
	}
}

func checkAgainstStandardLibrary(t *testing.T, body []byte, ev Event, reason Reason) {
	t.Helper()
	if valid := json.Valid(body); valid != (reason != ReasonNotJSON) {
		t.Fatalf("encoding/json says valid is %v, the reason is %q", valid, reason)
	}
	var top, data map[string]json.RawMessage
	if reason == ReasonNotJSON || json.Unmarshal(body, &top) != nil || top == nil {
		if reason != ReasonNotJSON && reason != ReasonNotObject {
			t.Errorf("encoding/json finds no object, the reason is %q", reason)
		}
		return
	}
	if json.Unmarshal(top["data"], &data) != nil {
		data = nil
	}
	deliveryID := text(data["delivery_id"])
	if raw := data["delivery_id"]; len(raw) > 0 && (raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9') {
		deliveryID = string(raw)
	}
	for _, field := range []struct{ name, got, want string }{
		{"ID", ev.ID, text(top["event_id"])},
		{"ObjectType", ev.ObjectType, text(top["object_type"])},
		{"Metric", ev.Metric, text(top["metric"])},
		{"DeliveryID", ev.DeliveryID, deliveryID},
	} {
		if field.got != field.want && !strings.ContainsRune(field.want, utf8.RuneError) {
			t.Errorf("%s = %q, encoding/json says %q", field.name, field.got, field.want)
		}
	}
}

// text is the string that raw is, or "".
func text(raw json.RawMessage) (s string) {
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}
