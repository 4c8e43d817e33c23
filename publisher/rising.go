package publisher

import "encoding/binary"

// rising is a queue of numbers of which each is greater than the one before. It holds the differences: a byte or two
// for each, so that a backlog of millions takes no memory to speak of.
type rising struct {
	size        int
	first, last uint64
	rest        []byte // the differences of all but the first, each a uvarint
	read        int    // of rest
}

func (q *rising) push(n uint64) {
	if q.size == 0 {
		q.first = n
	} else {
		q.rest = binary.AppendUvarint(q.rest, n-q.last)
	}
	q.last = n
	q.size++
}

// pop takes the first out; there must be one.
func (q *rising) pop() uint64 {
	n := q.first
	if q.size--; q.size > 0 {
		d, size := binary.Uvarint(q.rest[q.read:])
		q.first += d
		q.read += size
	}
	if q.read > len(q.rest)/2 && q.read >= 1024 || q.size == 0 {
		q.rest = append([]byte(nil), q.rest[q.read:]...)
		q.read = 0
	}
	return n
}
