package curlcmd

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// line reads curl's command line, word by word.
type line struct {
	options Options
	words   []string
	stdin   []byte

	method   string
	urls     []string
	header   http.Header
	removed  []string // headers that curl would send by itself and shall not
	parts    []dataPart
	hasBody  bool
	json     bool
	get      bool
	head     bool
	upload   *string
	ignored  []string
	formFlag string
}

// dataPart is what one data flag gives.
type dataPart struct {
	sent, original []byte
	joined         bool // to the one before by nothing, not by &
}

// read goes through all words.
func (l *line) read() error {
	for len(l.words) > 0 {
		word := l.next()
		var err error
		switch {
		case word == "--":
			l.urls = append(l.urls, l.words...)
			l.words = nil
		case strings.HasPrefix(word, "--"):
			err = l.long(word)
		case strings.HasPrefix(word, "-") && len(word) > 1:
			err = l.short(word)
		default:
			l.urls = append(l.urls, word)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *line) next() string {
	word := l.words[0]
	l.words = l.words[1:]
	return word
}

// long reads --flag and its value, if it has one.
func (l *line) long(flag string) error {
	switch {
	case flag == "--next":
		return fmt.Errorf("--next: %w", ErrSeveral)
	case !takesValue(flag):
		return l.set(flag)
	case len(l.words) == 0:
		return fmt.Errorf("%s: %w", flag, ErrNoValue)
	}
	return l.setValue(flag, l.next())
}

// short reads joined short flags; the first that takes a value has the rest of
// the word for one.
func (l *line) short(word string) error {
	for i := 1; i < len(word); i++ {
		flag := longName(word[i])
		if flag == "" {
			l.ignored = append(l.ignored, "-"+printableByte(word[i]))
			continue
		}
		if !takesValue(flag) {
			if err := l.long(flag); err != nil {
				return err
			}
			continue
		}
		value := word[i+1:]
		if value == "" {
			if len(l.words) == 0 {
				return fmt.Errorf("-%c: %w", word[i], ErrNoValue)
			}
			value = l.next()
		}
		return l.setValue(flag, value)
	}
	return nil
}

func printableByte(c byte) string { return strings.Trim(fmt.Sprintf("%+q", rune(c)), "'") }

// set minds a flag without a value.
func (l *line) set(flag string) error {
	switch flag {
	case "--get":
		l.get = true
	case "--head":
		l.head = true
	default:
		if !harmless(flag) {
			l.ignored = append(l.ignored, flag)
		}
	}
	return nil
}

// setValue minds a flag with its value.
func (l *line) setValue(flag, value string) error {
	switch flag {
	case "--request":
		l.method = value
	case "--url":
		l.urls = append(l.urls, value)
	case "--header":
		return l.addHeaders(value)
	case "--user-agent":
		l.header.Set("User-Agent", value)
	case "--data", "--data-ascii", "--data-raw", "--data-binary", "--data-urlencode", "--json":
		return l.data(flag, value)
	case "--upload-file":
		l.upload = &value
	case "--form", "--form-string":
		l.formFlag = flag
	case "--config":
		l.ignored = append(l.ignored, flag)
	}
	return nil
}

// addHeaders minds -H, which may name a file of headers.
func (l *line) addHeaders(value string) error {
	if name, isFile := strings.CutPrefix(value, "@"); isFile {
		data, err := l.file(name)
		if err != nil {
			return err
		}
		for text := range strings.Lines(string(data)) {
			l.addHeader(strings.TrimRight(text, "\r\n"))
		}
		return nil
	}
	l.addHeader(value)
	return nil
}

// addHeader reads "Name: value", "Name;" (sent without a value) and "Name:" (not
// sent).
func (l *line) addHeader(text string) {
	name, value, found := strings.Cut(text, ":")
	switch value = strings.Trim(value, " \t"); {
	case found && value != "":
		l.header.Add(strings.TrimSpace(name), value)
	case found:
		l.removed = append(l.removed, http.CanonicalHeaderKey(strings.TrimSpace(name)))
	case strings.HasSuffix(text, ";"):
		l.header.Add(strings.TrimSpace(strings.TrimSuffix(text, ";")), "")
	}
}

// file reads a file that a flag names; "-" is standard input.
func (l *line) file(name string) ([]byte, error) {
	if name != "-" {
		return l.options.readFile(name)
	}
	if l.stdin == nil {
		return nil, ErrNoInput
	}
	return l.stdin, nil
}

// request puts together what was read.
func (l *line) request() (*Request, error) {
	if l.formFlag != "" {
		return nil, fmt.Errorf("%s: %w", l.formFlag, ErrUnsupported)
	}
	r := &Request{Method: http.MethodGet, Header: l.header, Ignored: l.ignored}
	if len(l.urls) > 1 {
		return nil, fmt.Errorf("%d URLs: %w", len(l.urls), ErrSeveral)
	}
	if len(l.urls) == 1 {
		r.URL = l.urls[0]
	}
	switch {
	case l.upload != nil:
		body, err := l.file(*l.upload)
		if err != nil {
			return nil, err
		}
		r.Method, r.Body = http.MethodPut, body
	case l.head:
		r.Method = http.MethodHead
	case l.get:
	case l.hasBody:
		r.Method = http.MethodPost
		r.Body, r.Original = l.body()
		l.byItself("Content-Type", "application/x-www-form-urlencoded")
	}
	if l.method != "" {
		r.Method = l.method
	}
	return r, nil
}

// byItself adds what curl sends unless told otherwise.
func (l *line) byItself(name, value string) {
	if l.json {
		value = "application/json"
	}
	if l.header.Get(name) == "" && !slices.Contains(l.removed, name) {
		l.header.Set(name, value)
	}
}

// body joins the parts: as sent, and as it would be if nothing were stripped.
func (l *line) body() (sent, original []byte) {
	var a, b bytes.Buffer
	for i, part := range l.parts {
		if i > 0 && !part.joined {
			a.WriteByte('&')
			b.WriteByte('&')
		}
		a.Write(part.sent)
		b.Write(part.original)
	}
	if bytes.Equal(a.Bytes(), b.Bytes()) {
		return a.Bytes(), nil
	}
	return a.Bytes(), b.Bytes()
}
