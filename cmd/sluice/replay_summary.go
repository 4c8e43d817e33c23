package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"sluice/internal/stream"
)

// replayCounts are the numbers of a replay over all its runs. What was under way to a topic or a webhook when a run was
// killed is counted again by the next.
type replayCounts struct {
	Read    int64 `json:"read"`
	Written int64 `json:"written"`
	Bytes   int64 `json:"bytes"` // keys, values and headers of the written ones
	// NotJSON and Failed are those that --jq couldn't judge, and that weren't wanted therefore.
	NotJSON int64  `json:"not_json"`
	Failed  int64  `json:"jq_failed"`
	Failure string `json:"first_jq_failure,omitempty"` // where, and why

	Reroute *rerouteCounts `json:"reroute,omitempty"`
}

// failed counts a record on which the jq expression fails.
func (c *replayCounts) failed(r *stream.Record, err error) {
	if c.Failed++; c.Failed == 1 {
		c.Failure = fmt.Sprintf("%s partition %d offset %d: %.200s", r.Topic, r.Partition, r.Offset, err)
	}
}

// replayShown is how far a replay has come.
type replayShown struct {
	total, read, written int64     // of this run; total is 0 until it is known
	began                time.Time // zero until the total is known
}

// text is a line about it.
func (s replayShown) text(now time.Time) string {
	if s.began.IsZero() {
		return "looking at the topics"
	}
	return fmt.Sprintf("read %s of %s, wanted %s", count(s.read), count(max(s.total, s.read)), count(s.written)) +
		pace(s.read, s.total, now.Sub(s.began))
}

// extent is how much of it has been read.
func (s replayShown) extent() (done, total int64) { return s.read, s.total }

// replaySummary is what came of a replay. Its JSON form is for programs.
type replaySummary struct {
	ID       string  `json:"replay_id"`
	Complete bool    `json:"complete"`
	Target   string  `json:"target"`
	Seconds  float64 `json:"seconds"` // of this run
	replayCounts
	Missing []replayMissing `json:"missing"`

	empty bool
	rate  float64 // records a second of this run
}

func (r *replay) summary(complete bool, took time.Duration) *replaySummary {
	s := &replaySummary{
		ID: r.state.ID, Complete: complete, Target: r.c.targets()[0], Seconds: took.Seconds(), replayCounts: r.total(),
		Missing: append([]replayMissing{}, r.missing...),
	}
	s.empty = complete && s.Read == 0
	if took > 0 {
		s.rate = float64(r.flow.Counts().Read) / took.Seconds()
	}
	return s
}

func (s *replaySummary) print(w io.Writer, format string) error {
	write := s.writeText
	if format == "json" {
		write = func(w io.Writer) error { return indented(w, s) }
	}
	if err := write(w); err != nil {
		return fmt.Errorf("writing the summary: %w", err)
	}
	return nil
}

func indented(w io.Writer, content any) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	return out.Encode(content)
}

func (s *replaySummary) writeText(w io.Writer) error {
	if s.empty {
		_, err := fmt.Fprintln(w, "There is nothing to replay: the topics have no records in this range.")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(n int64, name string) { fmt.Fprintf(t, "%s\t  %s\n", count(n), name) }
	line(s.Read, fmt.Sprintf("records read, %s/s", count(int64(s.rate))))
	line(s.Written, "written")
	line(s.Bytes, "bytes of keys, values and headers")
	if s.NotJSON > 0 {
		line(s.NotJSON, "aren't JSON, and weren't wanted therefore")
	}
	if s.Failed > 0 {
		line(s.Failed, "weren't wanted because --jq fails on them; the first is "+s.Failure)
	}
	s.Reroute.lines(line)
	if err := t.Flush(); err != nil {
		return err
	}
	for _, m := range s.Missing {
		fmt.Fprintln(w, m.text())
	}
	end := "complete"
	if !s.Complete {
		end = "incomplete"
	}
	_, err := fmt.Fprintf(w, "replay %s: %s\n", s.ID, end)
	return err
}
