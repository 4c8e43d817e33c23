package main

import (
	"fmt"
	"maps"
	"slices"

	"sluice/event"
	"sluice/internal/audit"
	"sluice/internal/audit/extent"
	"sluice/publisher"
)

// auditTopics says where events belong in a cluster.
type auditTopics struct {
	where     publisher.TopicOptions
	described map[string]bool // event types whose topics exist from the start
	existing  map[string]bool // topics in the cluster
}

func newAuditTopics(where publisher.TopicOptions) *auditTopics {
	t := &auditTopics{where: where, described: make(map[string]bool)}
	for _, known := range event.Described() {
		t.described[known.Name] = true
	}
	return t
}

// exist tells which topics there are. It comes before all questions.
func (t *auditTopics) exist(names []string) {
	t.existing = make(map[string]bool, len(names))
	for _, name := range names {
		t.existing[name] = true
	}
}

// right names the topics on which an event of a type may be, its own first.
func (t *auditTopics) right(eventType string) []string {
	if eventType == "" {
		return []string{t.where.DeadLetter}
	}
	own := t.where.Name(eventType)
	if t.where.PerType() && own != t.where.Overflow && (!t.described[eventType] || !t.existing[own]) {
		return []string{own, t.where.Overflow}
	}
	return []string{own}
}

// toRead names the topics that exist and may hold events of the types, rightly or not.
func (t *auditTopics) toRead(types map[string]bool) []string {
	names := map[string]bool{t.where.DeadLetter: true}
	if t.where.PerType() {
		names[t.where.Overflow] = true
	}
	for eventType := range types {
		if eventType != "" {
			names[t.where.Name(eventType)] = true
		}
	}
	maps.DeleteFunc(names, func(name string, _ bool) bool { return !t.existing[name] })
	return slices.Sorted(maps.Keys(names))
}

// missing says which topics ought to be there and aren't. Those of other types needn't be.
func (t *auditTopics) missing(types map[string]bool) (notes []string) {
	absent := make(map[string]bool)
	for eventType := range types {
		if own := t.right(eventType)[0]; !t.existing[own] && (eventType == "" || t.described[eventType] || !t.where.PerType()) {
			absent[own] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(absent)) {
		notes = append(notes, fmt.Sprintf("topic %s doesn't exist, or this login may not see it", name))
	}
	return notes
}

// cutNotes says where records have been deleted that may have been of the time asked for. That a partition is empty
// means nothing as long as nothing is missed there.
func cutNotes(extents []extent.Extent, topics *auditTopics, lost []audit.Finding) (notes []string) {
	missed := make(map[string]bool)
	for _, f := range lost {
		for _, topic := range topics.right(f.Type) {
			missed[topic] = true
		}
	}
	for _, e := range extents {
		if !e.Cut() || e.First == e.End && !missed[e.Topic] {
			continue
		}
		text := "%s[%d] begins at offset %d with a record that is later than what was asked for"
		if e.First == e.End {
			text = "%s[%d] is empty up to its end at offset %d"
		}
		notes = append(notes, fmt.Sprintf(text+": older ones were deleted, as by retention, and what is missing there can't be told from lost",
			e.Topic, e.Partition, e.First))
	}
	return notes
}
