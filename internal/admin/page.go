package admin

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"time"
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
	Totals       []total
	InFlight     string
	InFlightSize string
	Breakdowns   []breakdownView
}

type dependencyView struct {
	Name, Word, Since, Detail string
	Up                        bool
}

type total struct{ Name, Count, Meaning string }

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
		Refresh:      refreshSeconds,
		Version:      s.opts.Version,
		State:        current.String(),
		Ready:        current == ready,
		Insecure:     s.opts.Insecure,
		Started:      moment(c.started()),
		Now:          moment(now),
		Incomplete:   err != nil,
		InFlight:     thousands(c.sum(inFlightRequests)),
		InFlightSize: size(c.sum(inFlightBytes)),
	}
	for _, d := range s.opts.Dependencies() {
		dv := dependencyView{Name: d.Name, Up: d.Up, Word: "up", Since: moment(d.Since)}
		if !d.Up {
			dv.Word, dv.Detail = "down", d.Detail
		}
		v.Dependencies = append(v.Dependencies, dv)
	}
	for _, t := range []struct{ metric, name, meaning string }{
		{receivedTotal, "Received", "webhook requests"},
		{publishedTotal, "Published", "kept on their topic"},
		{duplicatesTotal, "Duplicates", "kept before, not again"},
		{deadLetteredTotal, "Dead-lettered", "kept on the dead-letter topic"},
		{refusedTotal, "Refused", "not kept; other paths included"},
	} {
		count := "–"
		if c.has(t.metric) {
			count = thousands(c.sum(t.metric))
		}
		v.Totals = append(v.Totals, total{t.name, count, t.meaning})
	}
	for _, b := range []struct{ metric, title, label string }{
		{publishedTotal, "Published by event type", "Event type"},
		{deadLetteredTotal, "Dead-lettered by reason", "Reason"},
		{refusedTotal, "Refused by reason", "Reason"},
		{verifiedTotal, "Verified by signing key", "Key name"},
	} {
		if shares := c.breakdown(b.metric); len(shares) > 0 {
			v.Breakdowns = append(v.Breakdowns, breakdownView{b.title, b.label, shares})
		}
	}
	return v
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
