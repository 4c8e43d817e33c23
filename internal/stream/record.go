package stream

import (
	"cmp"
	"slices"
	"time"
)

// Record is one Kafka record. Its bytes are shared with other records of the same fetch and must not be changed.
type Record struct {
	Topic     string
	Partition int
	Offset    int64
	Time      time.Time // to the millisecond, UTC
	Key       []byte    // nil: none
	Headers   []Header  // in the order written; names may repeat
	Value     []byte    // nil: a tombstone
}

// Header is one header of a record.
type Header struct {
	Key   string
	Value []byte // nil: none
}

// Header is the value of the last header with that name, "" if there is none.
func (r *Record) Header(name string) string {
	return string(r.HeaderBytes(name))
}

// HeaderBytes is Header without a copy.
func (r *Record) HeaderBytes(name string) []byte {
	for _, h := range slices.Backward(r.Headers) {
		if h.Key == name {
			return h.Value
		}
	}
	return nil
}

// Clone copies what the record shares with others, so that keeping it doesn't keep the whole fetch.
func (r *Record) Clone() Record {
	c := *r
	c.Key, c.Value = slices.Clone(r.Key), slices.Clone(r.Value)
	c.Headers = slices.Clone(r.Headers)
	for i := range c.Headers {
		c.Headers[i].Value = slices.Clone(c.Headers[i].Value)
	}
	return c
}

// compare orders records by time; those of the same time by where they are.
func compare(a, b *Record) int {
	return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Topic, b.Topic),
		cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
}

// Size is how many bytes key, value and headers have together.
func (r *Record) Size() int {
	n := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return n
}
