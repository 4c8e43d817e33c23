package stream

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

// awkward are bytes that text formats are bad at.
func awkward() map[string][]byte {
	return map[string][]byte{
		"none":                      nil,
		"empty":                     {},
		"plain":                     []byte(`{"event_id":"x"}`),
		"escaped lone surrogate":    []byte(`{"a":"\ud800"}`),
		"encoded lone surrogate":    []byte("\xed\xa0\x80"),
		"NUL":                       []byte("a\x00b"),
		"not UTF-8":                 []byte("a\xff\xfe"),
		"replacement character":     []byte("a\ufffdb"),
		"line separators":           []byte("a\u2028b\u2029c\u0085d\ne\rf"),
		"HTML":                      []byte(`<a href="x">&amp;'</a>`),
		"controls":                  []byte("\x1b[2J\x7f\u009b\b\f\t"),
		"beyond the first plane":    []byte("\U0001f600\U0010ffff"),
		"looks like a record line":  []byte(`{"topic":"t","value":null}`),
		"base64":                    []byte("AAAA"),
		"cut off in a character":    []byte("\xe2\x82"),
		"backslashes and quotation": []byte(`\\"\`),
	}
}

func sampleRecord() Record {
	return Record{
		Topic: "customerio_email_sent", Partition: 3, Offset: 1 << 40, Time: time.UnixMilli(1767225600007).UTC(),
		Key: []byte("42"), Value: []byte(`{"a":"<é>"}`),
		Headers: []Header{{"event-type", []byte("email_sent")}, {"twice", []byte("1")}, {"twice", []byte("2")}, {"none", nil}, {"empty", []byte{}}},
	}
}

func TestLine(t *testing.T) {
	r := sampleRecord()
	r.Headers = append(r.Headers, Header{"raw", []byte{0xff}}, Header{"mixed", []byte("a")}, Header{"mixed", []byte{0xfe}})
	const want = `{"topic":"customerio_email_sent","partition":3,"offset":1099511627776,"time":"2026-01-01T00:00:00.007Z","key":"42",` +
		`"headers":{"event-type":"email_sent","twice":["1","2"],"none":null,"empty":""},"headers_base64":{"raw":"/w==","mixed":["YQ==","/g=="]},` +
		`"value":"{\"a\":\"<é>\"}"}`
	got := AppendLine([]byte("before "), &r)
	if string(got) != "before "+want {
		t.Fatalf("got\n%s\nwant\nbefore %s", got, want)
	}
	back, err := ParseLine(append([]byte(want), '\n'))
	if err != nil || !reflect.DeepEqual(back, r) {
		t.Errorf("back\n%+v, error %v, want\n%+v", back, err, r)
	}
	if got := r.Header("twice") + r.Header("missing"); got != "2" {
		t.Errorf("Header gives %q", got)
	}
}

func TestLineKeepsEveryByte(t *testing.T) {
	for name, b := range awkward() {
		t.Run(name, func(t *testing.T) {
			checkLine(t, Record{Topic: "t", Time: time.UnixMilli(0).UTC(), Key: b, Value: b, Headers: []Header{{"h", b}}})
		})
	}
}

// checkLine checks that a record comes back, that others than us can read the line, and that it is one.
func checkLine(t *testing.T, r Record) {
	t.Helper()
	line := AppendLine(nil, &r)
	if !utf8.Valid(line) || bytes.ContainsFunc(line, func(r rune) bool { return unicode.IsControl(r) || r == 0x2028 || r == 0x2029 }) {
		t.Errorf("not one line: %q", line)
	}
	back, err := ParseLine(line)
	if err != nil || !reflect.DeepEqual(back, r) {
		t.Errorf("%s\nbecomes %+v, error %v, want %+v", line, back, err, r)
	}
	var other struct {
		Value  *string
		Base64 []byte `json:"value_base64"`
	}
	if err := json.Unmarshal(line, &other); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	value := other.Base64
	if other.Value != nil {
		value = []byte(*other.Value)
	}
	if !bytes.Equal(value, r.Value) {
		t.Errorf("%s: another reader finds %q, want %q", line, value, r.Value)
	}
}

func FuzzLine(f *testing.F) {
	for _, b := range awkward() {
		f.Add("t", b, "h", b, b, int64(1767225600007))
	}
	f.Fuzz(func(t *testing.T, topic string, key []byte, name string, header, value []byte, ms int64) {
		if !utf8.ValidString(topic) || !utf8.ValidString(name) { // topics are ASCII; names become valid
			return
		}
		r := Record{Topic: topic, Key: key, Value: value, Time: writable(time.UnixMilli(ms)), Headers: []Header{{name, header}, {name, nil}}}
		checkLine(t, r)
	})
}

// FuzzParseLine: what is taken for a record line is one that can be written again.
func FuzzParseLine(f *testing.F) {
	r := sampleRecord()
	f.Add(AppendLine(nil, &r))
	f.Add([]byte(`{"topic":"t","partition":0,"offset":0,"time":"2026-01-01T00:00:00+01:00","value_base64":null}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := ParseLine(line)
		if err != nil {
			if !errors.Is(err, ErrLine) {
				t.Errorf("%v isn't ErrLine", err)
			}
			return
		}
		again, err := ParseLine(AppendLine(nil, &r))
		if err != nil || !bytes.Equal(again.Value, r.Value) || !bytes.Equal(again.Key, r.Key) {
			t.Errorf("%q becomes %+v, error %v", line, again, err)
		}
	})
}

func TestNoLine(t *testing.T) {
	whole := `{"topic":"t","partition":0,"offset":0,"time":"2026-01-01T00:00:00Z","value":"x"}`
	if _, err := ParseLine([]byte(whole)); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ from, to, want string }{
		{whole, ``, "EOF"},
		{whole, `{}`, "no topic"},
		{whole, whole + whole, "after top-level value"},
		{`"partition":0,`, ``, "no partition"},
		{`"offset":0,`, ``, "no offset"},
		{`"value":"x"`, `"value_":"x"`, "no value"},
		{`"time":"2026-01-01T00:00:00Z",`, ``, "no time"},
		{`2026-01-01T00:00:00Z`, `yesterday`, "time: "},
		{`"value":"x"`, `"value":"x","value_base64":"eA=="`, "both value and value_base64"},
		{`"value":"x"`, `"value":1`, "value: "},
		{`"value":"x"`, `"value":"\ud800"`, "surrogate"},
		{`"value":"x"`, `"value_base64":"!"`, "value_base64: "},
		{`"value":"x"`, `"value":"x","value":"y"`, "duplicate"},
		{`"value":"x"`, `"value":"x","headers":[]`, "headers: want an object"},
		{`"value":"x"`, `"value":"x","headers":{"a":1}`, "headers: "},
	} {
		line := strings.Replace(whole, test.from, test.to, 1)
		if _, err := ParseLine([]byte(line)); !errors.Is(err, ErrLine) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %s", line, err, test.want)
		}
	}
}

// slowQuoted is appendQuoted a rune at a time.
func slowQuoted(b, s []byte) []byte {
	b = append(b, '"')
	for _, r := range string(s) {
		b = appendRune(b, r)
	}
	return append(b, '"')
}

// FuzzQuoted: looking at eight bytes together finds what looking at each does.
func FuzzQuoted(f *testing.F) {
	for _, b := range awkward() {
		f.Add(b)
		f.Add(append([]byte("1234567"), b...))
	}
	f.Fuzz(func(t *testing.T, s []byte) {
		if !utf8.Valid(s) {
			return
		}
		want := slowQuoted(nil, s)
		if got := appendQuoted(nil, s); !bytes.Equal(got, want) {
			t.Errorf("%q: %s, want %s", s, got, want)
		}
		if got := appendString(nil, string(s)); !bytes.Equal(got, want) {
			t.Errorf("%q: %s, want %s", s, got, want)
		}
	})
}

func TestQuotedEveryByteEverywhere(t *testing.T) {
	for c := range rune(0x3000) {
		for at := range 18 {
			s := []byte(strings.Repeat("x", at) + string(c) + strings.Repeat("y", 17-at))
			if got, want := appendQuoted(nil, s), slowQuoted(nil, s); !bytes.Equal(got, want) {
				t.Fatalf("%U at %d: %s, want %s", c, at, got, want)
			}
		}
	}
}

func BenchmarkAppendLine(b *testing.B) {
	r := sampleRecord()
	r.Value = []byte(`{"event_id":"01JZW2BAW2MQMJTYF000000001","object_type":"email","metric":"sent","timestamp":1767225600,"data":{"delivery_id":"dgOE2gEAAZ00000001","identifiers":{"id":"42"},"subject":"` + strings.Repeat("x", 300) + `"}}`)
	r.Headers = nil
	for _, name := range []string{"event-type", "ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time", "ce_subject", "content-type", "sluice-key", "X-CIO-Timestamp", "X-CIO-Signature"} {
		r.Headers = append(r.Headers, Header{name, []byte("01JZW2BAW2MQMJTYF000000001")})
	}
	var line []byte
	for b.Loop() {
		line = AppendLine(line[:0], &r)
	}
	b.SetBytes(int64(len(line)))
}

func TestAppendTime(t *testing.T) {
	for _, ms := range []int64{0, -1, 1, 999, 1767225600007, -62167219200000, 253402300799999, 951782399999} {
		at := time.UnixMilli(ms)
		if got, want := string(appendTime(nil, at)), at.UTC().Format("2006-01-02T15:04:05.000Z07:00"); got != want {
			t.Errorf("%d: %s, want %s", ms, got, want)
		}
	}
	for _, beyond := range []int64{-1 << 62, 1 << 62} {
		if got := appendTime(nil, time.UnixMilli(beyond)); len(got) != len("2006-01-02T15:04:05.000Z") {
			t.Errorf("%d: %s", beyond, got)
		}
	}
}
