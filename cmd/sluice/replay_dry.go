package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"sluice/internal/stream"
)

// dryTopic is what a replay would take of a topic.
type dryTopic struct {
	Topic   string    `json:"topic,omitempty"`
	Records int64     `json:"records"`
	Bytes   int64     `json:"bytes"` // keys, values and headers
	First   time.Time `json:"first,omitzero"`
	Last    time.Time `json:"last,omitzero"`
}

// drySink counts. Nothing is kept, so that everything is at once.
type drySink struct {
	topics map[string]*dryTopic
	last   *dryTopic // of the topic that was written last
}

// Write is part of [stream.Sink].
func (s *drySink) Write(_ context.Context, r *stream.Record, t stream.Ticket) error {
	if s.last == nil || s.last.Topic != r.Topic {
		if s.last = s.topics[r.Topic]; s.last == nil {
			s.last = &dryTopic{Topic: r.Topic, First: r.Time, Last: r.Time}
			s.topics[r.Topic] = s.last
		}
	}
	d := s.last
	d.Records++
	d.Bytes += int64(r.Size())
	if r.Time.Before(d.First) {
		d.First = r.Time
	}
	if r.Time.After(d.Last) {
		d.Last = r.Time
	}
	t.Kept()
	return nil
}

// Settle is part of [stream.Sink].
func (s *drySink) Settle(context.Context) error { return nil }

// Close is part of [stream.Sink].
func (s *drySink) Close() error { return nil }

// dryRun reads everything, so that its numbers are exact: offsets alone would count what transactions have taken back
// and compaction has removed, and tell neither bytes nor what a filter wants.
func (r *replay) dryRun(ctx context.Context) (err error) {
	if r.state, err = r.c.begin("", replayID); err != nil {
		return err
	}
	sink := &drySink{topics: make(map[string]*dryTopic)}
	if err = r.build(ctx, sink); err != nil {
		return err
	}
	r.flow.Limit = nil // nobody has to be spared
	done := r.show.start(func() shown { return r.progress() })
	began := time.Now()
	err = r.flow.Run(ctx, replayGrace)
	took := time.Since(began)
	done()
	if ctx.Err() != nil {
		return errors.New("interrupted, hence incomplete: nothing can be said of what hasn't been read")
	}
	if err != nil {
		return explainUnreachable(err)
	}
	if err := r.drySummary(sink, took).print(r.p.stdout, r.c.Output); err != nil {
		return fmt.Errorf("writing the summary: %w", err)
	}
	return nil
}

// drySummary is what a replay would do. Its JSON form is for programs.
type drySummary struct {
	DryRun bool        `json:"dry_run"`
	Topics []*dryTopic `json:"topics"`
	Total  dryTopic    `json:"total"`
	// Seconds is how long the replay would take at least: as long as reading has taken, or as --rate allows.
	Seconds float64 `json:"estimated_seconds"`
	Rate    float64 `json:"rate,omitempty"` // of --rate
	Read    int64   `json:"read"`
	NotJSON int64   `json:"not_json"`
	Failed  int64   `json:"jq_failed"`
	Failure string  `json:"first_jq_failure,omitempty"`

	Missing []replayMissing `json:"missing"`
}

func (r *replay) drySummary(sink *drySink, took time.Duration) *drySummary {
	total := r.total()
	s := &drySummary{
		DryRun: true, Topics: []*dryTopic{}, Seconds: took.Seconds(), Rate: r.c.Rate, Read: total.Read,
		NotJSON: total.NotJSON, Failed: total.Failed, Failure: total.Failure, Missing: append([]replayMissing{}, r.missing...),
	}
	for _, t := range sink.topics {
		s.Topics = append(s.Topics, t)
		s.Total.Records += t.Records
		s.Total.Bytes += t.Bytes
		if s.Total.First.IsZero() || t.First.Before(s.Total.First) {
			s.Total.First = t.First
		}
		if t.Last.After(s.Total.Last) {
			s.Total.Last = t.Last
		}
	}
	slices.SortFunc(s.Topics, func(a, b *dryTopic) int { return cmp.Compare(a.Topic, b.Topic) })
	if s.Rate > 0 {
		s.Seconds = max(s.Seconds, float64(s.Total.Records)/s.Rate)
	}
	return s
}

func (s *drySummary) print(w io.Writer, format string) error {
	if format == "json" {
		return indented(w, s)
	}
	if s.Total.Records == 0 {
		_, err := fmt.Fprintf(w, "There is nothing to replay: %s records read, none wanted.\n", count(s.Read))
		return err
	}
	if _, err := fmt.Fprintln(w, s.table()); err != nil {
		return err
	}
	for _, m := range s.Missing {
		fmt.Fprintln(w, m.text())
	}
	if s.NotJSON > 0 {
		fmt.Fprintf(w, "%s records aren't JSON, and aren't wanted therefore\n", count(s.NotJSON))
	}
	if s.Failed > 0 {
		fmt.Fprintf(w, "%s records aren't wanted because --jq fails on them; the first is %s\n", count(s.Failed), s.Failure)
	}
	why := "as long as reading took"
	if s.Rate > 0 {
		why = fmt.Sprintf("at %v/s", s.Rate)
	}
	_, err := fmt.Fprintf(w, "It would take at least %s (%s). Nothing was written.\n", seconds(s.Seconds), why)
	return err
}

func (s *drySummary) table() string {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Options = table.OptionsNoBordersAndSeparators
	t.Style().Format.Header, t.Style().Format.Footer = text.FormatLower, text.FormatDefault
	t.SetColumnConfigs([]table.ColumnConfig{
		{Number: 2, Align: text.AlignRight, AlignFooter: text.AlignRight}, {Number: 3, Align: text.AlignRight, AlignFooter: text.AlignRight},
	})
	t.AppendHeader(table.Row{"topic", "records", "bytes", "first", "last"})
	row := func(name string, x *dryTopic) table.Row {
		return table.Row{name, count(x.Records), count(x.Bytes), x.First.Format(time.RFC3339), x.Last.Format(time.RFC3339)}
	}
	for _, x := range s.Topics {
		t.AppendRow(row(x.Topic, x))
	}
	t.AppendFooter(row("total", &s.Total))
	return t.Render()
}

// seconds is a duration for people, never nothing.
func seconds(s float64) time.Duration {
	d := time.Duration(s * float64(time.Second))
	if d < 10*time.Second {
		return max(d.Round(100*time.Millisecond), 100*time.Millisecond)
	}
	return d.Round(time.Second)
}
