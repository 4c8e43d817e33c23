package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"sluice/dedupe"
)

// rebuildCounts are the numbers of a run. Every record is one of IDs, TooOld, Untold or Foreign, and every id one of
// Marked, There, Expired, Pending or Occupied.
type rebuildCounts struct {
	Records  int64 `json:"records"`
	IDs      int64 `json:"ids"`
	Marked   int64 `json:"marked"`
	Raised   int64 `json:"marked_over_dead_letter"` // among Marked
	There    int64 `json:"already_there"`
	TooOld   int64 `json:"too_old"`
	Untold   int64 `json:"cannot_be_told"`
	Assumed  int64 `json:"taken_as_sent_without_delivery_id"` // among IDs
	Pending  int64 `json:"being_handled"`
	Occupied int64 `json:"keys_of_others"`
	Expired  int64 `json:"expired_meanwhile"`
	Foreign  int64 `json:"records_of_others"`
}

// add counts what became of a mark.
func (c *rebuildCounts) add(outcome dedupe.MarkOutcome) {
	switch outcome {
	case dedupe.MarkWritten:
		c.Marked++
	case dedupe.MarkRaised:
		c.Marked++
		c.Raised++
	case dedupe.MarkThere:
		c.There++
	case dedupe.MarkTooOld:
		c.Expired++
	case dedupe.MarkForeign:
		c.Occupied++
	case dedupe.MarkPending:
	}
}

// rebuildSummary is what came of a run. Its JSON form is for programs. In a dry run, marked are those that are missing.
type rebuildSummary struct {
	DryRun   bool      `json:"dry_run"`
	Complete bool      `json:"complete"`
	Since    time.Time `json:"since"`
	rebuildCounts
	Topics []rebuildTopic `json:"topics"`
}

func (s *rebuildSummary) print(w io.Writer, format string) error {
	write := s.writeText
	if format == "json" {
		write = s.writeJSON
	}
	if err := write(w); err != nil {
		return fmt.Errorf("writing the summary: %w", err)
	}
	return nil
}

func (s *rebuildSummary) writeJSON(w io.Writer) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	return out.Encode(s)
}

func (s *rebuildSummary) writeText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(n int64, name string) { fmt.Fprintf(t, "%s\t  %s\n", count(n), name) }
	also := func(n int64, name string) {
		if n > 0 {
			line(n, name)
		}
	}
	line(int64(len(s.Topics)), "topics")
	line(s.Records, "records read since "+s.Since.Format(time.RFC3339))
	line(s.IDs, "ids")
	if s.DryRun {
		line(s.Marked, "missing; nothing was written")
	} else {
		line(s.Marked, "marked")
	}
	also(s.Raised, "of these were marked as dead letters only")
	line(s.There, "already there")
	line(s.TooOld+s.Expired, "too old")
	line(s.Untold, "can't be told: their X-CIO-Delivery-ID was left out")
	also(s.Assumed, "have no X-CIO-Delivery-ID and were taken as sent without")
	also(s.Pending, "being handled by an instance")
	also(s.Occupied, "keys hold what Sluice doesn't write")
	also(s.Foreign, "records aren't Sluice's")
	if err := t.Flush(); err != nil {
		return err
	}
	for _, x := range s.Topics {
		switch {
		case !x.NotBefore.IsZero():
			fmt.Fprintf(w, "%s can't be repaired before %s: older records have been deleted\n", x.Topic, x.NotBefore.Format(time.RFC3339))
		case x.Emptied:
			fmt.Fprintf(w, "%s has a partition whose records have all been deleted; any since %s can't be repaired\n", x.Topic, s.Since.Format(time.RFC3339))
		}
	}
	if !s.Complete {
		_, err := fmt.Fprintln(w, "incomplete")
		return err
	}
	return nil
}
