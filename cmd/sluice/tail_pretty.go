package main

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/jedib0t/go-pretty/v6/text"

	"sluice/internal/stream"
)

// prettyEvents is the format for people. Everything that comes from outside has its control characters escaped, so that
// a body can't command the terminal.
type prettyEvents struct {
	topics  *topicChoice
	zone    *time.Location
	colours bool
	width   func() int // columns to cut to, 0: don't
}

// tailPart is a piece of a line. Its colour 0 is none.
type tailPart struct {
	text   string
	colour text.Color
}

// Columns that most types and customer ids fit in.
const (
	typeColumn = 18
	keyColumn  = 10
	keyMost    = 24 // longer keys are hashes
)

func (f *prettyEvents) append(b []byte, r *stream.Record) []byte {
	eventType := f.topics.eventType(r)
	shown := cmp.Or(terminalSafe(eventType), "-")
	key := "-"
	if r.Key != nil {
		key = cutTo(terminalSafe(string(r.Key)), keyMost)
	}
	parts := []tailPart{
		{r.Time.In(f.zone).Format("15:04:05.000") + "  ", text.Faint},
		{padTo(shown, typeColumn), colourOf(eventType)},
		{"  " + padTo(key, keyColumn) + "  " + cmp.Or(terminalSafe(r.Header("ce_id")), "-"), 0},
		{"  " + f.placeOf(r, eventType), text.Faint},
	}
	if r.Topic == f.topics.where.DeadLetter || f.topics.ofGroup(r.Topic) {
		parts = append(parts, tailPart{"  " + deadLetterText(r), text.FgRed})
	}
	if summary := dataSummary(r.Value); summary != "" {
		parts = append(parts, tailPart{"  " + summary, 0})
	}
	return append(f.line(b, parts), '\n')
}

// placeOf names partition and offset, and the topic unless it is the type's own.
func (f *prettyEvents) placeOf(r *stream.Record, eventType string) string {
	at := fmt.Sprintf("%d@%d", r.Partition, r.Offset)
	if own, ok := f.topics.where.EventType(r.Topic); ok && own == eventType {
		return at
	}
	return terminalSafe(r.Topic) + "-" + at
}

func deadLetterText(r *stream.Record) string {
	said := "dead letter: " + cmp.Or(terminalSafe(r.Header("sluice-reason")), "?")
	if cause := r.Header("sluice-error"); cause != "" {
		said += " (" + terminalSafe(cause) + ")"
	}
	return said
}

// line joins the parts, cut to the width.
func (f *prettyEvents) line(b []byte, parts []tailPart) []byte {
	room, total := f.width(), 0
	for _, p := range parts {
		total += text.StringWidth(p.text)
	}
	tooLong := room > 0 && total > room
	for _, p := range parts {
		if tooLong {
			whole := p.text
			p.text = headOf(whole, room-1) // and one column for the sign that it was cut
			if p.text != whole {
				return append(f.paint(b, p), "…"...)
			}
			room -= text.StringWidth(p.text)
		}
		b = f.paint(b, p)
	}
	return b
}

func (f *prettyEvents) paint(b []byte, p tailPart) []byte {
	if !f.colours || p.colour == 0 || p.text == "" {
		return append(b, p.text...)
	}
	b = append(b, p.colour.EscapeSeq()...)
	b = append(b, p.text...)
	return append(b, text.Reset.EscapeSeq()...)
}

// headOf is as much of s from its beginning as fits in so many columns.
func headOf(s string, columns int) string {
	used := 0
	for i, r := range s {
		if used += text.RuneWidth(r); used > columns {
			return s[:i]
		}
	}
	return s
}

// cutTo shortens s to so many columns, the last of them a sign that it was cut.
func cutTo(s string, columns int) string {
	if text.StringWidth(s) <= columns {
		return s
	}
	return headOf(s, columns-1) + "…"
}

func padTo(s string, columns int) string {
	return s + strings.Repeat(" ", max(0, columns-text.StringWidth(s)))
}

// colourOf gives every type a colour that is always the same. Red is kept for dead letters.
func colourOf(eventType string) text.Color {
	colours := [...]text.Color{
		text.FgGreen, text.FgYellow, text.FgBlue, text.FgMagenta, text.FgCyan,
		text.FgHiGreen, text.FgHiYellow, text.FgHiBlue, text.FgHiMagenta, text.FgHiCyan,
	}
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(eventType)) // a hash takes everything
	return colours[hash.Sum32()%uint32(len(colours))]
}

// terminalSafe escapes what a terminal might obey, reorder or not show: control characters, also of Unicode, and bytes that
// aren't UTF-8.
func terminalSafe(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && isBadByte(s[i:]):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case strconv.IsPrint(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

func isBadByte(s string) bool {
	_, size := utf8.DecodeRuneInString(s)
	return size == 1
}

// dataSummary shows what of an event's data tells events apart at a glance. Recipients and contents are left out.
func dataSummary(body []byte) string {
	var envelope struct {
		Data struct {
			Campaign      jsontext.Value `json:"campaign_id"`
			Newsletter    jsontext.Value `json:"newsletter_id"`
			Broadcast     jsontext.Value `json:"broadcast_id"`
			Transactional jsontext.Value `json:"transactional_message_id"`
			Subject       jsontext.Value `json:"subject"`
			Href          jsontext.Value `json:"href"`
		} `json:"data"`
	}
	lenient := json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if json.Unmarshal(body, &envelope, lenient) != nil {
		return ""
	}
	data := envelope.Data
	var shown []string
	for _, field := range []struct {
		name  string
		value jsontext.Value
	}{
		{"campaign", data.Campaign},
		{"newsletter", data.Newsletter},
		{"broadcast", data.Broadcast},
		{"transactional", data.Transactional},
		{"subject", data.Subject},
		{"href", data.Href},
	} {
		if said := scalarText(field.value, field.name == "subject"); said != "" {
			shown = append(shown, field.name+"="+said)
		}
	}
	return strings.Join(shown, " ")
}

// scalarText is a string or number as text, "" for everything else.
func scalarText(value jsontext.Value, quoted bool) string {
	switch value.Kind() {
	case '0':
		return value.String()
	case '"':
		var s string
		if json.Unmarshal(value, &s, jsontext.AllowInvalidUTF8(true)) != nil || s == "" {
			return ""
		}
		if quoted {
			return strconv.Quote(s)
		}
		return terminalSafe(s)
	}
	return ""
}
