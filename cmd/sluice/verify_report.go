package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// verifyReport is what came of a run. Its JSON form is for programs.
type verifyReport struct {
	Complete bool           `json:"complete"`
	Records  int64          `json:"records"`
	Verified int64          `json:"verified"`
	Wrong    int64          `json:"wrong"`
	Missing  int64          `json:"missing"` // without a signature, or a timestamp
	Topics   []*verifyTopic `json:"topics"`
	Notes    []string       `json:"notes"`
}

type verifyTopic struct {
	Topic    string           `json:"topic"`
	Records  int64            `json:"records"`
	Verified map[string]int64 `json:"verified"` // by the key's name
	Wrong    int64            `json:"wrong"`
	Missing  int64            `json:"missing"`
}

// verifyOffender is a record that is wrong.
type verifyOffender struct {
	Topic     string    `json:"topic"`
	Partition int       `json:"partition"`
	Offset    int64     `json:"offset"`
	Time      time.Time `json:"time"`
	EventID   string    `json:"event_id"`
	Reason    string    `json:"reason"` // mismatch, malformed or missing
}

func (v *verify) sum() {
	r := &v.report
	slices.SortFunc(r.Topics, func(a, b *verifyTopic) int { return strings.Compare(a.Topic, b.Topic) })
	for _, t := range r.Topics {
		r.Records += t.Records
		r.Wrong += t.Wrong
		r.Missing += t.Missing
		for _, n := range t.Verified {
			r.Verified += n
		}
	}
}

// write writes the report, once.
func (v *verify) write() error {
	v.sum()
	var err error
	if v.lines != nil {
		err = v.lines.Encode(&v.report)
	} else {
		err = v.writeText()
	}
	if err = errors.Join(err, v.out.Flush()); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

func (v *verify) writeText() error {
	keys := v.verifier.KeyNames()
	header := []string{"topic", "records"}
	for _, name := range keys {
		header = append(header, "by "+name)
	}
	rows := [][]string{append(header, "wrong", "missing")}
	total := &verifyTopic{Topic: "all", Records: v.report.Records, Wrong: v.report.Wrong, Missing: v.report.Missing, Verified: make(map[string]int64)}
	for _, t := range v.report.Topics {
		rows = append(rows, t.row(keys))
		for name, n := range t.Verified {
			total.Verified[name] += n
		}
	}
	if len(v.report.Topics) != 1 {
		rows = append(rows, total.row(keys))
	}
	notes := slices.Clone(v.report.Notes)
	if v.report.Missing > 0 {
		notes = append(notes, fmt.Sprintf("%s without a signature: received unsigned, imported, or the headers were too large to be kept", plural(int(v.report.Missing), "record")))
	}
	if v.report.Records == 0 {
		notes = append(notes, "there is no such record: are the times and --topic (SLUICE_TOPIC) right?")
	}
	for _, name := range keys {
		if total.Verified[name] == 0 && v.report.Records > 0 {
			notes = append(notes, "no record is signed by "+name)
		}
	}
	for _, o := range v.offenders {
		notes = append(notes, fmt.Sprintf("%s: %s at offset %d, %s, event %s", o.Reason, placeName(o.Topic, o.Partition), o.Offset, o.Time.Format(time.RFC3339), eventName(o.EventID)))
	}
	if n := v.wrong() - int64(len(v.offenders)); n > 0 {
		notes = append(notes, fmt.Sprintf("%s more; --offenders 0 or -o json lists all", count(n)))
	}
	return writeTables(v.out, notes, drawTable(v.stdout, rows))
}

func (t *verifyTopic) row(keys []string) []string {
	row := []string{t.Topic, count(t.Records)}
	for _, name := range keys {
		row = append(row, count(t.Verified[name]))
	}
	return append(row, count(t.Wrong), count(t.Missing))
}

func (v *verify) wrong() int64 {
	if v.strict {
		return v.report.Wrong + v.report.Missing
	}
	return v.report.Wrong
}

// verdict is the error of the command, nil if nothing is wrong.
func (v *verify) verdict() error {
	n := v.wrong()
	if n == 0 {
		return nil
	}
	are := "are"
	if n == 1 {
		are = "is"
	}
	return fmt.Errorf("%s %s signed by none of the keys (%s)", plural(int(n), "record"), are, strings.Join(v.verifier.KeyNames(), ", "))
}
