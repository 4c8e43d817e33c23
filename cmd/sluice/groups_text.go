package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// groupsReport is the list. Its JSON form is for programs.
type groupsReport struct {
	At     time.Time     `json:"at"`
	Groups []groupReport `json:"groups"`
}

// groupReport is what is told of a group. Numbers of events are of offsets: at most so many.
type groupReport struct {
	Group      string           `json:"group"`
	State      string           `json:"state"` // Empty, Unknown, or another of Kafka's words
	Why        string           `json:"unknown_because,omitempty"`
	Lag        int64            `json:"lag"`
	Deleted    int64            `json:"deleted_unread"` // before the group has read them
	Oldest     *time.Time       `json:"oldest_unread"`  // null: nothing is unread, or it can't be told
	Behind     *float64         `json:"behind_seconds"` // the time since then
	Untold     bool             `json:"times_forbidden,omitempty"`
	Members    []groupMember    `json:"members"`
	Partitions []groupPartition `json:"partitions"`
}

type groupMember struct {
	ID         string `json:"member_id"`
	ClientID   string `json:"client_id"`
	Host       string `json:"host"`
	Partitions int    `json:"partitions"` // of any topic
}

type groupPartition struct {
	Topic     string     `json:"topic"`
	Partition int        `json:"partition"`
	Committed *int64     `json:"committed"` // null: none
	Begin     int64      `json:"begin"`
	End       int64      `json:"end"`
	Lag       int64      `json:"lag"`
	Deleted   int64      `json:"deleted_unread"`
	Oldest    *time.Time `json:"oldest_unread"`
	Member    string     `json:"client_id,omitempty"`
}

func (r *groupsReport) writeJSON(w io.Writer) error { return writeJSON(w, r) }

// writeJSON writes one indented value.
func writeJSON(w io.Writer, value any) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	return out.Encode(value)
}

func (r *groupsReport) writeText(w io.Writer) error {
	if len(r.Groups) == 0 {
		_, err := fmt.Fprintln(w, "No group has committed offsets on these topics, or none that this login may describe.")
		return err
	}
	rows := [][]string{{"group", "state", "members", "topics", "lag", "behind"}}
	var notes []string
	for i := range r.Groups {
		g := &r.Groups[i]
		topics := make(map[string]bool)
		for _, p := range g.Partitions {
			topics[p.Topic] = true
		}
		rows = append(rows, []string{
			terminalSafe(g.Group), g.State, count(int64(len(g.Members))), count(int64(len(topics))), count(g.Lag), g.behind(g.Oldest, g.Lag),
		})
		for _, note := range g.notes() {
			notes = append(notes, terminalSafe(g.Group)+": "+note)
		}
	}
	return writeTables(w, notes, drawTable(w, rows))
}

// writeText writes one group with its partitions and members.
func (g *groupReport) writeText(w io.Writer) error {
	head := fmt.Sprintf("Group %s: %s, %s, at most %s to read", terminalSafe(g.Group), g.State, plural(len(g.Members), "member"), events(g.Lag))
	if g.Oldest != nil {
		head += fmt.Sprintf(", the oldest from %s (%s ago)", g.Oldest.UTC().Format(time.RFC3339), g.behind(g.Oldest, g.Lag))
	}
	rows := [][]string{{"topic", "partition", "committed", "end", "lag", "behind", "member"}}
	for _, p := range g.Partitions {
		committed := "none"
		if p.Committed != nil {
			committed = strconv.FormatInt(*p.Committed, 10)
		}
		rows = append(rows, []string{
			p.Topic, strconv.Itoa(p.Partition), committed, strconv.FormatInt(p.End, 10), count(p.Lag), g.behind(p.Oldest, p.Lag), cmp.Or(terminalSafe(p.Member), "-"),
		})
	}
	tables := []string{head + "\n", drawTable(w, rows)}
	if len(g.Members) > 0 {
		rows = [][]string{{"client id", "host", "partitions"}}
		for _, m := range g.Members {
			rows = append(rows, []string{cmp.Or(terminalSafe(m.ClientID), "-"), terminalSafe(m.Host), count(int64(m.Partitions))})
		}
		tables = append(tables, drawTable(w, rows))
	}
	return writeTables(w, g.notes(), tables...)
}

// writeTables writes tables, and notes below them.
func writeTables(w io.Writer, notes []string, tables ...string) error {
	text := strings.Join(tables, "\n")
	if len(notes) > 0 {
		text += "\n" + strings.Join(notes, "\n") + "\n"
	}
	_, err := io.WriteString(w, text)
	return err
}

// notes are what the tables don't tell.
func (g *groupReport) notes() (notes []string) {
	none, beyond := 0, []string(nil)
	for _, p := range g.Partitions {
		switch {
		case p.Committed == nil && p.End > p.Begin:
			none++
		case p.Committed != nil && *p.Committed > p.End:
			beyond = append(beyond, placeName(p.Topic, p.Partition))
		}
	}
	if g.Deleted > 0 {
		notes = append(notes, fmt.Sprintf("at most %s were deleted before the group has read them", events(g.Deleted)))
	}
	if none > 0 {
		notes = append(notes, fmt.Sprintf("no offset is committed in %s that have events: the consumer's auto.offset.reset decides where it begins there", plural(none, "partition")))
	}
	if len(beyond) > 0 {
		notes = append(notes, fmt.Sprintf("the offset is beyond the end in %s: the topic was created anew, or has lost its tail", firstOf(beyond, 3)))
	}
	if g.Untold {
		notes = append(notes, "for how long events have been waiting can't be told: this login needs the right to Read on the topics")
	}
	if g.Why != "" {
		notes = append(notes, "whether it has members can't be told: "+g.Why)
	}
	return notes
}

// behind is the time since a record, or why there is none.
func (g *groupReport) behind(oldest *time.Time, lag int64) string {
	switch {
	case oldest != nil:
		return ageText(time.Since(*oldest))
	case g.Untold && lag > 0:
		return "?"
	}
	return "-"
}

// ageText is a duration by its two largest units.
func ageText(d time.Duration) string {
	const day = 24 * time.Hour
	d = max(0, d)
	switch {
	case d >= day:
		return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%ds", d/time.Second)
}

func placeName(topic string, partition int) string { return fmt.Sprintf("%s/%d", topic, partition) }

// events is a number of events in words.
func events(n int64) string {
	if n == 1 {
		return "1 event"
	}
	return count(n) + " events"
}
