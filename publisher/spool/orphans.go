package spool

// Orphans is how many folders of other instances, locked by nobody, couldn't be taken over at the start.
func (l *Log) Orphans() int { return l.orphans }
