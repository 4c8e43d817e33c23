package testenv

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// kcatParser reads one object of kcat's -J output. That is JSON but for one thing, which makes it byte-exact and
// encoding/json useless: strings hold the record's bytes. Only bytes below 0x20, the quote and the backslash are
// escaped, and bytes from 0x80 on stand as they are, valid UTF-8 or not.
type kcatParser struct {
	rest []byte
}

var (
	errKcatEnd  = errors.New("the line ends too early")
	errKcatForm = errors.New("not the form that kcat writes")
)

// record reads the whole line.
func (p *kcatParser) record() (Record, error) {
	var r Record
	if err := p.expect('{'); err != nil {
		return r, err
	}
	for {
		name, err := p.text()
		if err != nil {
			return r, err
		}
		if err := p.expect(':'); err != nil {
			return r, err
		}
		if err := p.field(&r, string(name)); err != nil {
			return r, fmt.Errorf("field %s: %w", name, err)
		}
		if p.next() == ',' {
			p.rest = p.rest[1:]
			continue
		}
		return r, p.expect('}')
	}
}

// field reads the value of one field into r.
func (p *kcatParser) field(r *Record, name string) (err error) {
	switch name {
	case "topic":
		var topic []byte
		topic, err = p.text()
		r.Topic = string(topic)
	case "partition":
		var n int64
		n, err = p.number()
		r.Partition = int32(n)
	case "offset":
		r.Offset, err = p.number()
	case "ts":
		var ms int64
		ms, err = p.number()
		r.Time = time.UnixMilli(ms)
	case "broker":
		_, err = p.number()
	case "tstype":
		_, err = p.text()
	case "key":
		r.Key, err = p.text()
	case "payload":
		r.Value, err = p.text()
	case "headers":
		r.Headers, err = p.headers()
	default:
		err = errKcatForm
	}
	return err
}

// headers reads a list of name and value by turns.
func (p *kcatParser) headers() ([]Header, error) {
	if err := p.expect('['); err != nil {
		return nil, err
	}
	var headers []Header
	for {
		name, err := p.text()
		if err != nil {
			return nil, err
		}
		if err := p.expect(','); err != nil {
			return nil, err
		}
		value, err := p.text()
		if err != nil {
			return nil, err
		}
		headers = append(headers, Header{Name: string(name), Value: value})
		if p.next() == ',' {
			p.rest = p.rest[1:]
			continue
		}
		return headers, p.expect(']')
	}
}

// next is the byte to come, 0 at the end.
func (p *kcatParser) next() byte {
	if len(p.rest) == 0 {
		return 0
	}
	return p.rest[0]
}

// expect steps over c.
func (p *kcatParser) expect(c byte) error {
	switch p.next() {
	case c:
		p.rest = p.rest[1:]
		return nil
	case 0:
		return errKcatEnd
	default:
		return fmt.Errorf("%w: %q where %q should stand", errKcatForm, p.next(), c)
	}
}

// number reads an integer.
func (p *kcatParser) number() (int64, error) {
	i := 0
	for i < len(p.rest) && (p.rest[i] == '-' || p.rest[i] >= '0' && p.rest[i] <= '9') {
		i++
	}
	n, err := strconv.ParseInt(string(p.rest[:i]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errKcatForm, err)
	}
	p.rest = p.rest[i:]
	return n, nil
}

// text reads a string's bytes, or null as nil.
func (p *kcatParser) text() ([]byte, error) {
	const null = "null"
	if len(p.rest) >= len(null) && string(p.rest[:len(null)]) == null {
		p.rest = p.rest[len(null):]
		return nil, nil
	}
	if err := p.expect('"'); err != nil {
		return nil, err
	}
	out := []byte{}
	for len(p.rest) > 0 {
		c := p.rest[0]
		p.rest = p.rest[1:]
		switch c {
		case '"':
			return out, nil
		case '\\':
			b, err := p.escape()
			if err != nil {
				return nil, err
			}
			out = append(out, b)
		default:
			out = append(out, c)
		}
	}
	return nil, errKcatEnd
}

// escape reads what follows a backslash: one byte of the record.
func (p *kcatParser) escape() (byte, error) {
	c := p.next()
	if c == 0 {
		return 0, errKcatEnd
	}
	p.rest = p.rest[1:]
	switch c {
	case '"', '\\', '/':
		return c, nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'u':
		if len(p.rest) < 4 {
			return 0, errKcatEnd
		}
		n, err := strconv.ParseUint(string(p.rest[:4]), 16, 8)
		if err != nil {
			return 0, fmt.Errorf("%w: escape \\u%s: %w", errKcatForm, p.rest[:4], err)
		}
		p.rest = p.rest[4:]
		return byte(n), nil
	default:
		return 0, fmt.Errorf("%w: escape \\%c", errKcatForm, c)
	}
}
