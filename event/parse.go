package event

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Parse reads the envelope of one webhook body in a single pass, without
// building a tree of it: memory does not grow with the body, except by the few
// fields that Event holds. The body is neither changed nor kept.
//
// The whole body must be one JSON object. Names match by exact case, and of
// repeated names the last wins, with all that its value holds. Invalid UTF-8 is
// no error: it is common in what people type, and nothing here depends on it.
//
// The error is nil or a [*ParseError]. Event is filled either way, as far as the
// body could be read; with an error only Type and Rule are sure to be empty.
func Parse(body []byte) (Event, error) {
	var env envelope
	return env.event(body)
}

// event is Parse, and leaves in e what it has found.
func (e *envelope) event(body []byte) (Event, error) {
	reason, err := e.read(body)

	names := string(e.objectType.text) + "_" + string(e.metric.text) // three strings in one: the type is most often that
	ev := Event{
		ID:         e.id.exact(),
		ObjectType: names[:len(e.objectType.text)],
		Metric:     names[len(e.objectType.text)+1:],
		Time:       e.time,
		DeliveryID: string(e.data.deliveryID),
	}
	ev.Key, ev.KeyField = e.data.key()
	if err != nil {
		return ev, &ParseError{Reason: reason, Err: err}
	}
	name, rule := e.name(names, ev.Metric)
	if name == "" {
		return ev, &ParseError{Reason: ReasonNoType, Err: errNoType}
	}
	if err := checkType(name); err != nil {
		return ev, &ParseError{Reason: ReasonBadType, Err: err}
	}
	ev.Type, ev.Rule = name, rule
	return ev, nil
}

// decoder is a reader and what it reads from.
type decoder struct {
	reader
	from bytes.Buffer
}

//nolint:gochecknoglobals // spares each body the making of a decoder; nobody sees its state
var decoders = sync.Pool{New: func() any { return new(decoder) }}

// open begins with a body, which is read in place, without copying or writing.
func (d *decoder) open(body []byte) *reader {
	d.body, d.from = body, *bytes.NewBuffer(body)
	d.Reset(&d.from, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	return &d.reader
}

// free forgets the body.
func (d *decoder) free() {
	d.body, d.from = nil, bytes.Buffer{}
	d.Reset(&d.from)
	decoders.Put(d)
}

// envelope is what of a body matters here, as found. Its texts are parts of the body where they can be: most of them never
// become strings.
type envelope struct {
	id, objectType, metric, eventType str

	time time.Time
	data payload

	dataFrom, dataTo int64 // where data is in the body, from the end of its name on; both 0 if it isn't there whole
}

// payload is what of the data object matters. Identifiers are texts or digits.
type payload struct {
	personID, customerID, cioID, deliveryID []byte

	hints hints
}

// str is a JSON string, or nothing.
type str struct {
	text  []byte
	lossy bool // characters of text stand for bytes that are not Unicode
}

// exact returns the string if it is told apart from every other one.
func (s str) exact() string {
	if s.lossy {
		return ""
	}
	return string(s.text)
}

// read fills e from body. With an error e holds what came before it.
func (e *envelope) read(body []byte) (Reason, error) {
	d := decoders.Get().(*decoder)
	defer d.free()
	r := d.open(body)

	isObject := r.PeekKind() == jsontext.KindBeginObject
	var err error
	if isObject {
		err = r.object(func(name []byte) error { return e.field(r, name) })
	} else {
		err = r.SkipValue()
	}
	if err == nil {
		err = r.end()
	}
	switch {
	case err != nil:
		return ReasonNotJSON, describe(err)
	case !isObject:
		return ReasonNotObject, errNotObject
	}
	return "", nil
}

// Every case of the three methods below overwrites its field whatever value it
// meets: that is what makes the last of repeated names win.

func (e *envelope) field(r *reader, name []byte) (err error) {
	switch string(name) {
	case "event_id":
		e.id, err = r.str()
	case "object_type":
		e.objectType, err = r.str()
	case "metric":
		e.metric, err = r.str()
	case "event_type":
		e.eventType, err = r.str()
	case "timestamp":
		var text []byte
		text, err = r.text()
		e.time = unixTime(string(text))
	case "data":
		e.data, e.dataFrom, e.dataTo = payload{}, 0, 0
		from := r.InputOffset()
		if err = r.objectOrSkip(func(name []byte) error { return e.data.field(r, name) }); err == nil {
			e.dataFrom, e.dataTo = from, r.InputOffset()
		}
	default:
		err = r.SkipValue()
	}
	return err
}

func (p *payload) field(r *reader, name []byte) (err error) {
	switch string(name) {
	case "identifiers":
		p.personID, p.cioID = nil, nil
		err = r.objectOrSkip(func(name []byte) error { return p.identifier(r, name) })
	case "customer_id":
		p.customerID, err = r.text()
	case "delivery_id":
		p.deliveryID, err = r.text()
	case "recipient":
		var s str
		s, err = r.str()
		p.hints.set(hintRecipient, bytes.IndexByte(s.text, '@') >= 0)
	default:
		hint := hintOf(name)
		if hint == 0 {
			return r.SkipValue()
		}
		var present bool
		present, err = r.present()
		p.hints.set(hint, present)
	}
	return err
}

func (p *payload) identifier(r *reader, name []byte) (err error) {
	switch string(name) {
	case "id":
		p.personID, err = r.text()
	case "cio_id":
		p.cioID, err = r.text()
	default:
		err = r.SkipValue()
	}
	return err
}

// unixTime reads a number of seconds since 1970, and the zero Time from text
// that is no number, or one below 1 or beyond the year 9999.
func unixTime(text string) time.Time {
	// ParseFloat also knows words and hexadecimal, which are no JSON.
	if strings.Trim(text, "+-.0123456789eE") != "" {
		return time.Time{}
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || seconds < 1 || seconds > lastSecond {
		return time.Time{}
	}
	// A float64 of today's seconds is good to a quarter of a microsecond.
	whole, part := math.Modf(seconds)
	return time.Unix(int64(whole), int64(math.Round(part*1e6))*1e3).UTC()
}

// lastSecond is 9999-12-31T23:59:59Z, the last that RFC 3339 can write.
const lastSecond = 253402300799

var (
	errNotObject = errors.New("the body is not an object")
	errNoType    = errors.New("neither metric nor event_type is a non-empty string")
)

// describe drops the path from the decoder's error: it consists of names out of
// the body, of any length, which belong in no log.
func describe(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("the body is empty")
	}
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return fmt.Errorf("at byte %d: %w", syntax.ByteOffset, syntax.Err)
	}
	return err
}

// reader adds to a decoder of body the lenient reads of an envelope. Each consumes
// exactly one value; its error is always the decoder's, never one of type.
type reader struct {
	jsontext.Decoder
	body []byte
}

// value reads the next value and returns its bytes in the body.
func (r *reader) value() ([]byte, error) {
	v, err := r.ReadValue() // valid until the next read
	end := int(r.InputOffset())
	return r.body[end-len(v) : end], err
}

// object reads the object that comes next, calling field for each member with
// the name's text. field must consume the value; name is valid until then.
func (r *reader) object(field func(name []byte) error) error {
	if _, err := r.ReadToken(); err != nil {
		return err
	}
	for r.PeekKind() == jsontext.KindString {
		quoted, err := r.ReadValue()
		if err != nil {
			return err
		}
		name := []byte(quoted[1 : len(quoted)-1])
		if bytes.IndexByte(name, '\\') >= 0 {
			// The only error is of broken Unicode, and such a name is none of ours.
			name, _ = jsontext.AppendUnquote(nil, quoted)
		}
		if err := field(name); err != nil {
			return err
		}
	}
	// The end of the object, or of the input, or what may not stand for a name:
	// the decoder knows which.
	_, err := r.ReadToken()
	return err
}

// objectOrSkip is object for a value that may be of another type.
func (r *reader) objectOrSkip(field func(name []byte) error) error {
	if r.PeekKind() != jsontext.KindBeginObject {
		return r.SkipValue()
	}
	return r.object(field)
}

// str reads a string, or nothing from a value of another type.
func (r *reader) str() (str, error) {
	if r.PeekKind() != jsontext.KindString {
		return str{}, r.SkipValue()
	}
	quoted, err := r.value()
	if err != nil {
		return str{}, err
	}
	if bytes.IndexByte(quoted, '\\') < 0 && utf8.Valid(quoted) {
		return str{text: quoted[1 : len(quoted)-1]}, nil
	}
	text, err := jsontext.AppendUnquote(nil, quoted)
	return str{text: text, lossy: err != nil}, nil
}

// text reads a string, or the digits of a number as they were written, or nothing
// from any other value.
func (r *reader) text() ([]byte, error) {
	if r.PeekKind() == jsontext.KindNumber {
		return r.value()
	}
	s, err := r.str()
	return s.text, err
}

// present reads a value and tells whether there is something to it: null and
// "" are how senders write a field that they do not have.
func (r *reader) present() (bool, error) {
	switch r.PeekKind() {
	case jsontext.KindNull:
		return false, r.SkipValue()
	case jsontext.KindString:
		quoted, err := r.ReadValue()
		return len(quoted) > len(`""`), err
	default:
		return true, r.SkipValue()
	}
}

// end checks that nothing but white space is left.
func (r *reader) end() error {
	switch _, err := r.ReadToken(); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	default:
		return fmt.Errorf("at byte %d: more follows the value", r.InputOffset())
	}
}
