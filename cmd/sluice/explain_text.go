package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/text"

	"sluice/dedupe"
)

// paint colours a text, or leaves it alone.
type paint func(color text.Color, s string) string

// explainPaint colours on a terminal whose user hasn't set NO_COLOR.
func explainPaint(w io.Writer, environ []string) paint {
	refused := slices.ContainsFunc(environ, func(pair string) bool {
		name, value, _ := strings.Cut(pair, "=")
		return name == "NO_COLOR" && value != "" || name == "TERM" && value == "dumb"
	})
	if refused || !isTerminal(w) {
		return func(_ text.Color, s string) string { return s }
	}
	return coloured
}

func coloured(color text.Color, s string) string {
	return color.EscapeSeq() + s + text.Reset.EscapeSeq()
}

// writeExplanation writes the sections, each with its name before it.
func writeExplanation(w io.Writer, e *explanation, color paint) error {
	page := &explainPage{color: color}
	page.section("request", explainedRequestLine(&e.Request))
	for _, note := range e.Request.Notes {
		page.more(note)
	}
	page.signature(&e.Signature)
	page.event(&e.Event)
	page.section("topic", legible(e.Topic.Name)+" ("+e.Topic.Why+")")
	page.section("record key", explainedKeyLine(e.Key))
	page.section("dedupe id", legible(e.Dedupe.ID)+" ("+e.Dedupe.From+")")
	page.more("Redis key " + legible(e.Dedupe.Key))
	page.section("redis", explainedRedisLine(&e.Redis))
	page.verdict(e.Verdict)
	_, err := io.WriteString(w, page.out.String())
	return err
}

type explainPage struct {
	out   strings.Builder
	color paint
}

// labelWidth is that of the longest section's name and two spaces.
const labelWidth = len("record key") + 2

func (p *explainPage) section(name, line string) {
	p.out.WriteString(p.color(text.Bold, name) + strings.Repeat(" ", labelWidth-len(name)) + line + "\n")
}

func (p *explainPage) more(line string) {
	p.out.WriteString(strings.Repeat(" ", labelWidth) + line + "\n")
}

func explainedRequestLine(r *explainedRequest) string {
	line := "a body of " + strconv.Itoa(r.Bytes) + " bytes"
	if r.Method != "" {
		line = legible(strings.TrimSpace(r.Method+" "+r.Path)) + ", " + line
	}
	return line
}

func (p *explainPage) signature(s *explainedSignature) {
	var line string
	switch s.Status {
	case signatureAccepted:
		line = p.color(text.FgGreen, "right") + ", made with key " + s.Key
	case signatureUnchecked:
		line = "not checked: give the headers with -H, or the whole request with --curl or --http"
	case signatureOff:
		line = p.color(text.FgYellow, "not checked: insecure-no-signature is on")
	case signatureNoKey:
		line = p.color(text.FgYellow, "not checked: no signing key is configured (SLUICE_SIGNING_KEYS), without which serve doesn't start")
	default:
		line = p.color(text.FgRed, "refused: "+s.Error)
		if s.Key != "" {
			line += "; but for the following it is right, made with key " + s.Key
		}
	}
	p.section("signature", line)
	for _, f := range s.Findings {
		p.more(p.color(text.FgYellow, string(f.Code)) + ": " + f.Text)
	}
	if s.At != "" {
		p.more("Was it right when it was sent? --at " + s.At)
	}
}

func (p *explainPage) event(e *explainedEvent) {
	if e.Reason != "" {
		p.section("event", "none: "+e.Reason+", "+legible(e.Cause))
	} else {
		known := map[string]string{
			"described": "of the described types", "documented": "documented, not described", "unknown": "a type that isn't documented",
		}
		p.section("event", legible(e.Type)+" ("+e.Rule+"; "+known[e.Known]+")")
	}
	var details []string
	if e.ID != "" {
		details = append(details, "event_id "+legible(e.ID))
	}
	if e.Time != "" {
		details = append(details, "timestamp "+e.Time)
	}
	if len(details) > 0 {
		p.more(strings.Join(details, ", "))
	}
}

func explainedKeyLine(k explainedKey) string {
	if k.Value == "" {
		return "none: no customer and no message is named, so the record may go to any partition"
	}
	return legible(k.Value) + " (" + k.From + ")"
}

func explainedRedisLine(r *explainedRedis) string {
	left := time.Duration(r.Remaining * float64(time.Second)).Round(time.Second)
	forget := ""
	switch {
	case r.Forever:
		forget = ", and never forgotten"
	case left > 0:
		forget = ", forgotten in " + left.String()
	}
	switch dedupe.Status(r.Status) {
	case dedupe.StatusUnknown:
		return "not known: it would be a new event"
	case dedupe.StatusDone:
		return "known: kept on its topic" + forget
	case dedupe.StatusDeadLettered:
		return "known: kept as a dead letter" + forget
	case dedupe.StatusForeign:
		return "the key holds something that isn't Sluice's; it is ignored"
	case dedupe.StatusPending:
		line := "pending: being handled"
		if r.Instance != "" {
			line += " by instance " + legible(r.Instance)
		}
		if left > 0 {
			line += ", whose lease ends in " + left.String()
		}
		return line
	}
	if r.Status == redisNotAsked {
		return "not asked"
	}
	return "couldn't be asked: " + legible(r.Error)
}

func (p *explainPage) verdict(v explainedVerdict) {
	color := text.FgGreen
	if v.Code != http.StatusOK {
		color = text.FgRed
	}
	line := p.color(color, fmt.Sprintf("%d %s", v.Code, v.Status))
	if v.Why != "" && v.Code == http.StatusOK {
		line += ", " + v.Why
	} else if v.Why != "" {
		line += ": " + v.Why
	}
	p.section("verdict", line)
}

// maxLegible is how many bytes of a text from outside are shown.
const maxLegible = 300

// legible makes a text from outside fit for a terminal: nothing in it controls
// one, and it isn't long.
func legible(s string) string {
	cut := ""
	if len(s) > maxLegible {
		end := maxLegible
		for end > maxLegible-utf8.UTFMax && !utf8.RuneStart(s[end]) {
			end--
		}
		s, cut = s[:end], "…"
	}
	if s == "" || !utf8.ValidString(s) || !printable(s) {
		s = strconv.Quote(s)
	}
	return s + cut
}

// writeExplanationJSON writes JSON in which no character controls a terminal
// either.
func writeExplanationJSON(w io.Writer, e *explanation) error {
	var page bytes.Buffer
	encoder := json.NewEncoder(&page)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(e); err != nil {
		return err
	}
	out := make([]byte, 0, page.Len())
	for _, r := range page.String() {
		if r == '\n' || strconv.IsPrint(r) {
			out = utf8.AppendRune(out, r)
			continue
		}
		units := []uint16{uint16(r)} // only strings hold such characters
		if high, low := utf16.EncodeRune(r); high != utf8.RuneError {
			units = []uint16{uint16(high), uint16(low)}
		}
		for _, unit := range units {
			out = fmt.Appendf(out, `\u%04x`, unit)
		}
	}
	_, err := w.Write(out)
	return err
}
