package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// importShown is how far an import has come.
type importShown struct {
	total, read int64 // bytes of the input, packed as it may be; total 0: nobody knows
	records     int64
	began       time.Time
}

// text is a line about it.
func (s importShown) text(now time.Time) string {
	text := fmt.Sprintf("read %s", megabytes(s.read))
	if s.total > 0 {
		text += " of " + megabytes(s.total)
	}
	text += fmt.Sprintf(", %s records", count(s.records))
	took := now.Sub(s.began)
	if took < time.Second || s.read == 0 {
		return text
	}
	text += fmt.Sprintf(", %s/s", count(int64(float64(s.records)/took.Seconds())))
	if rest := s.total - s.read; rest > 0 {
		text += fmt.Sprintf(", %s left", time.Duration(float64(rest)/float64(s.read)*float64(took)).Round(time.Second))
	}
	return text
}

// extent is how much of it has been read.
func (s importShown) extent() (done, total int64) { return s.read, s.total }

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// importSummary is what came of an import. Its JSON form is for programs.
type importSummary struct {
	ID       string `json:"import_id"`
	Complete bool   `json:"complete"`
	DryRun   bool   `json:"dry_run"`
	Kind     string `json:"kind"` // records or bodies, "" if there were none
	importCounts
}

func (r *importing) summary(complete bool) *importSummary {
	s := &importSummary{ID: r.state.ID, Complete: complete, DryRun: r.c.DryRun, importCounts: r.total()}
	switch {
	case r.source.begun && r.source.bodies:
		s.Kind = "bodies"
	case r.source.begun:
		s.Kind = "records"
	}
	return s
}

func (s *importSummary) print(w io.Writer, format string) error {
	write := s.writeText
	if format == "json" {
		write = func(w io.Writer) error { return indented(w, s) }
	}
	if err := write(w); err != nil {
		return fmt.Errorf("writing the summary: %w", err)
	}
	return nil
}

func (s *importSummary) writeText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(n int64, name string) { fmt.Fprintf(t, "%s\t  %s\n", count(n), name) }
	written := "imported"
	if s.DryRun {
		written = "would be imported"
	}
	line(s.Lines, "lines of "+s.Kind)
	line(s.Events, written)
	if s.Dead > 0 {
		line(s.Dead, "of them as dead letters")
	}
	line(s.Bytes, "bytes of keys, values and headers")
	if s.Repeated > 0 {
		line(s.Repeated, "left out: the input has them twice")
	}
	if s.Kept > 0 {
		line(s.Kept, "left out: kept already, as Redis says")
	}
	if s.Malformed > 0 {
		line(s.Malformed, "left out: can't be read")
	}
	if err := t.Flush(); err != nil {
		return err
	}
	end := "complete"
	if !s.Complete {
		end = "incomplete"
	}
	_, err := fmt.Fprintf(w, "import %s: %s\n", s.ID, end)
	return err
}
