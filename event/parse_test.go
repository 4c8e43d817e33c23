package event

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"
)

// reasonOf returns "" for no error, and fails for any error but a *ParseError.
func reasonOf(t testing.TB, err error) Reason {
	t.Helper()
	if err == nil {
		return ""
	}
	parseErr, ok := errors.AsType[*ParseError](err)
	if !ok {
		t.Fatalf("error %v is a %T, want a *ParseError", err, err)
	}
	if parseErr.Err == nil || !errors.Is(errors.Unwrap(err), parseErr.Err) {
		t.Errorf("error %v has no cause or hides it", err)
	}
	return parseErr.Reason
}

func TestParseID(t *testing.T) {
	for _, test := range []struct{ name, body, want string }{
		{"string", `{"event_id":"e1","metric":"sent"}`, "e1"},
		{"escapes are undone", `{"event_id":"e\u0031\/\n","metric":"sent"}`, "e1/\n"},
		{"name with escapes", `{"ev\u0065nt_id":"e1","metric":"sent"}`, "e1"},
		{"absent", `{"metric":"sent"}`, ""},
		{"empty", `{"event_id":"","metric":"sent"}`, ""},
		{"null", `{"event_id":null,"metric":"sent"}`, ""},
		{"number", `{"event_id":17,"metric":"sent"}`, ""},
		{"object", `{"event_id":{"event_id":"e1"},"metric":"sent"}`, ""},
		{"other case", `{"Event_ID":"e1","EVENT_ID":"e2","metric":"sent"}`, ""},
		{"last wins", `{"event_id":"e1","metric":"sent","event_id":"e2"}`, "e2"},
		{"last wins, of another type", `{"event_id":"e1","metric":"sent","event_id":2}`, ""},
		{"nested elsewhere", `{"data":{"event_id":"e1"},"x":{"event_id":"e2"},"metric":"sent"}`, ""},
		{"replacement character as sent", `{"event_id":"e` + "\uFFFD" + `","metric":"sent"}`, "e\uFFFD"},
		{"lone surrogate", `{"event_id":"e\ud83c","metric":"sent"}`, ""},
		{"invalid UTF-8", `{"event_id":"e` + "\xff" + `","metric":"sent"}`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			ev, err := Parse([]byte(test.body))
			if err != nil {
				t.Fatal(err)
			}
			if ev.ID != test.want {
				t.Errorf("ID = %q, want %q", ev.ID, test.want)
			}
		})
	}
}

func TestParseTime(t *testing.T) {
	day := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var none time.Time
	for _, test := range []struct {
		timestamp string
		want      time.Time
	}{
		{`1767225600`, day},
		{`"1767225600"`, day},
		{`1767225600.25`, day.Add(250 * time.Millisecond)},
		{`1767225600.1`, day.Add(100 * time.Millisecond)},
		{`17672256e2`, day},
		{`"1.7672256E+9"`, day},
		{`1`, time.Unix(1, 0).UTC()},
		{`253402300799`, time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
		{`253402300800`, none},
		{`253402300799.9999999`, none},
		{`1767225600000`, none}, // milliseconds
		{`1e400`, none},
		{`1e-400`, none},
		{`0`, none},
		{`0.5`, none},
		{`-0`, none},
		{`-1767225600`, none},
		{`null`, none},
		{`true`, none},
		{`""`, none},
		{`"2026-01-01T00:00:00Z"`, none},
		{`"Infinity"`, none},
		{`"NaN"`, none},
		{`"0x1p30"`, none},
		{`"1_767_225_600"`, none},
		{`" 1767225600"`, none},
		{`[1767225600]`, none},
		{`{"timestamp":1767225600}`, none},
		{`1767225600,"timestamp":null`, none},
		{`null,"timestamp":1767225600`, day},
	} {
		t.Run(test.timestamp, func(t *testing.T) {
			ev, err := Parse([]byte(`{"metric":"sent","timestamp":` + test.timestamp + `}`))
			if err != nil {
				t.Fatal(err)
			}
			if !ev.Time.Equal(test.want) || ev.Time.Location() != time.UTC {
				t.Errorf("Time = %v, want %v", ev.Time, test.want)
			}
		})
	}
}

func TestParseKey(t *testing.T) {
	long := strings.Repeat("k", MaxKeyLength+1)
	sum := sha256.Sum256([]byte(long))
	for _, test := range []struct{ name, data, key, field string }{
		{
			"person first",
			`{"delivery_id":"d","identifiers":{"cio_id":"c","id":"p","email":"e"},"customer_id":"q"}`, "p", KeyID,
		},
		{"customer_id second", `{"delivery_id":"d","identifiers":{"cio_id":"c"},"customer_id":"q"}`, "q", KeyCustomerID},
		{"cio_id third", `{"delivery_id":"d","identifiers":{"cio_id":"c"}}`, "c", KeyCIOID},
		{"delivery_id last", `{"delivery_id":"d","identifiers":{"email":"e"}}`, "d", KeyDeliveryID},
		{"none", `{"recipient":"a@example.net"}`, "", ""},
		{"no data", `null`, "", ""},
		{"data of another type", `["delivery_id","d"]`, "", ""},
		{"blanks and nulls are skipped", `{"identifiers":{"id":"","cio_id":null},"customer_id":"","delivery_id":"d"}`, "d", KeyDeliveryID},
		{"other types are skipped", `{"identifiers":{"id":{"id":"p"},"cio_id":["c"]},"customer_id":true,"delivery_id":"d"}`, "d", KeyDeliveryID},
		{"identifiers of another type", `{"identifiers":"p","customer_id":"q"}`, "q", KeyCustomerID},
		{"digits as written", `{"identifiers":{"id":90071992547409931234}}`, "90071992547409931234", KeyID},
		{"zero is an ID", `{"customer_id":0}`, "0", KeyCustomerID},
		{"fraction and exponent as written", `{"customer_id":1.50e+2}`, "1.50e+2", KeyCustomerID},
		{"last identifiers win whole", `{"identifiers":{"id":"p"},"identifiers":{"cio_id":"c"}}`, "c", KeyCIOID},
		{"last identifiers win as null", `{"identifiers":{"id":"p"},"identifiers":null,"delivery_id":"d"}`, "d", KeyDeliveryID},
		{"last data wins whole", `{"identifiers":{"id":"p"},"customer_id":"q"},"data":{"delivery_id":"d"}`, "d", KeyDeliveryID},
		{"last data wins as null", `{"identifiers":{"id":"p"}},"data":null`, "", ""},
		{"fields of deeper objects", `{"x":{"customer_id":"q","identifiers":{"id":"p"}},"delivery_id":"d"}`, "d", KeyDeliveryID},
		{"other case", `{"Customer_ID":"q","delivery_id":"d"}`, "d", KeyDeliveryID},
		{"longest", `{"customer_id":"` + long[1:] + `"}`, long[1:], KeyCustomerID},
		{"too long", `{"customer_id":"` + long + `"}`, hex.EncodeToString(sum[:])[:32], KeyCustomerID},
	} {
		t.Run(test.name, func(t *testing.T) {
			ev, err := Parse([]byte(`{"metric":"sent","data":` + test.data + `}`))
			if err != nil {
				t.Fatal(err)
			}
			if ev.Key != test.key || ev.KeyField != test.field {
				t.Errorf("Key, KeyField = %q, %q, want %q, %q", ev.Key, ev.KeyField, test.key, test.field)
			}
		})
	}
}

func TestParseDeliveryID(t *testing.T) {
	for _, test := range []struct{ data, want string }{
		{`{"delivery_id":"d=="}`, "d=="},
		{`{"delivery_id":18446744073709551616}`, "18446744073709551616"},
		{`{"delivery_id":null}`, ""},
		{`{"delivery_id":false}`, ""},
		{`{"delivery_id":"d","delivery_id":{}}`, ""},
		{`{"delivery_id":"d"},"data":{}`, ""},
		{`{"delivery_id":"` + strings.Repeat("d", 300) + `"}`, strings.Repeat("d", 300)},
	} {
		t.Run(test.data, func(t *testing.T) {
			ev, err := Parse([]byte(`{"metric":"sent","data":` + test.data + `}`))
			if err != nil {
				t.Fatal(err)
			}
			if ev.DeliveryID != test.want {
				t.Errorf("DeliveryID = %q, want %q", ev.DeliveryID, test.want)
			}
		})
	}
}

// TestParseErrors also checks what of a bad body is filled in.
func TestParseErrors(t *testing.T) {
	const filled = `"event_id":"e1","data":{"delivery_id":"d1","customer_id":"c1"}`
	for _, test := range []struct {
		name, body string
		reason     Reason
		id         string
	}{
		{"empty", ``, ReasonNotJSON, ""},
		{"white space", " \r\n\t", ReasonNotJSON, ""},
		{"byte order mark", "\uFEFF" + `{"event_id":"e1","metric":"sent"}`, ReasonNotJSON, ""},
		{"form", `event_id=e1&metric=sent`, ReasonNotJSON, ""},
		{"cut off", `{` + filled + `,"metric":"se`, ReasonNotJSON, "e1"},
		{"not closed", `{` + filled + `,"metric":"sent"`, ReasonNotJSON, "e1"},
		{"closed wrongly", `{` + filled + `,"metric":"sent"]`, ReasonNotJSON, "e1"},
		{"text behind", `{` + filled + `,"metric":"sent"} x`, ReasonNotJSON, "e1"},
		{"value behind", `{` + filled + `,"metric":"sent"}{}`, ReasonNotJSON, "e1"},
		{"comma behind", `{` + filled + `,"metric":"sent"},`, ReasonNotJSON, "e1"},
		{"NUL behind", `{` + filled + `,"metric":"sent"}` + "\x00", ReasonNotJSON, "e1"},
		{"comma at the end", `{` + filled + `,"metric":"sent",}`, ReasonNotJSON, "e1"},
		{"NaN", `{` + filled + `,"metric":"sent","timestamp":NaN}`, ReasonNotJSON, "e1"},
		{"NaN in a skipped value", `{` + filled + `,"metric":"sent","x":[{"y":NaN}]}`, ReasonNotJSON, "e1"},
		{"leading zero", `{` + filled + `,"metric":"sent","x":01}`, ReasonNotJSON, "e1"},
		{"bad escape", `{` + filled + `,"metric":"sent","x":"\x"}`, ReasonNotJSON, "e1"},
		{"control character", `{` + filled + `,"metric":"sent","x":"` + "\n" + `"}`, ReasonNotJSON, "e1"},
		{"single quotes", `{` + filled + `,'metric':'sent'}`, ReasonNotJSON, "e1"},
		{"name without quotes", `{` + filled + `,metric:"sent"}`, ReasonNotJSON, "e1"},
		{"number for a name", `{` + filled + `,1:"sent"}`, ReasonNotJSON, "e1"},
		{"comment", `{` + filled + `,"metric":"sent"/**/}`, ReasonNotJSON, "e1"},
		{"bad array", `[1,]`, ReasonNotJSON, ""},
		{"array", `[{` + filled + `,"metric":"sent"}]`, ReasonNotObject, ""},
		{"string", `"sent"`, ReasonNotObject, ""},
		{"number", `1`, ReasonNotObject, ""},
		{"null", ` null `, ReasonNotObject, ""},
		{"no names", `{` + filled + `}`, ReasonNoType, "e1"},
		{"object_type only", `{` + filled + `,"object_type":"email"}`, ReasonNoType, "e1"},
		{"names are empty", `{` + filled + `,"object_type":"email","metric":"","event_type":""}`, ReasonNoType, "e1"},
		{"names are no strings", `{` + filled + `,"object_type":"email","metric":1,"event_type":["x"]}`, ReasonNoType, "e1"},
		{"names are nested", `{` + filled + `,"events":[{"object_type":"email","metric":"sent"}]}`, ReasonNoType, "e1"},
		{"space", `{` + filled + `,"event_type":"email sent"}`, ReasonBadType, "e1"},
		{"slash", `{` + filled + `,"object_type":"email","metric":"../sent"}`, ReasonBadType, "e1"},
		{"letters outside ASCII", `{` + filled + `,"metric":"sént"}`, ReasonBadType, "e1"},
		{"NUL", `{` + filled + `,"metric":"se\u0000nt"}`, ReasonBadType, "e1"},
		{"invalid UTF-8", `{` + filled + `,"metric":"sent` + "\xff" + `"}`, ReasonBadType, "e1"},
		{"too long", `{` + filled + `,"metric":"` + strings.Repeat("m", MaxTypeLength+1) + `"}`, ReasonBadType, "e1"},
		{"too long when joined", `{` + filled + `,"object_type":"email","metric":"` + strings.Repeat("m", MaxTypeLength-5) + `"}`, ReasonBadType, "e1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ev, err := Parse([]byte(test.body))
			if got := reasonOf(t, err); got != test.reason {
				t.Errorf("reason = %q (%v), want %q", got, err, test.reason)
			}
			if ev.Type != "" || ev.Rule != "" {
				t.Errorf("Type, Rule = %q, %q in spite of the error", ev.Type, ev.Rule)
			}
			want := Event{ID: test.id}
			if test.id != "" {
				want.DeliveryID, want.Key, want.KeyField = "d1", "c1", KeyCustomerID
			}
			got := Event{ID: ev.ID, DeliveryID: ev.DeliveryID, Key: ev.Key, KeyField: ev.KeyField}
			if got != want {
				t.Errorf("filled %+v, want %+v", got, want)
			}
		})
	}
}

// TestParseErrorKeepsContentsOut: errors are logged, bodies are not.
func TestParseErrorKeepsContentsOut(t *testing.T) {
	const private = "noor@example.net"
	for _, body := range []string{
		`{"metric":"sent","` + private + `":{"x":NaN}}`,
		`{"metric":"sent","data":{"recipient":"` + private + `"},"x":"` + private + `\x"}`,
		`{"metric":"` + private + `"}`,
		`{"metric":"sent"} ` + private,
		private,
		`["` + private + `"]`,
		`{"` + private + `":1}`,
	} {
		_, err := Parse([]byte(body))
		if err == nil {
			t.Errorf("%s: no error", body)
		} else if text := err.Error(); strings.Contains(text, "noor") || strings.Contains(text, "example") || len(text) > 200 {
			t.Errorf("%s: the error tells too much: %s", body, text)
		}
	}
}

func TestParseWhiteSpaceAround(t *testing.T) {
	body := []byte("\r\n\t {\"metric\" : \"sent\" ,\n\"object_type\":\t\"sms\"} \r\n\t\n")
	before := bytes.Clone(body)
	ev, err := Parse(body)
	if err != nil || ev.Type != "sms_sent" {
		t.Errorf("Parse = %q, %v", ev.Type, err)
	}
	if !bytes.Equal(body, before) {
		t.Error("Parse changed the body")
	}
}

// TestParseNestingBomb: what nesting costs is bounded by its limit of 10,000
// levels, not by the size of the body.
func TestParseNestingBomb(t *testing.T) {
	const size = 8 << 20
	fill := func(unit string) string { return strings.Repeat(unit, size/len(unit)) }
	for _, test := range []struct{ name, body string }{
		{"arrays", fill("[")},
		{"objects", fill(`{"a":`)},
		{"data in data", fill(`{"data":`)},
		{"arrays for a name", "{" + fill("[")},
		{"arrays in data", `{"event_id":"e1","metric":"sent","data":{"x":` + fill("[")},
		{"arrays for identifiers", `{"event_id":"e1","metric":"sent","data":{"identifiers":` + fill("[")},
		{"arrays for an ID", `{"event_id":` + fill("[")},
		{"arrays for a hint", `{"data":{"recipients":` + fill("[")},
	} {
		t.Run(test.name, func(t *testing.T) {
			body := []byte(test.body)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Parse(body)
			runtime.ReadMemStats(&after)
			if got := reasonOf(t, err); got != ReasonNotJSON {
				t.Errorf("reason = %q, want %q", got, ReasonNotJSON)
			}
			if heap := after.TotalAlloc - before.TotalAlloc; heap > 2<<20 {
				t.Errorf("took %d bytes of heap", heap)
			}
			if stack := int64(after.StackInuse) - int64(before.StackInuse); stack > 2<<20 {
				t.Errorf("took %d bytes of stack", stack)
			}
		})
	}
	t.Run("deep but legal", func(t *testing.T) {
		deep := strings.Repeat("[", 9990) + strings.Repeat("]", 9990)
		ev, err := Parse([]byte(`{"x":` + deep + `,"data":{"y":` + deep + `},"object_type":"email","metric":"sent"}`))
		if err != nil || ev.Type != "email_sent" {
			t.Errorf("Parse = %q, %v", ev.Type, err)
		}
	})
}
