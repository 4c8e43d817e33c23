package stream

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// AppendLine appends a record line without a line break:
//
//	{"topic":"t","partition":0,"offset":7,"time":"2026-01-02T15:04:05.000Z","key":"42","headers":{"event-type":"email_sent"},"value":"{}"}
//
// The value is the record's, as a JSON string. What isn't UTF-8 is in base64: key_base64 and value_base64 take the place
// of key and value, and such headers stand in headers_base64. A header whose name repeats has a list of values. null is
// no key, no value or no header value. Only a header's name that isn't UTF-8 doesn't come back as it was: its bad bytes
// become U+FFFD.
//
// The line has no control characters, also none that only some terminals and readers take for one.
func AppendLine(b []byte, r *Record) []byte {
	b = append(b, `{"topic":`...)
	b = appendString(b, r.Topic)
	b = append(b, `,"partition":`...)
	b = strconv.AppendInt(b, int64(r.Partition), 10)
	b = append(b, `,"offset":`...)
	b = strconv.AppendInt(b, r.Offset, 10)
	b = append(b, `,"time":"`...)
	b = appendTime(b, r.Time)
	b = append(b, '"')
	b = appendBytes(b, "key", r.Key)
	b = appendHeaders(b, r.Headers)
	b = appendBytes(b, "value", r.Value)
	return append(b, '}')
}

// appendTime appends RFC 3339 to the millisecond, which is what Kafka keeps.
func appendTime(b []byte, t time.Time) []byte {
	t = writable(t)
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	b = appendDigits(b, year, 4, '-')
	b = appendDigits(b, int(month), 2, '-')
	b = appendDigits(b, day, 2, 'T')
	b = appendDigits(b, hour, 2, ':')
	b = appendDigits(b, minute, 2, ':')
	b = appendDigits(b, second, 2, '.')
	return appendDigits(b, t.Nanosecond()/int(time.Millisecond), 3, 'Z')
}

// appendDigits appends so many digits of n, and what follows them.
func appendDigits(b []byte, n, digits int, then byte) []byte {
	b = append(b, "0000"[:digits]...)
	for i := len(b) - 1; n > 0; i-- {
		b[i] += byte(n % 10)
		n /= 10
	}
	return append(b, then)
}

// writable is the nearest time to t that RFC 3339 has: a producer may have written any.
func writable(t time.Time) time.Time {
	t = t.UTC()
	switch {
	case t.Year() < 0:
		return time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	case t.Year() > 9999:
		return time.Date(9999, 12, 31, 23, 59, 59, int(999*time.Millisecond), time.UTC)
	}
	return t
}

func appendBytes(b []byte, name string, value []byte) []byte {
	b = append(b, `,"`...)
	b = append(b, name...)
	if !utf8.Valid(value) {
		b = append(b, `_base64":`...)
		return appendBase64(b, value)
	}
	b = append(b, `":`...)
	return appendText(b, value)
}

// appendHeaders groups headers by name, those first that are text.
func appendHeaders(b []byte, headers []Header) []byte {
	if simple(headers) {
		b = append(b, `,"headers":{`...)
		for i, h := range headers {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendString(b, h.Key), ':')
			b = appendText(b, h.Value)
		}
		return append(b, '}')
	}
	raw := make(map[string]bool)
	for _, h := range headers {
		name := validName(h.Key)
		raw[name] = raw[name] || !utf8.Valid(h.Value)
	}
	b = append(b, `,"headers":`...)
	b = appendGroups(b, headers, func(name string) bool { return !raw[name] }, appendText)
	for _, found := range raw {
		if found {
			b = append(b, `,"headers_base64":`...)
			return appendGroups(b, headers, func(name string) bool { return raw[name] }, appendBase64)
		}
	}
	return b
}

// simple reports whether headers are as nearly all are: text, and each with another name.
func simple(headers []Header) bool {
	if len(headers) > 32 {
		return false // it is quadratic
	}
	for i := range headers {
		h := &headers[i]
		if !utf8.ValidString(h.Key) || !utf8.Valid(h.Value) {
			return false
		}
		for j := range i {
			if headers[j].Key == h.Key {
				return false
			}
		}
	}
	return true
}

func appendGroups(b []byte, headers []Header, wanted func(string) bool, appendValue func(b, v []byte) []byte) []byte {
	values := make(map[string][][]byte, len(headers))
	var names []string
	for _, h := range headers {
		name := validName(h.Key)
		if !wanted(name) {
			continue
		}
		if _, seen := values[name]; !seen {
			names = append(names, name)
		}
		values[name] = append(values[name], h.Value)
	}
	b = append(b, '{')
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, name), ':')
		if len(values[name]) == 1 {
			b = appendValue(b, values[name][0])
			continue
		}
		for j, v := range values[name] {
			b = append(b, "[,"[min(j, 1)])
			b = appendValue(b, v)
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

func validName(name string) string { return string([]rune(name)) }

func appendText(b, v []byte) []byte {
	if v == nil {
		return append(b, "null"...)
	}
	return appendQuoted(b, v)
}

func appendBase64(b, v []byte) []byte {
	if v == nil {
		return append(b, "null"...)
	}
	b = append(b, '"')
	b = base64.StdEncoding.AppendEncode(b, v)
	return append(b, '"')
}

// appendString is appendQuoted for a string. What needs no escape, as nearly all names, is copied once.
func appendString(b []byte, s string) []byte {
	begin := len(b)
	b = append(append(b, '"'), s...)
	if special(b[begin+1:]) == len(s) {
		return append(b, '"')
	}
	return appendQuoted(b[:begin], []byte(validName(s)))
}

// appendQuoted appends valid UTF-8 as a JSON string. Besides what JSON asks for it escapes DEL, the C1 controls and the
// line separators U+2028 and U+2029, and nothing that is only special in HTML.
func appendQuoted(b, s []byte) []byte {
	b = append(b, '"')
	for {
		n := special(s)
		b = append(b, s[:n]...)
		if s = s[n:]; len(s) == 0 {
			return append(b, '"')
		}
		r, size := rune(s[0]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRune(s)
		}
		b = appendRune(b, r)
		s = s[size:]
	}
}

func appendRune(b []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	switch {
	case r == '"' || r == '\\':
		return append(b, '\\', byte(r))
	case r == '\n':
		return append(b, '\\', 'n')
	case r == '\r':
		return append(b, '\\', 'r')
	case r == '\t':
		return append(b, '\\', 't')
	case r < 0x20 || (0x7f <= r && r < 0xa0) || r == 0x2028 || r == 0x2029:
		return append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
	}
	return utf8.AppendRune(b, r)
}

// special is the index of the first byte that can't simply be copied into a JSON string, or the length: a control
// character, a quotation mark, a backslash, DEL, or one beyond ASCII, which appendRune knows more of. Eight bytes are
// looked at together: of a word x, (x-n)&^x has the highest bit set of the first byte that is less than n, and perhaps
// of later ones.
func special(s []byte) int {
	const ones, highest = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; len(s)-i >= 8; i += 8 {
		x := binary.LittleEndian.Uint64(s[i:])
		quote, backslash, del := x^ones*'"', x^ones*'\\', x^ones*0x7f
		found := (x | (x-ones*0x20)&^x | (quote-ones)&^quote | (backslash-ones)&^backslash | (del-ones)&^del) & highest
		if found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for ; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			break
		}
	}
	return i
}

// ErrLine is wrapped by every error of [ParseLine].
var ErrLine = errors.New("not a record line")

// lineJSON is a record line. A nil jsontext.Value is a member that isn't there, which isn't null.
type lineJSON struct {
	Topic         *string        `json:"topic"`
	Partition     *int           `json:"partition"`
	Offset        *int64         `json:"offset"`
	Time          *string        `json:"time"`
	Key           jsontext.Value `json:"key"`
	KeyBase64     jsontext.Value `json:"key_base64"`
	Headers       jsontext.Value `json:"headers"`
	HeadersBase64 jsontext.Value `json:"headers_base64"`
	Value         jsontext.Value `json:"value"`
	ValueBase64   jsontext.Value `json:"value_base64"`
}

// ParseLine reads what [AppendLine] writes, with or without a line break behind it. Members may stand in any order and
// unknown ones are passed over; key and headers may be absent. Headers come back grouped by name. The errors wrap
// [ErrLine] and say what is wrong.
func ParseLine(line []byte) (Record, error) {
	var in lineJSON
	if err := json.Unmarshal(line, &in); err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrLine, err)
	}
	r, err := in.record()
	if err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrLine, err)
	}
	return r, nil
}

func (in *lineJSON) record() (r Record, err error) {
	switch {
	case in.Topic == nil:
		return r, errors.New("it has no topic")
	case in.Partition == nil:
		return r, errors.New("it has no partition")
	case in.Offset == nil:
		return r, errors.New("it has no offset")
	case in.Time == nil:
		return r, errors.New("it has no time")
	case in.Value == nil && in.ValueBase64 == nil:
		return r, errors.New("it has no value")
	}
	r.Topic, r.Partition, r.Offset = *in.Topic, *in.Partition, *in.Offset
	at, err := time.Parse(time.RFC3339Nano, *in.Time)
	if err != nil {
		return r, fmt.Errorf("time: %w", err)
	}
	r.Time = at.UTC().Truncate(time.Millisecond)
	if r.Key, err = eitherBytes("key", in.Key, in.KeyBase64); err != nil {
		return r, err
	}
	if r.Value, err = eitherBytes("value", in.Value, in.ValueBase64); err != nil {
		return r, err
	}
	if r.Headers, err = parseHeaders(r.Headers, in.Headers, textOf); err != nil {
		return r, fmt.Errorf("headers: %w", err)
	}
	if r.Headers, err = parseHeaders(r.Headers, in.HeadersBase64, base64Of); err != nil {
		return r, fmt.Errorf("headers_base64: %w", err)
	}
	return r, nil
}

func eitherBytes(name string, text, encoded jsontext.Value) (v []byte, err error) {
	switch {
	case text != nil && encoded != nil:
		return nil, fmt.Errorf("it has both %s and %s_base64", name, name)
	case encoded != nil:
		if v, err = base64Of(encoded); err != nil {
			return nil, fmt.Errorf("%s_base64: %w", name, err)
		}
	case text != nil:
		if v, err = textOf(text); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return v, nil
}

func textOf(value jsontext.Value) ([]byte, error) {
	var s *string
	if err := json.Unmarshal(value, &s); err != nil || s == nil {
		return nil, err
	}
	return []byte(*s), nil
}

func base64Of(value jsontext.Value) ([]byte, error) {
	text, err := textOf(value)
	if err != nil || text == nil {
		return nil, err
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(out, text)
	return out[:n], err
}

// parseHeaders appends the headers of an object in its order.
func parseHeaders(headers []Header, object jsontext.Value, decode func(jsontext.Value) ([]byte, error)) ([]Header, error) {
	if object == nil {
		return headers, nil
	}
	if object.Kind() != '{' {
		return nil, errors.New("want an object")
	}
	var members orderedObject
	if err := json.Unmarshal(object, &members); err != nil {
		return nil, err
	}
	for _, m := range members {
		values := []jsontext.Value{m.value}
		if m.value.Kind() == '[' {
			if err := json.Unmarshal(m.value, &values); err != nil {
				return nil, err
			}
		}
		for _, value := range values {
			v, err := decode(value)
			if err != nil {
				return nil, err
			}
			headers = append(headers, Header{Key: m.name, Value: v})
		}
	}
	return headers, nil
}

// orderedObject is a JSON object whose members keep their order.
type orderedObject []member

type member struct {
	name  string
	value jsontext.Value
}

// UnmarshalJSONFrom reads one object.
func (o *orderedObject) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return err
		}
		m := member{name: name.String()}
		value, err := d.ReadValue()
		if err != nil {
			return err
		}
		m.value = value.Clone()
		*o = append(*o, m)
	}
	_, err := d.ReadToken()
	return err
}
