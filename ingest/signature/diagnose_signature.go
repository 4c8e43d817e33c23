package signature

import (
	"crypto/sha1" //nolint:gosec // only its size, to recognise a signature that was made with it
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// spelling is what could be read from the signature header.
type spelling struct {
	targets  []target
	findings []Finding
}

// target is a digest that a signature may have meant.
type target struct {
	digest []byte
	// partial are hex digits that are a digest's beginning or end, or begin or
	// end with one. Set instead of digest.
	partial string
}

// minPartial is how many hex digits have to fit for a part of a signature to
// tell anything: 64 bits aren't met by chance, nor found by trying.
const minPartial = 16

func (t target) matches(sum []byte) bool {
	if t.partial == "" {
		return subtle.ConstantTimeCompare(t.digest, sum) == 1
	}
	whole := hex.EncodeToString(sum)
	if len(whole) == len(t.partial) {
		return whole == t.partial
	}
	short, long := t.partial, whole
	if len(short) > len(long) {
		short, long = long, short
	}
	return strings.HasPrefix(long, short) || strings.HasSuffix(long, short)
}

// size is the digest's length in bytes, 0 for a part.
func (t target) size() int { return len(t.digest) }

// signaturePrefix is a word before the digits, as other senders write one.
var signaturePrefix = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9_.-]{0,20}[=: ] *|0[xX])`)

// readSignature undoes what is known to be done to a signature on its way into
// the header.
func readSignature(header string) spelling {
	var s spelling
	text, spaces, quotes := unwrap(header)
	if text == "" {
		s.add(CodeSignatureMissing, "There is no X-CIO-Signature. Either the request isn't Customer.io's, or a proxy drops the header.")
		return s
	}
	if spaces {
		s.add(CodeSignatureSpaces, "There is white space around the signature. Send the 64 digits and nothing else.")
	}
	if quotes {
		s.add(CodeSignatureQuoted, "The signature stands in quotes. Send the 64 digits and nothing else.")
	}
	if s.digits(text) || s.list(text) {
		return s
	}
	if prefix := signaturePrefix.FindString(text); prefix != "" && len(prefix) < len(text) {
		rest := text[len(prefix):]
		probe := spelling{}
		if probe.digits(rest) || isHex(rest) {
			s.prefixed(prefix)
			text = rest
		}
		if s.digits(text) {
			return s
		}
	}
	if !isHex(text) {
		s.add(CodeSignatureNotHex, fmt.Sprintf("The signature (%d characters) is neither hex nor base64 of a known hash. Send the HMAC-SHA256 as 64 lower-case hex digits.", len(text)))
		return s
	}
	s.wrongLength(len(text), "Part of it was cut off or added.")
	if len(text) >= minPartial {
		s.targets = append(s.targets, target{partial: strings.ToLower(text)})
	}
	return s
}

func (s *spelling) add(code Code, text string) { s.findings = append(s.findings, Finding{code, text}) }

func (s *spelling) prefixed(prefix string) {
	s.add(CodeSignaturePrefix, fmt.Sprintf("The signature begins with %s. Customer.io sends the bare digits: leave the prefix out.", strconv.Quote(prefix)))
}

func (s *spelling) wrongLength(n int, why string) {
	s.add(CodeSignatureLength, fmt.Sprintf("The signature has %d hex digits where an HMAC-SHA256 has 64. %s", n, why))
}

// digits reads a whole digest of any hash, in hex or in base64.
func (s *spelling) digits(text string) bool {
	if isHex(text) && digestSize(len(text)/2) && len(text)%2 == 0 {
		digest, err := hex.DecodeString(text)
		if err != nil {
			return false
		}
		if text != strings.ToLower(text) {
			s.add(CodeSignatureUpperCase, "The signature has upper-case hex digits. Send it in lower case.")
		}
		if len(digest) != sha256.Size {
			s.wrongLength(len(text), "It is the length of "+hashBySize(len(digest))+".")
		}
		s.targets = append(s.targets, target{digest: digest})
		return true
	}
	digest, ok := fromBase64(text)
	if !ok {
		return false
	}
	if inner := string(digest); isHex(inner) {
		if digest, ok = decodeDigest(inner); !ok {
			return false
		}
	}
	if !digestSize(len(digest)) {
		return false
	}
	s.add(CodeSignatureBase64, "The signature is in base64. Send it as lower-case hex digits.")
	s.targets = append(s.targets, target{digest: digest})
	return true
}

func decodeDigest(text string) ([]byte, bool) {
	digest, err := hex.DecodeString(text)
	return digest, err == nil && digestSize(len(digest))
}

// list reads several signatures in one header, with or without names.
func (s *spelling) list(text string) bool {
	if !strings.ContainsAny(text, ",;") {
		return false
	}
	var all spelling
	prefix := ""
	for part := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || r == ';' }) {
		part = strings.TrimSpace(part)
		if all.digits(part) {
			continue
		}
		if p := signaturePrefix.FindString(part); p != "" && all.digits(part[len(p):]) {
			prefix = p
		}
	}
	if len(all.targets) == 0 {
		return false
	}
	s.add(CodeSignatureList, "The signature header holds several values. Customer.io sends one signature: leave the others out.")
	if prefix != "" {
		s.prefixed(prefix)
	}
	s.findings = append(s.findings, all.findings...)
	s.targets = all.targets
	return true
}

// unwrap takes white space and quotes off a header's value.
func unwrap(header string) (text string, spaces, quotes bool) {
	text = header
	for {
		before := text
		if trimmed := strings.TrimSpace(text); trimmed != text {
			text, spaces = trimmed, true
		}
		if len(text) >= 2 && text[0] == text[len(text)-1] && strings.IndexByte("\"'`", text[0]) >= 0 {
			text, quotes = text[1:len(text)-1], true
		}
		if text == before {
			return text, spaces, quotes
		}
	}
}

func isHex(text string) bool {
	for i := range len(text) {
		c := text[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return text != ""
}

// fromBase64 reads any of the four alphabets and paddings in use.
func fromBase64(text string) ([]byte, bool) {
	plain := strings.TrimRight(text, "=")
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if b, err := encoding.DecodeString(plain); err == nil && len(b) > 0 {
			return b, true
		}
	}
	return nil, false
}

func digestSize(n int) bool {
	return n == sha1.Size || n == sha256.Size || n == sha512.Size384 || n == sha512.Size
}

func hashBySize(n int) string {
	switch n {
	case sha1.Size:
		return "SHA-1"
	case sha512.Size384:
		return "SHA-384"
	case sha512.Size:
		return "SHA-512"
	}
	return "SHA-256"
}
