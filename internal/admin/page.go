package admin

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"time"

	"sluice/publisher/balance"
)

// refreshSeconds is how often the page loads itself anew.
const refreshSeconds = 5

//go:embed page.html
var pageHTML string

// pageTemplate is never changed. html/template escapes every value for where it
// stands.
var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// view is everything that the page shows, as text.
type view struct {
	Refresh      int
	Version      string
	State        string
	Ready        bool
	Insecure     bool
	Started      string // "" if unknown
	Now          string
	Incomplete   bool // some metrics could not be read
	Dependencies []dependencyView
	Events       []total
	Requests     []total
	Breakdowns   []breakdownView
}

type dependencyView struct {
	Name, Word, Since, Detail string
	Up                        bool
}

// total is a number and what it counts; Bad ones should be zero.
type total struct {
	Name, Count, Meaning string
	Bad                  bool
}

type breakdownView struct {
	Title, Label string
	Shares       []share
}

// page shows the state to people. Nothing on it can be clicked that changes
// anything.
func (s *Server) page(w http.ResponseWriter, _ *http.Request) {
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, s.view(time.Now())); err != nil {
		s.fail(w, "page", err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	s.write(w, b.Bytes())
}

func (s *Server) view(now time.Time) view {
	current := state(s.state.Load())
	c, err := gather(s.opts.Gatherer)
	v := view{
		Refresh:    refreshSeconds,
		Version:    s.opts.Version,
		State:      current.String(),
		Ready:      current == ready,
		Insecure:   s.opts.Insecure,
		Started:    moment(c.started()),
		Now:        moment(now),
		Incomplete: err != nil,
		Events:     events(s.opts.Balance()),
	}
	for _, d := range s.opts.Dependencies() {
		dv := dependencyView{Name: d.Name, Up: d.Up, Word: "up", Since: moment(d.Since)}
		if !d.Up {
			dv.Word, dv.Detail = "down", d.Detail
		}
		v.Dependencies = append(v.Dependencies, dv)
	}
	for _, t := range []struct{ metric, name, meaning string }{
		{receivedTotal, "Received", "for the webhook"},
		{refusedTotal, "Refused", "with any code but 200; other paths included"},
		{inFlightRequests, "Being worked on", "bodies hold " + size(c.sum(inFlightBytes))},
	} {
		count := "–"
		if c.has(t.metric) {
			count = thousands(c.sum(t.metric))
		}
		v.Requests = append(v.Requests, total{Name: t.name, Count: count, Meaning: t.meaning})
	}
	for _, b := range []struct{ metric, title, label string }{
		{publishedTotal, "Answered published, by event type", "Event type"},
		{deadLetteredTotal, "Answered dead-lettered, by reason", "Reason"},
		{refusedTotal, "Refused, by reason", "Reason"},
		{verifiedTotal, "Verified, by signing key", "Key name"},
	} {
		if shares := c.breakdown(b.metric); len(shares) > 0 {
			v.Breakdowns = append(v.Breakdowns, breakdownView{b.title, b.label, shares})
		}
	}
	return v
}

// events is the balance as lines. What is seldom anything but zero is left out then.
func events(n balance.Balance) (lines []total) {
	line := func(name string, count int64, meaning string, always, bad bool) {
		if always || count != 0 {
			lines = append(lines, total{name, thousands(float64(count)), meaning, bad})
		}
	}
	line("Accepted", n.Accepted, "signed and within the limits", true, false)
	line("Recovered", n.Recovered, "left on disk by an earlier process", false, false)
	line("Published", n.Published, "on their topic", true, false)
	line("Duplicate", n.Duplicate, "kept before, not again", true, false)
	line("Dead-lettered", n.DeadLettered, "on the dead-letter topic", true, false)
	line("Refused", n.Refused, "answered 503, not kept", true, false)
	line("Lost", n.Lost, "damaged on disk", false, true)
	line("Spooled", n.Spooled, "on disk until Kafka takes them", true, false)
	line("In flight", n.InFlight, "outcome not known yet", true, false)
	return lines
}

// moment writes a time to the second, in UTC: servers and their readers are
// seldom in one zone.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// size writes a number of bytes in the largest unit that leaves a whole part.
func size(n float64) string {
	units := []string{"B", "KiB", "MiB", "GiB"}
	i := 0
	for n >= 1024 && i < len(units)-1 {
		n /= 1024
		i++
	}
	return thousands(n) + " " + units[i]
}
