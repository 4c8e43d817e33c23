package signature

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// timestamp is what could be read from the timestamp header.
type timestamp struct {
	header   string // as received
	text     string // without white space and quotes
	known    bool   // at and unit mean something
	at       time.Time
	unit     string // "seconds", "milliseconds", …, or "date", "decimal"
	findings []Finding
}

const seconds = "seconds"

// Integers from these on are too large to mean the next smaller unit: seconds
// from 10^11 on are of the year 5138.
const (
	firstMilli = 1e11
	firstMicro = 1e14
	firstNano  = 1e17
)

// readTimestamp reads the header's value, however it is written.
func readTimestamp(header string) timestamp {
	t := timestamp{header: header}
	var spaces, quotes bool
	t.text, spaces, quotes = unwrap(header)
	if t.text == "" {
		t.add(CodeTimestampMissing, "There is no X-CIO-Timestamp. Either the request isn't Customer.io's, or a proxy drops the header.")
		return t
	}
	if spaces {
		t.add(CodeTimestampSpaces, "There is white space around the timestamp. Send the digits and nothing else.")
	}
	if quotes {
		t.add(CodeTimestampQuoted, "The timestamp stands in quotes. Send the digits and nothing else.")
	}
	if isDigits(t.text) {
		t.readInteger()
	} else {
		t.readOther()
	}
	return t
}

func (t *timestamp) add(code Code, text string) { t.findings = append(t.findings, Finding{code, text}) }

func isDigits(text string) bool {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return text != ""
}

func (t *timestamp) readInteger() {
	n, err := strconv.ParseInt(t.text, 10, 64)
	if err != nil {
		t.add(CodeTimestampNotInteger, "The timestamp has too many digits for a time. Send Unix seconds, ten digits today.")
		return
	}
	t.known = true
	switch {
	case n < firstMilli:
		t.at, t.unit = time.Unix(n, 0), seconds
		if len(t.text) > maxTimestampDigits {
			t.add(CodeTimestampNotInteger, "The timestamp has more leading zeros than are read. Send Unix seconds, ten digits today.")
		}
		return
	case n < firstMicro:
		t.at, t.unit = time.UnixMilli(n), "milliseconds"
	case n < firstNano:
		t.at, t.unit = time.UnixMicro(n), "microseconds"
	default:
		t.at, t.unit = time.Unix(0, n), "nanoseconds"
	}
	t.add(CodeTimestampUnit, fmt.Sprintf("The timestamp is in %s (it would be %s). Send and sign whole Unix seconds, ten digits today.", t.unit, t.at.UTC().Format(time.RFC3339)))
}

// readOther reads dates and numbers that aren't plain integers.
func (t *timestamp) readOther() {
	t.add(CodeTimestampNotInteger, "The timestamp ("+quoted(t.text)+") isn't a plain integer. Send whole Unix seconds, ten digits today.")
	for _, layout := range []string{
		time.RFC3339Nano, "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05", "2006-01-02 15:04:05",
		time.RFC1123, time.RFC1123Z, time.RFC850, time.ANSIC, time.UnixDate,
	} {
		if at, err := time.Parse(layout, t.text); err == nil {
			t.known, t.at, t.unit = true, at, "date"
			return
		}
	}
	if n, err := strconv.ParseFloat(t.text, 64); err == nil && n >= 0 && n < firstMilli {
		t.known, t.at, t.unit = true, time.Unix(int64(n), 0), "decimal"
	}
}

// stampVariant is a timestamp that may have been signed.
type stampVariant struct {
	text     string
	weight   int
	findings []Finding
}

// variants are the timestamps that may have been signed, likely ones first.
func (t *timestamp) variants(body []byte) []stampVariant {
	all := []stampVariant{{text: t.header}}
	seen := map[string]bool{t.header: true}
	add := func(text string, weight int, code Code, why string) {
		if !seen[text] {
			seen[text] = true
			all = append(all, stampVariant{text, weight, []Finding{{code, why}}})
		}
	}
	if t.text != t.header { // the header's spelling is a finding already
		seen[t.text] = true
		all = append(all, stampVariant{text: t.text})
	}
	if t.known {
		t.otherUnits(add)
	}
	add("", 1, CodeTimestampNotSigned, "The signature was made with an empty timestamp. Sign \"v0:\" + timestamp + \":\" + body with the very text that X-CIO-Timestamp holds.")
	if found := eventTimestamp.FindSubmatch(body); found != nil {
		add(string(found[1]), 1, CodeTimestampOfEvent, "The signature was made with the event's own timestamp out of the body. Sign the text that X-CIO-Timestamp holds.")
	}
	if t.known {
		const why = "The signature was made for a second near the header's: the sender asked the clock twice. Ask it once, and sign what is sent."
		for off := int64(1); off <= 10; off++ {
			add(strconv.FormatInt(t.at.Unix()-off, 10), 2, CodeTimestampOtherSecond, why)
			add(strconv.FormatInt(t.at.Unix()+off, 10), 2, CodeTimestampOtherSecond, why)
		}
	}
	if t.known && t.unit == seconds {
		// Senders that sign milliseconds and send seconds lose which one it was.
		for ms := range int64(1000) {
			add(strconv.FormatInt(t.at.Unix()*1000+ms, 10), 3, CodeTimestampSignedUnit, signedUnit("milliseconds"))
		}
	}
	return all
}

// eventTimestamp is the likeliest of timestamps in a body.
var eventTimestamp = regexp.MustCompile(`"timestamp"\s*:\s*"?(\d{1,20})\b`)

func signedUnit(unit string) string {
	return "The signature was made with the timestamp as " + unit + ", and the header has it otherwise. Sign the very text that X-CIO-Timestamp holds: whole Unix seconds."
}

// otherUnits are the same time in other words.
func (t *timestamp) otherUnits(add func(text string, weight int, code Code, why string)) {
	utc := t.at.UTC()
	other := func(text, unit string, weight int) { add(text, weight, CodeTimestampSignedUnit, signedUnit(unit)) }
	whole := strconv.FormatInt(t.at.Unix(), 10)
	other(whole, "whole seconds", 1)
	other(strconv.FormatInt(t.at.UnixMilli(), 10), "milliseconds", 1)
	other(strconv.FormatInt(t.at.UnixMicro(), 10), "microseconds", 1)
	if nanos := t.at.UnixNano(); time.Unix(0, nanos).Equal(t.at) {
		other(strconv.FormatInt(nanos, 10), "nanoseconds", 1)
	}
	other(utc.Format(time.RFC3339), "a date", 1)
	other(utc.Format("2006-01-02T15:04:05.000Z"), "a date", 1)
	other(utc.Format("2006-01-02T15:04:05-07:00"), "a date", 2)
	other(utc.Format(time.RFC1123), "a date", 2)
	other(strings.Replace(utc.Format(time.RFC1123), "UTC", "GMT", 1), "a date", 2)
	other(whole+".0", "decimal", 2)
}

// quoted is text made fit for a sentence: escaped, and not long.
func quoted(text string) string {
	const most = 40
	if len(text) > most {
		return strconv.Quote(text[:most]) + "…"
	}
	return strconv.Quote(text)
}
