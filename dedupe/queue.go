package dedupe

// queue is a first-in-first-out ring that grows and shrinks. Not safe for concurrent use.
type queue[T any] struct {
	ring []T // length is zero or a power of two
	head int
	n    int
}

func (q *queue[T]) len() int { return q.n }

func (q *queue[T]) push(v T) {
	if q.n == len(q.ring) {
		q.resize(max(16, 2*q.n))
	}
	q.ring[(q.head+q.n)&(len(q.ring)-1)] = v
	q.n++
}

// unshift puts v before all others.
func (q *queue[T]) unshift(v T) {
	if q.n == len(q.ring) {
		q.resize(max(16, 2*q.n))
	}
	q.head = (q.head - 1) & (len(q.ring) - 1)
	q.ring[q.head] = v
	q.n++
}

// pop takes the first; the queue must not be empty.
func (q *queue[T]) pop() T {
	var zero T
	v := q.ring[q.head]
	q.ring[q.head] = zero
	q.head = (q.head + 1) & (len(q.ring) - 1)
	q.n--
	// What an outage piled up is given back.
	if len(q.ring) > 1024 && q.n < len(q.ring)/8 {
		q.resize(len(q.ring) / 4)
	}
	return v
}

func (q *queue[T]) resize(size int) {
	ring := make([]T, size)
	for i := range q.n {
		ring[i] = q.ring[(q.head+i)&(len(q.ring)-1)]
	}
	q.ring, q.head = ring, 0
}
