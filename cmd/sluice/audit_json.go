package main

import (
	"encoding/hex"
	"encoding/json"
	"io"
	"time"

	"sluice/internal/audit"
)

// auditJSON is the report for programs.
type auditJSON struct {
	Balanced     bool               `json:"balanced"` // what the exit code says
	Since        time.Time          `json:"since"`
	Ledgers      int                `json:"ledgers"`
	Events       int                `json:"events"`
	Acknowledged int                `json:"acknowledged"`
	Records      int                `json:"records"`
	Lost         int                `json:"lost"`
	Doubled      int                `json:"doubled"`
	Changed      int                `json:"changed"`
	Misplaced    int                `json:"misplaced"`
	Headers      int                `json:"headers"`
	DeadLettered int                `json:"dead_lettered"`
	Foreign      int                `json:"foreign"`
	Notes        []string           `json:"notes"`
	Incomplete   []string           `json:"incomplete"`
	Findings     []auditFindingJSON `json:"findings"`
}

type auditFindingJSON struct {
	Kind      string        `json:"kind"`
	Event     string        `json:"event,omitempty"`
	EventType string        `json:"event_type,omitempty"`
	SHA256    string        `json:"sha256,omitempty"`
	Records   []audit.Place `json:"records"`
	Detail    string        `json:"detail"`
}

// writeJSON writes the report with all findings, whatever most says.
func (r *auditResult) writeJSON(w io.Writer, _ int) error {
	out := auditJSON{
		Balanced: r.verdict() == nil, Since: r.since.UTC(), Ledgers: r.ledgers,
		Events: r.report.Sent, Acknowledged: r.report.Acknowledged, Records: r.report.Records,
		Lost: len(r.report.Lost), Doubled: len(r.report.Doubled), Changed: len(r.report.Changed),
		Misplaced: len(r.report.Misplaced), Headers: len(r.report.Headers),
		DeadLettered: r.report.DeadLettered, Foreign: r.report.Foreign,
		Notes: append([]string{}, r.notes...), Incomplete: append([]string{}, r.incomplete...), Findings: []auditFindingJSON{},
	}
	for _, kind := range findingKinds(r.report) {
		for _, f := range kind.findings {
			out.Findings = append(out.Findings, auditFindingJSON{
				Kind: kind.word, Event: f.Event, EventType: f.Type, SHA256: hex.EncodeToString(f.Body[:]),
				Records: append([]audit.Place{}, f.Records...), Detail: f.Detail,
			})
		}
	}
	for _, place := range r.report.ForeignRecords {
		out.Findings = append(out.Findings, auditFindingJSON{Kind: "foreign", Records: []audit.Place{place}, Detail: "no ledger explains it"})
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(out)
}
