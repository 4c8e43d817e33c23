package signature

import (
	"bytes"
	"regexp"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// escapes says which characters of a JSON string are written as escapes.
type escapes uint8

const (
	escapesKept escapes = 0 // as received

	escapePlain   escapes = 1 << iota // only what JSON demands; the others add to it
	escapeHTML                        // < > & and the line separators U+2028 and U+2029, as Go does
	escapeSlash                       // / as PHP does
	escapeUnicode                     // what isn't ASCII, as Python and PHP do
	escapeUpper                       // hex digits in upper case, and quotes and + as .NET does
)

// allEscapes lists the combinations that encoders are known for.
func allEscapes() []escapes {
	return []escapes{
		escapesKept,
		escapePlain,
		escapePlain | escapeHTML,
		escapePlain | escapeUnicode,
		escapePlain | escapeSlash | escapeUnicode,
		escapePlain | escapeSlash,
		escapePlain | escapeHTML | escapeUnicode,
		escapePlain | escapeHTML | escapeUnicode | escapeUpper,
	}
}

// appendString appends a JSON string, given with its quotes, in this spelling.
// What is no Unicode stays as it is.
func (e escapes) appendString(out, literal []byte) []byte {
	if e == escapesKept {
		return append(out, literal...)
	}
	out = append(out, '"')
	for rest := literal[1 : len(literal)-1]; len(rest) > 0; {
		r, size := nextRune(rest)
		if r == utf8.RuneError {
			out = append(out, rest[:size]...)
		} else {
			out = e.appendRune(out, r)
		}
		rest = rest[size:]
	}
	return append(out, '"')
}

// nextRune reads a character or an escape. It returns U+FFFD for what is to be
// copied.
func nextRune(text []byte) (r rune, size int) {
	if text[0] != '\\' {
		return utf8.DecodeRune(text)
	}
	switch text[1] {
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		r = hexRune(text[2:])
		if !utf16.IsSurrogate(r) {
			return r, 6
		}
		if len(text) >= 12 && text[6] == '\\' && text[7] == 'u' {
			if pair := utf16.DecodeRune(r, hexRune(text[8:])); pair != utf8.RuneError {
				return pair, 12
			}
		}
		return utf8.RuneError, 6
	}
	return rune(text[1]), 2
}

func hexRune(text []byte) rune {
	n, err := strconv.ParseUint(string(text[:4]), 16, 16)
	if err != nil {
		return utf8.RuneError
	}
	return rune(n)
}

func (e escapes) appendRune(out []byte, r rune) []byte {
	switch r {
	case '\\':
		return append(out, `\\`...)
	case '\b':
		return append(out, `\b`...)
	case '\f':
		return append(out, `\f`...)
	case '\n':
		return append(out, `\n`...)
	case '\r':
		return append(out, `\r`...)
	case '\t':
		return append(out, `\t`...)
	case '/':
		if e&escapeSlash != 0 {
			return append(out, `\/`...)
		}
		return append(out, '/')
	case '"':
		if e&escapeUpper == 0 {
			return append(out, `\"`...)
		}
		return e.appendEscape(out, r)
	}
	html := r == '<' || r == '>' || r == '&' || r == '\u2028' || r == '\u2029' || (e&escapeUpper != 0 && (r == '\'' || r == '+' || r == '`'))
	if r < ' ' || (html && e&escapeHTML != 0) || (r >= 0x7f && e&escapeUnicode != 0) {
		return e.appendEscape(out, r)
	}
	return utf8.AppendRune(out, r)
}

func (e escapes) appendEscape(out []byte, r rune) []byte {
	if high, low := utf16.EncodeRune(r); high != utf8.RuneError {
		return e.appendEscape(e.appendEscape(out, high), low)
	}
	digits := "0123456789abcdef"
	if e&escapeUpper != 0 {
		digits = "0123456789ABCDEF"
	}
	return append(out, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
}

// What tells how a program has written JSON.
var (
	htmlEscape    = regexp.MustCompile(`\\u00(?i:3c|3e|26|27|2b|22)|\\u202(?i:8|9)`)
	unicodeEscape = regexp.MustCompile(`\\u(?i:00[89a-f]|007f|0[1-9a-f]|[1-9a-f])`)
)

func slashEscape(b []byte) bool { return bytes.Contains(b, []byte(`\/`)) }

// compareJSON says what distinguishes the signed body from the received one.
func compareJSON(received, signed []byte, f form) []Finding {
	var all []Finding
	differ := func(code Code, in, was bool, what string) {
		switch {
		case was && !in:
			all = append(all, Finding{code, "The signature was made for the same JSON with " + what + "; it came without." + bodyAdvice})
		case in && !was:
			all = append(all, Finding{code, "The signature was made for the same JSON without " + what + "; it came with them." + bodyAdvice})
		}
	}
	if f.layout != layoutKept && !sameSpaces(received, signed, f) {
		names := [...]string{
			layoutCompact: "no white space", layoutSpaced: "a space after every comma and colon",
			layoutTwo: "lines indented by two spaces", layoutFour: "lines indented by four spaces", layoutTab: "lines indented by tabs",
		}
		all = append(all, Finding{CodeBodyRespaced, "The signature was made for the same JSON written with " + names[f.layout] + "." + bodyAdvice})
	}
	differ(CodeBodyHTMLEscapes, htmlEscape.Match(received), htmlEscape.Match(signed), `<, > and & as \u escapes`)
	differ(CodeBodySlashEscapes, slashEscape(received), slashEscape(signed), `slashes written \/`)
	differ(CodeBodyUnicodeEscapes, unicodeEscape.Match(received), unicodeEscape.Match(signed), `other characters than ASCII as \u escapes`)
	if f.sorted {
		all = append(all, Finding{CodeBodyKeysSorted, "The signature was made for the same JSON with its names in order: something read it into a map and wrote it again." + bodyAdvice})
	}
	switch ended, ends := bytes.HasSuffix(received, []byte("\n")), bytes.HasSuffix(signed, []byte("\n")); {
	case ended && !ends:
		all = append(all, Finding{CodeBodyNewlineAdded, "The line break at its end wasn't signed."})
	case ends && !ended:
		all = append(all, Finding{CodeBodyNewlineRemoved, "A line break at its end was signed too, and isn't there."})
	}
	if len(all) == 0 {
		all = append(all, Finding{CodeBodyReencoded, "The signature was made for the same JSON written otherwise." + bodyAdvice})
	}
	return all
}

// sameSpaces reports whether the form's white space is what came.
func sameSpaces(received, signed []byte, f form) bool {
	text := bytes.TrimSpace(bytes.TrimPrefix(received, []byte(bom)))
	if f.sorted { // the order moves the white space too; compare what the received order would have
		signed = readTree(text).write(form{layout: f.layout, escapes: f.escapes})
	}
	return bytes.Equal(spacesOf(text), spacesOf(bytes.TrimSpace(signed)))
}

// spacesOf is JSON with its strings taken out.
func spacesOf(text []byte) []byte {
	var out []byte
	for at := 0; at < len(text); {
		if text[at] == '"' {
			at = stringEnd(text, at)
			out = append(out, '"')
			continue
		}
		out = append(out, text[at])
		at++
	}
	return out
}
