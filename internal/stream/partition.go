package stream

import (
	"time"
)

// partition is what a [run] knows of one partition. It belongs to the run's own goroutine.
type partition struct {
	id     partitionID
	leader int32 // -1: none
	busy   bool  // part of a job that is under way

	place place // where to begin, while resolved is false
	// resolved: pos is the next offset to fetch, and first and end hold.
	resolved   bool
	pos        int64
	first, end int64 // of the backlog: as of the start, and within Since and Until

	// backlog: the merge waits for it, up to end. Afterwards, and for partitions that came later, it is live.
	backlog bool
	buf     []Record // of the backlog, fetched and not yet merged
	ahead   []Record // the same, behind buf

	served   uint64    // when it last gave records, in fetches; the others get their turn first
	servedBy int32     // the broker that last answered for it, -1: none yet
	gone     bool      // that broker says that the topic is no more
	goneAt   time.Time // since when
	badSince time.Time // zero: its last answer was good
	badCause error
}

// place is where to begin in a partition.
type place struct {
	kind placeKind
	back int64 // offsets before the end, for placeBack
}

type placeKind int

const (
	placeFirst placeKind = iota // the oldest record
	placeNow                    // what is appended from now on
	placeSince                  // Options.Since
	placeBack                   // some offsets before the end, but not before Options.Since
	placeAgain                  // at the position reached, or the oldest record if the log has lost that
)

// bounds are the answers about a partition that placing needs.
type bounds struct {
	first, end   int64
	since, until int64     // -1: nothing as late
	firstTime    time.Time // of the record to begin with, where there is one
	err          error
}

// settle takes over where to begin and where the backlog ends.
func (p *partition) settle(b bounds) {
	first, end := b.first, b.end
	if b.since >= 0 {
		first = min(b.since, end)
	}
	if b.until >= 0 {
		end = min(b.until, end)
	}
	switch p.place.kind {
	case placeFirst, placeSince:
		p.pos = first
	case placeNow:
		p.pos = end
	case placeBack:
		p.pos = max(first, end-p.place.back)
	}
	p.first, p.end, p.resolved = first, end, true
}

// add takes over records that were fetched.
func (p *partition) add(records []Record) {
	if len(p.buf) == 0 {
		p.buf = records
	} else {
		p.ahead = records
	}
}

// starved reports whether the merge can't go on without this partition. One that has been failing for longer than
// patience is no longer waited for.
func (p *partition) starved(now time.Time, patience time.Duration) bool {
	return p.backlog && len(p.buf) == 0 && !p.gone && (!p.resolved || p.pos < p.end) &&
		!p.overdue(now, patience)
}

func (p *partition) overdue(now time.Time, patience time.Duration) bool {
	return !p.badSince.IsZero() && now.Sub(p.badSince) >= patience
}

// wants reports whether it is to be fetched now; with early, also what comes behind the records at hand.
func (p *partition) wants(merging, early bool) bool {
	if !p.resolved || p.gone || p.busy || p.leader < 0 {
		return false
	}
	if merging {
		return p.backlog && len(p.ahead) == 0 && (early || len(p.buf) == 0) && p.pos < p.end
	}
	return true
}

func (p *partition) good() { p.badSince, p.badCause = time.Time{}, nil }

func (p *partition) bad(now time.Time, cause error) {
	if p.badSince.IsZero() {
		p.badSince = now
	}
	p.badCause = cause
}
