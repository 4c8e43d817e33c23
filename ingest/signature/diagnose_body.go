package signature

import (
	"bytes"
	"encoding/json"
	"iter"
)

// bodyVariant is a body that may have been signed in place of the one that
// came.
type bodyVariant struct {
	body   []byte
	weight int
	// findings say how it differs; they are asked for only when it fits.
	findings func() []Finding
}

func oneFinding(code Code, text string) func() []Finding {
	return func() []Finding { return []Finding{{code, text}} }
}

// bom is the byte order mark of UTF-8.
const bom = "\xef\xbb\xbf"

const bodyAdvice = " Sign and send the same bytes: build the body once, and let nothing decode or reformat it afterwards."

// bodies lists what may have been signed, simple things first, up to the given
// weight. A body is valid until the next one.
func bodies(received, original []byte, most int) iter.Seq[bodyVariant] {
	return func(yield func(bodyVariant) bool) {
		if !yield(bodyVariant{body: received, findings: func() []Finding { return nil }}) || most == 0 {
			return
		}
		if !plainBodies(received, original, yield) {
			return
		}
		if json.Valid(bytes.TrimPrefix(received, []byte(bom))) {
			jsonBodies(received, most, yield)
		}
	}
}

// plainBodies are the changes that know nothing of JSON. All weigh 1.
func plainBodies(received, original []byte, yield func(bodyVariant) bool) bool {
	const added = "The signature was made for the body without the line break at its end: something added one after signing (an editor, echo, a here-document)." + bodyAdvice
	const removed = "The signature was made for the body with a line break at its end, which something removed after signing (curl's -d @file does: use --data-binary)." + bodyAdvice
	const ends = "The signature was made for the body with other line ends (CRLF in place of LF, or the other way round)." + bodyAdvice
	const stripped = "The signature was made for the body before its line breaks were taken out (curl's -d @file does that: use --data-binary)." + bodyAdvice
	try := func(body []byte, code Code, text string) bool {
		return bytes.Equal(body, received) || yield(bodyVariant{body, 1, oneFinding(code, text)})
	}
	if original != nil {
		code, text := CodeBodyNewlinesStripped, stripped
		if bytes.Equal(bytes.TrimRight(original, "\r\n"), received) {
			code, text = CodeBodyNewlineRemoved, removed
		}
		if !try(original, code, text) {
			return false
		}
	}
	joined := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	lf := bytes.ReplaceAll(received, []byte("\r\n"), []byte("\n"))
	return try(joined(received, []byte("\n")), CodeBodyNewlineRemoved, removed) &&
		try(bytes.TrimSuffix(bytes.TrimSuffix(received, []byte("\n")), []byte("\r")), CodeBodyNewlineAdded, added) &&
		try(bytes.TrimSuffix(received, []byte("\n")), CodeBodyNewlineAdded, added) &&
		try(bytes.TrimRight(received, "\r\n"), CodeBodyNewlineAdded, added) &&
		try(joined(received, []byte("\r\n")), CodeBodyNewlineRemoved, removed) &&
		try(lf, CodeBodyLineEnds, ends) &&
		try(bytes.ReplaceAll(lf, []byte("\n"), []byte("\r\n")), CodeBodyLineEnds, ends) &&
		try(bytes.Map(dropBreaks, received), CodeBodyNewlinesStripped,
			"The signature was made for the body without any line breaks (curl's -d @file takes them out)."+bodyAdvice) &&
		try(bytes.TrimPrefix(received, []byte(bom)), CodeBodyBOM,
			"The signature was made for the body without the byte order mark that it begins with. Save or send it as UTF-8 without one.") &&
		try(joined([]byte(bom), received), CodeBodyBOM,
			"The signature was made for the body with a byte order mark before it, which isn't sent. Read the file as UTF-8 with a byte order mark before signing.") &&
		try(bytes.TrimSpace(received), CodeBodySpaces,
			"The signature was made for the body without the white space around it."+bodyAdvice) &&
		try([]byte{}, CodeBodyNotSigned,
			"The signature was made for an empty body: the sender signed before it had the body, or after something had read it to its end.")
}

// dropBreaks is for [bytes.Map]: bytes that aren't UTF-8 turn into U+FFFD
// there, which costs no more than a variant that doesn't fit.
func dropBreaks(r rune) rune {
	if r == '\n' || r == '\r' {
		return -1
	}
	return r
}

// jsonBodies are the ways in which other programs would have written the same
// JSON. It stops when yield does.
func jsonBodies(received []byte, most int, yield func(bodyVariant) bool) {
	text := bytes.TrimSpace(bytes.TrimPrefix(received, []byte(bom)))
	// What a program writes that has read the JSON into a tree comes first;
	// then its line break at the end, its escapes, its order of names.
	tree := readTree(text)
	var sorted *node
	if most > 1 {
		sorted = readTree(text)
		sorted.sort()
	}
	for _, form := range jsonForms() {
		if form.weight() > most {
			continue
		}
		var body []byte
		switch {
		case form.layout == layoutKept:
			body = rewriteStrings(text, form.escapes)
		case form.sorted:
			if sorted == nil {
				sorted = readTree(text)
				sorted.sort()
			}
			body = sorted.write(form)
		default:
			body = tree.write(form)
		}
		for _, end := range []string{"", "\n"} {
			body = append(body, end...)
			weight := form.weight() + len(end)
			if weight > most || bytes.Equal(body, received) {
				continue
			}
			findings := func() []Finding { return compareJSON(received, body, form) }
			if !yield(bodyVariant{body, weight, findings}) {
				return
			}
		}
	}
}
