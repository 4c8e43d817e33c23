package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"sluice/config"
)

// spoolLsCmd is "sluice spool ls".
type spoolLsCmd struct {
	Instance, SpoolAfter, SpoolMaxBytes struct{} `kong:"-"`
	config.Config                       `groups:"Topics,Spool"`

	Instances []string `name:"instance" placeholder:"NAME" help:"Only this instance's folder. May be given several times."`
	Output    string   `short:"o" enum:"text,json" default:"text" placeholder:"text|json" help:"Format of the list."`
}

// Help says what it is for and shows how it is used.
func (spoolLsCmd) Help() string {
	return `It shows each instance's folder: whether a process runs with it, what in it Kafka isn't known to have, by topic, and what is damaged. Batches were sent, or were about to be, and may be in Kafka; what is kept was never sent. It only reads, also while instances run. Use the settings of the instances: which topic an event is for depends on them.

Examples:

    # What waits in the folder that SLUICE_SPOOL_DIR names?
    sluice spool ls

    # Is the folder of an instance that is to be removed empty?
    sluice spool ls --spool-dir /var/lib/sluice --instance worker-2 -o json | jq '.instances[].unsettled'`
}

// spoolList is the JSON form of the list.
type spoolList struct {
	Dir       string      `json:"spool_dir"`
	Instances []spoolItem `json:"instances"`
}

// spoolItem is an instance's folder.
type spoolItem struct {
	Instance     string           `json:"instance"`
	Running      bool             `json:"running"`
	Error        string           `json:"error,omitempty"` // then the rest isn't known
	Format       int              `json:"format"`
	Files        int              `json:"files"`
	Bytes        int64            `json:"bytes"`
	Unsettled    int              `json:"unsettled"` // entries, those not understood included
	Batches      int              `json:"batches"`
	Kept         int              `json:"kept"`
	Events       int              `json:"events"`
	MayBeInKafka int              `json:"may_be_in_kafka"` // of the events
	Oldest       *time.Time       `json:"oldest"`
	Newest       *time.Time       `json:"newest"`
	Topics       []spoolItemTopic `json:"topics"`
	Torn         []spoolPlace     `json:"torn"`
	Damaged      []spoolPlace     `json:"damaged"`
	Strange      int              `json:"not_understood"` // entries
	unread       []string
}

type spoolItemTopic struct {
	Topic        string `json:"topic"`
	Events       int    `json:"events"`
	MayBeInKafka int    `json:"may_be_in_kafka"`
}

type spoolPlace struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	Rest   int64  `json:"bytes_from_there"`
	Error  string `json:"error"`
}

// Run lists. Its error names the folders that can't be looked into.
func (c *spoolLsCmd) Run(parsed *kong.Context, p *process) error {
	if _, err := config.Load(&c.Config, config.SourcesOf(parsed, p.environ)); err != nil {
		return err
	}
	names, err := spoolInstances(&c.Config, c.Instances)
	if err != nil {
		return err
	}
	list := spoolList{Dir: c.SpoolDir, Instances: []spoolItem{}}
	failed := 0
	for _, name := range names {
		f, err := readSpool(&c.Config, name, nil)
		if err != nil {
			failed++
			list.Instances = append(list.Instances, spoolItem{Instance: name, Error: err.Error()})
			continue
		}
		list.Instances = append(list.Instances, newSpoolItem(f))
	}
	write := list.writeText
	if c.Output == "json" {
		write = list.writeJSON
	}
	if err := write(p.stdout); err != nil {
		return fmt.Errorf("writing the list: %w", err)
	}
	if failed > 0 {
		return fmt.Errorf("%s of %s can't be looked into", count(int64(failed)), plural(len(names), "folder"))
	}
	return nil
}

func newSpoolItem(f *spoolFolder) spoolItem {
	total := f.total()
	item := spoolItem{
		Instance: f.Instance, Running: f.Running, Format: f.Format, Files: f.Files, Bytes: f.Bytes, Unsettled: f.Unsettled,
		Batches: f.batches, Kept: f.kept, Events: total.events, MayBeInKafka: total.mayBe, Strange: f.strange,
		Topics: []spoolItemTopic{}, Torn: []spoolPlace{}, Damaged: []spoolPlace{}, unread: f.unread(),
	}
	if !f.oldest.IsZero() {
		item.Oldest, item.Newest = new(f.oldest.UTC()), new(f.newest.UTC())
	}
	for _, name := range f.topicNames() {
		item.Topics = append(item.Topics, spoolItemTopic{name, f.topics[name].events, f.topics[name].mayBe})
	}
	for _, x := range f.Torn {
		item.Torn = append(item.Torn, spoolPlace{x.File, x.Offset, x.Rest, x.Why.Error()})
	}
	for _, x := range f.Damage {
		item.Damaged = append(item.Damaged, spoolPlace{x.File, x.Offset, x.Rest, x.Why.Error()})
	}
	return item
}

func (l *spoolList) writeJSON(w io.Writer) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	return out.Encode(l)
}

func (l *spoolList) writeText(w io.Writer) error {
	if len(l.Instances) == 0 {
		_, err := fmt.Fprintf(w, "No instance has a folder in %s.\n", l.Dir)
		return err
	}
	folders := [][]string{{"instance", "state", "format", "files", "bytes", "batches", "kept", "events", "oldest", "newest"}}
	topics := [][]string{{"instance", "topic", "events", "may be in kafka"}}
	var notes []string
	for _, x := range l.Instances {
		folders = append(folders, x.row())
		for _, t := range x.Topics {
			topics = append(topics, []string{x.Instance, t.Topic, count(int64(t.Events)), count(int64(t.MayBeInKafka))})
		}
		notes = append(notes, x.notes()...)
	}
	list := drawTable(w, folders)
	if len(topics) > 1 {
		list += "\n" + drawTable(w, topics)
	}
	if len(notes) > 0 {
		list += "\n" + strings.Join(notes, "\n") + "\n"
	}
	_, err := io.WriteString(w, list)
	return err
}

func (x *spoolItem) row() []string {
	state := "not running"
	switch {
	case x.Error != "":
		return []string{x.Instance, "unknown", "", "", "", "", "", "", "", ""}
	case x.Running:
		state = "running"
	}
	at := func(t *time.Time) string {
		if t == nil {
			return "-"
		}
		return t.Format(time.RFC3339)
	}
	format := "-"
	if x.Format > 0 {
		format = strconv.Itoa(x.Format)
	}
	return []string{
		x.Instance, state, format, count(int64(x.Files)), count(x.Bytes), count(int64(x.Batches)), count(int64(x.Kept)),
		count(int64(x.Events)), at(x.Oldest), at(x.Newest),
	}
}

// notes are what the tables don't tell.
func (x *spoolItem) notes() (notes []string) {
	if x.Error != "" {
		notes = append(notes, x.Instance+": "+x.Error)
	}
	for _, what := range x.unread {
		notes = append(notes, x.Instance+": "+what)
	}
	for _, place := range x.Torn {
		notes = append(notes, fmt.Sprintf("%s: %s ends in the midst of a write, as after a kill: that is no damage", x.Instance, place.File))
	}
	return notes
}
