package signature

import (
	"fmt"
	"strings"
	"time"
)

// Attempt is a request whose signature is to be explained. All of it is as
// received: headers untrimmed, the body undecoded.
type Attempt struct {
	Keys      []Key
	Tolerance time.Duration
	// Timestamp and Signature are the values of the two headers.
	Timestamp, Signature string
	Body                 []byte
	// Original is the body before the client itself changed it, where that is
	// known: some clients drop the line breaks of a file they send. Else nil.
	Original []byte
	Now      time.Time
}

// Code names what is wrong. Codes are stable: programs may act on them.
type Code string

// Finding is one thing that is wrong with a request. Text says what, and what
// to do about it. It holds no secret, no signature and nothing of the body,
// but may quote a few characters of a header, escaped.
type Finding struct {
	Code Code   `json:"code"`
	Text string `json:"text"`
}

// Diagnosis is what [Diagnose] found out.
type Diagnosis struct {
	// Err is exactly what [Verifier.Verify] returns for the request; nil means
	// that it is accepted.
	Err error
	// KeyName is the key that made the signature, also if that was found out
	// only by undoing what Findings tell. "" if no key did.
	KeyName string
	// Findings are in the order in which they are best put right. There is none
	// if the request is accepted, and at least one if it isn't.
	Findings []Finding
	// Tried is the number of signatures that were computed in search of the cause.
	Tried int
}

// Accepted reports whether Verify accepts the request.
func (d *Diagnosis) Accepted() bool { return d.Err == nil }

// Codes of the two headers' spelling.
const (
	CodeSignatureMissing   Code = "signature_missing"
	CodeSignatureSpaces    Code = "signature_spaces"
	CodeSignatureQuoted    Code = "signature_quoted"
	CodeSignaturePrefix    Code = "signature_prefix"
	CodeSignatureList      Code = "signature_list"
	CodeSignatureUpperCase Code = "signature_upper_case"
	CodeSignatureBase64    Code = "signature_base64"
	CodeSignatureLength    Code = "signature_length"
	CodeSignatureNotHex    Code = "signature_not_hex"

	CodeTimestampMissing    Code = "timestamp_missing"
	CodeTimestampSpaces     Code = "timestamp_spaces"
	CodeTimestampQuoted     Code = "timestamp_quoted"
	CodeTimestampNotInteger Code = "timestamp_not_integer"
	CodeTimestampUnit       Code = "timestamp_unit"
	CodeTimestampStale      Code = "timestamp_stale"
	CodeTimestampFuture     Code = "timestamp_future"
)

// Codes of what was signed, by what, in place of what should have been.
const (
	CodeTimestampSignedUnit  Code = "timestamp_signed_unit"
	CodeTimestampNotSigned   Code = "timestamp_not_signed"
	CodeTimestampOfEvent     Code = "timestamp_of_event"
	CodeTimestampOtherSecond Code = "timestamp_other_second"

	CodeBodyNewlineAdded     Code = "body_newline_added"
	CodeBodyNewlineRemoved   Code = "body_newline_removed"
	CodeBodyLineEnds         Code = "body_line_ends"
	CodeBodyNewlinesStripped Code = "body_newlines_stripped"
	CodeBodySpaces           Code = "body_spaces"
	CodeBodyBOM              Code = "body_bom"
	CodeBodyNotSigned        Code = "body_not_signed"
	CodeBodyRespaced         Code = "body_respaced"
	CodeBodyHTMLEscapes      Code = "body_html_escapes"
	CodeBodySlashEscapes     Code = "body_slash_escapes"
	CodeBodyUnicodeEscapes   Code = "body_unicode_escapes"
	CodeBodyKeysSorted       Code = "body_keys_sorted"
	CodeBodyReencoded        Code = "body_reencoded"

	CodeSignedText Code = "signed_text"

	CodeKeySpaces   Code = "key_spaces"
	CodeKeyQuoted   Code = "key_quoted"
	CodeKeyHex      Code = "key_hex"
	CodeKeyBase64   Code = "key_base64"
	CodeKeyWithName Code = "key_with_name"
	CodeKeyCase     Code = "key_case"

	CodeHash    Code = "hash"
	CodeNotHMAC Code = "not_hmac"

	CodeNoMatch Code = "no_match"
)

// Diagnose verifies a request as [Verifier.Verify] does and, if it is refused,
// looks for the cause: it tries what senders, proxies and people are known to
// do to timestamps, bodies, keys and signatures, alone and together, until one
// makes the signature that came. The work is bounded (about a second for the
// largest bodies), and what is simple is tried first.
//
// It is for operators, not for the way of a request: it takes long, and says
// more than a stranger should be told. Its error is that of [New], for keys or
// a tolerance that can't be used.
func Diagnose(a Attempt) (Diagnosis, error) {
	v, err := New(a.Keys, a.Tolerance)
	if err != nil {
		return Diagnosis{}, fmt.Errorf("diagnosing a signature: %w", err)
	}
	var d Diagnosis
	if d.KeyName, d.Err = v.Verify(a.Timestamp, a.Signature, a.Body, a.Now); d.Err == nil {
		return d, nil
	}
	spelled := readSignature(a.Signature)
	stamp := readTimestamp(a.Timestamp)
	d.add(spelled.findings...)
	d.add(stamp.findings...)

	s := newSearch(&a, stamp, spelled.targets)
	found := s.run()
	d.Tried = s.tried
	if found != nil {
		d.KeyName = found.keyName
		d.add(found.findings...)
	}
	d.add(staleness(stamp, &a)...)
	if found == nil && len(spelled.targets) > 0 {
		d.add(noMatch(v.KeyNames(), s.exhausted))
	}
	if len(d.Findings) == 0 { // Verify knows better than all of the above
		d.add(noMatch(v.KeyNames(), false))
	}
	return d, nil
}

func (d *Diagnosis) add(findings ...Finding) { d.Findings = append(d.Findings, findings...) }

func noMatch(keyNames []string, exhausted bool) Finding {
	text := "None of the keys (" + strings.Join(keyNames, ", ") + ") made this signature for this timestamp and body in any way known. " +
		"Compare the key with the one that the sender shows for this very webhook: another workspace or another webhook has another key. " +
		"If the key is right, the body was changed on its way (look for a proxy that decodes, filters or re-encodes it) " +
		"or isn't the one that the signature came with."
	if exhausted {
		text += " The body is so large that not everything was tried."
	}
	return Finding{CodeNoMatch, text}
}

// staleness compares the time that the header means with now, whatever its
// spelling.
func staleness(stamp timestamp, a *Attempt) []Finding {
	if !stamp.known {
		return nil
	}
	age := a.Now.Sub(stamp.at)
	switch {
	case age > a.Tolerance:
		return []Finding{{CodeTimestampStale, fmt.Sprintf("The timestamp (%s) is %s old; the tolerance is %s. %s",
			stamp.at.UTC().Format(time.RFC3339), inWords(age), inWords(a.Tolerance), oldHint(age))}}
	case age < -a.Tolerance:
		return []Finding{{CodeTimestampFuture, fmt.Sprintf("The timestamp (%s) is %s in the future; the tolerance is %s. %s",
			stamp.at.UTC().Format(time.RFC3339), inWords(-age), inWords(a.Tolerance), futureHint(-age))}}
	}
	return nil
}

const day = 24 * time.Hour

func oldHint(age time.Duration) string {
	switch {
	case zoneLike(age):
		return "So round a difference comes from a local time taken for UTC: set the clocks and time zones right."
	case age > day:
		return "That is an old capture sent again: sign it anew, or judge it as of its own time."
	case age < time.Hour:
		return "Compare the clocks of this machine and the sender's; if they agree, the request was under way for long, or is a retry with its first timestamp: raise the tolerance."
	default:
		return "It was held back, sent again later, or is a retry with its first timestamp: raise the tolerance if such requests shall pass."
	}
}

func futureHint(ahead time.Duration) string {
	if zoneLike(ahead) {
		return "So round a difference comes from a local time taken for UTC: set the clocks and time zones right."
	}
	return "This machine's clock is behind or the sender's is ahead: set them by NTP."
}

// zoneLike reports whether d is about what two time zones differ by.
func zoneLike(d time.Duration) bool {
	const step, slack = 30 * time.Minute, 30 * time.Second
	off := d % step
	return d >= step-slack && d <= 14*time.Hour+slack && (off <= slack || off >= step-slack)
}

// inWords writes a duration with the two units that matter.
func inWords(d time.Duration) string {
	switch {
	case d >= day:
		text := fmt.Sprintf("%dd", d/day)
		if hours := d % day / time.Hour; hours > 0 {
			text += fmt.Sprintf("%dh", hours)
		}
		return text
	case d >= time.Hour:
		return strings.TrimSuffix(d.Truncate(time.Minute).String(), "0s")
	case d >= time.Second:
		return d.Truncate(time.Second).String()
	default:
		return d.String()
	}
}
