package main

import (
	"crypto/sha256"
	"fmt"

	"sluice/internal/audit"
	"sluice/internal/audit/extent"
	"sluice/internal/stream"
)

// reasonHeader says on dead letters why they are.
const reasonHeader = "sluice-reason"

// auditReading passes records on without their values, and notes how far they came.
type auditReading struct {
	take     func(audit.Record)
	progress *auditProgress
	reached  map[auditPartition]int64 // the offset after the last record
}

type auditPartition struct {
	topic  string
	number int32
}

func (a *auditReading) record(r stream.Record) error {
	a.take(audit.Record{
		Topic: r.Topic, Partition: int32(r.Partition), Offset: r.Offset,
		ID: r.Header("ce_id"), EventType: r.Header(eventTypeHeader), Reason: r.Header(reasonHeader), Body: sha256.Sum256(r.Value),
	})
	a.reached[auditPartition{r.Topic, int32(r.Partition)}] = r.Offset + 1
	a.progress.read.Add(1)
	return nil
}

// incomplete says which partitions weren't read up to where they ended at the start.
func (a *auditReading) incomplete(extents []extent.Extent) (notes []string) {
	for _, e := range extents {
		if at := max(a.reached[auditPartition{e.Topic, e.Partition}], e.Since); at < e.End {
			notes = append(notes, fmt.Sprintf("%s[%d] could be read up to offset %d only, and ended at %d", e.Topic, e.Partition, at, e.End))
		}
	}
	return notes
}
