package curlcmd

import (
	"bytes"
	"strings"
)

// data minds a data flag as curl's manual describes it.
func (l *line) data(flag, value string) error {
	l.hasBody = true
	if flag == "--json" {
		l.json = true
	}
	part := dataPart{joined: flag == "--json"}
	if flag == "--data-urlencode" {
		text, err := l.encoded(value)
		if err != nil {
			return err
		}
		part.sent, part.original = text, text
		l.parts = append(l.parts, part)
		return nil
	}
	part.original = []byte(value)
	name, isFile := strings.CutPrefix(value, "@")
	isFile = isFile && flag != "--data-raw"
	if isFile {
		var err error
		if part.original, err = l.file(name); err != nil {
			return err
		}
	}
	part.sent = part.original
	if isFile && (flag == "--data" || flag == "--data-ascii") {
		part.sent = stripped(part.original)
	}
	l.parts = append(l.parts, part)
	return nil
}

// stripped is what -d leaves of a file: no carriage return, line feed or zero
// byte.
func stripped(data []byte) []byte {
	out := make([]byte, 0, len(data))
	for _, c := range data {
		if c != '\r' && c != '\n' && c != 0 {
			out = append(out, c)
		}
	}
	return out
}

// encoded reads the five forms of --data-urlencode: content, =content,
// name=content, @file and name@file.
func (l *line) encoded(value string) ([]byte, error) {
	at := strings.IndexAny(value, "=@")
	if at < 0 {
		return percent(nil, []byte(value)), nil
	}
	name, content := value[:at], []byte(value[at+1:])
	if value[at] == '@' {
		data, err := l.file(string(content))
		if err != nil {
			return nil, err
		}
		content = data
	}
	var out []byte
	if name != "" {
		out = append(out, name+"="...)
	}
	return percent(out, content), nil
}

// percent appends data with everything escaped but RFC 3986's unreserved
// characters.
func percent(out, data []byte) []byte {
	const digits = "0123456789ABCDEF"
	for _, c := range data {
		if bytes.IndexByte([]byte("-._~"), c) >= 0 || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' {
			out = append(out, c)
		} else {
			out = append(out, '%', digits[c>>4], digits[c&15])
		}
	}
	return out
}
