package sender

// The bounds of what one worker keeps to post again: a few events later is enough to be no longer the same moment.
const (
	repeatAfter  = 8       // events of the same worker
	maxKeptBytes = 4 << 20 // of bodies
)

// queue holds acknowledged events until they are posted again. It belongs to one worker.
type queue struct {
	kept  []keptEvent
	bytes int
	now   int // events seen
}

type keptEvent struct {
	event Event
	due   int
}

func (q *queue) len() int { return len(q.kept) }

// next says that an event has passed.
func (q *queue) next() { q.now++ }

func (q *queue) add(e Event) {
	q.kept = append(q.kept, keptEvent{e, q.now + repeatAfter})
	q.bytes += len(e.Body)
}

// full reports whether the oldest event's time has come, or there is no room to let it wait.
func (q *queue) full() bool {
	return len(q.kept) > 0 && (q.kept[0].due <= q.now || q.bytes > maxKeptBytes)
}

// take removes the oldest.
func (q *queue) take() Event {
	e := q.kept[0].event
	q.kept[0] = keptEvent{}
	q.kept = q.kept[1:]
	q.bytes -= len(e.Body)
	return e
}
