package signature

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// layout is where white space stands in JSON.
type layout int

const (
	layoutKept    layout = iota // as received
	layoutCompact               // none
	layoutSpaced                // one space after each colon and comma
	layoutTwo                   // a line each, indented by two spaces
	layoutFour
	layoutTab
)

func (l layout) indent() string {
	switch l {
	case layoutTwo:
		return "  "
	case layoutFour:
		return "    "
	case layoutTab:
		return "\t"
	}
	return ""
}

// form is one program's way of writing JSON.
type form struct {
	layout  layout
	escapes escapes
	sorted  bool
}

// weight is how far-fetched the form is: each of layout, escapes and order
// that isn't as received counts, but escapes come with a layout in most
// encoders.
func (f form) weight() int {
	weight := 1
	if f.sorted && f.layout != layoutCompact || f.sorted && f.escapes != escapesKept {
		weight++
	}
	if f.layout > layoutSpaced && f.escapes != escapesKept {
		weight++
	}
	return weight
}

// jsonForms lists the forms to try, light ones first.
func jsonForms() []form {
	var all []form
	for _, sorted := range []bool{false, true} {
		for l := layoutKept; l <= layoutTab; l++ {
			for _, e := range allEscapes() {
				if l == layoutKept && (e == escapesKept || sorted) {
					continue
				}
				all = append(all, form{l, e, sorted})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b form) int { return a.weight() - b.weight() })
	return all
}

// node is a JSON value: a scalar's text, or an array's or object's members.
type node struct {
	text  []byte // of a scalar; else "[" or "{"
	names [][]byte
	kids  []*node
}

// readTree reads JSON that is known to be valid.
func readTree(text []byte) *node {
	s := &scanner{text: text}
	return s.value()
}

type scanner struct {
	text []byte
	at   int
}

func (s *scanner) space() {
	for s.at < len(s.text) && strings.IndexByte(" \t\r\n", s.text[s.at]) >= 0 {
		s.at++
	}
}

func (s *scanner) value() *node {
	s.space()
	switch s.text[s.at] {
	case '{', '[':
		return s.members()
	case '"':
		return &node{text: s.str()}
	}
	from := s.at
	for s.at < len(s.text) && strings.IndexByte(" \t\r\n,]}", s.text[s.at]) < 0 {
		s.at++
	}
	return &node{text: s.text[from:s.at]}
}

func (s *scanner) members() *node {
	n := &node{text: s.text[s.at : s.at+1]}
	s.at++
	for {
		s.space()
		switch s.text[s.at] {
		case '}', ']':
			s.at++
			return n
		case ',':
			s.at++
			s.space()
		}
		if n.text[0] == '{' {
			n.names = append(n.names, s.str())
			s.space()
			s.at++ // the colon
		}
		n.kids = append(n.kids, s.value())
	}
}

// str reads a string with its quotes.
func (s *scanner) str() []byte {
	from := s.at
	s.at = stringEnd(s.text, s.at)
	return s.text[from:s.at]
}

// stringEnd is the place after the string that begins at from.
func stringEnd(text []byte, from int) int {
	at := from + 1
	for text[at] != '"' {
		if text[at] == '\\' {
			at++
		}
		at++
	}
	return at + 1
}

// sort puts names in order, and of repeated ones keeps the last, as encoders
// of maps do.
func (n *node) sort() {
	for _, kid := range n.kids {
		kid.sort()
	}
	if n.text[0] != '{' {
		return
	}
	type member struct {
		name string
		raw  []byte
		kid  *node
	}
	last := make(map[string]member, len(n.kids))
	for i, raw := range n.names {
		var name string
		if json.Unmarshal(raw, &name) != nil {
			name = string(raw)
		}
		last[name] = member{name, raw, n.kids[i]}
	}
	order := make([]member, 0, len(last))
	for _, m := range last {
		order = append(order, m)
	}
	slices.SortFunc(order, func(a, b member) int { return strings.Compare(a.name, b.name) })
	n.names, n.kids = n.names[:0], n.kids[:0]
	for _, m := range order {
		n.names, n.kids = append(n.names, m.raw), append(n.kids, m.kid)
	}
}

func (n *node) write(f form) []byte {
	w := &treeWriter{form: f, comma: ",", colon: ":"}
	switch {
	case f.layout == layoutSpaced:
		w.comma, w.colon = ", ", ": "
	case f.layout.indent() != "":
		w.colon = ": "
	}
	w.value(n, 0)
	return w.out
}

type treeWriter struct {
	form         form
	comma, colon string
	out          []byte
}

func (w *treeWriter) value(n *node, depth int) {
	switch n.text[0] {
	case '"':
		w.out = w.form.escapes.appendString(w.out, n.text)
		return
	case '{', '[':
	default:
		w.out = append(w.out, n.text...)
		return
	}
	w.out = append(w.out, n.text...)
	for i, kid := range n.kids {
		if i > 0 {
			w.out = append(w.out, w.comma...)
		}
		w.line(depth + 1)
		if n.names != nil {
			w.out = w.form.escapes.appendString(w.out, n.names[i])
			w.out = append(w.out, w.colon...)
		}
		w.value(kid, depth+1)
	}
	if len(n.kids) > 0 {
		w.line(depth)
	}
	w.out = append(w.out, n.text[0]+2) // ] follows [ by two, and } follows {
}

// maxIndent keeps deep nesting from growing with its square.
const maxIndent = 64

func (w *treeWriter) line(depth int) {
	if indent := w.form.layout.indent(); indent != "" {
		w.out = append(w.out, '\n')
		for range min(depth, maxIndent) {
			w.out = append(w.out, indent...)
		}
	}
}

// rewriteStrings changes the strings of JSON and nothing between them.
func rewriteStrings(text []byte, e escapes) []byte {
	out := make([]byte, 0, len(text)+len(text)/8)
	for at := 0; at < len(text); {
		if text[at] != '"' {
			next := bytes.IndexByte(text[at:], '"')
			if next < 0 {
				next = len(text) - at
			}
			out = append(out, text[at:at+next]...)
			at += next
			continue
		}
		end := stringEnd(text, at)
		out = e.appendString(out, text[at:end])
		at = end
	}
	return out
}
