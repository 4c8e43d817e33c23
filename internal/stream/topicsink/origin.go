package topicsink

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"sluice/internal/stream"
)

// appendOrigin appends where a record came from, as it stands in the journal beside the record.
func appendOrigin(b []byte, r *stream.Record) []byte {
	b = binary.AppendUvarint(b, uint64(r.Offset))
	b = binary.AppendUvarint(b, uint64(r.Partition))
	return append(b, r.Topic...)
}

// origin is where a record came from.
type origin struct {
	stream.Partition
	offset int64
}

func (o origin) String() string { return fmt.Sprintf("%s[%d]@%d", o.Topic, o.ID, o.offset) }

// parseOrigin reads what appendOrigin has written.
func parseOrigin(tag string) (o origin, ok bool) {
	b := []byte(tag)
	offset, n := binary.Uvarint(b)
	if n <= 0 {
		return o, false
	}
	partition, m := binary.Uvarint(b[n:])
	if m <= 0 {
		return o, false
	}
	return origin{stream.Partition{Topic: string(b[n+m:]), ID: int(partition)}, int64(offset)}, true
}

// origins are those that the source may give again although they were sent, as spans of offsets by partition.
type origins map[stream.Partition][]span

// span is the offsets from first up to end, which is left out.
type span struct{ first, end int64 }

// add takes over the origins of one entry of the journal.
func (o origins) add(list []origin) {
	for _, x := range list {
		spans := o[x.Partition]
		if last := len(spans) - 1; last >= 0 && x.offset == spans[last].end {
			spans[last].end++
			continue
		}
		o[x.Partition] = append(spans, span{x.offset, x.offset + 1})
	}
}

// join puts spans in order and joins those that touch.
func (o origins) join() {
	for p, spans := range o {
		slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.first, b.first) })
		joined := spans[:1]
		for _, s := range spans[1:] {
			if last := &joined[len(joined)-1]; s.first <= last.end {
				last.end = max(last.end, s.end)
				continue
			}
			joined = append(joined, s)
		}
		o[p] = slices.Clip(joined)
	}
}

// pass reports whether the record is one of them. It forgets those before it: the source gives a partition's records in
// their order.
func (o origins) pass(r *stream.Record) bool {
	if len(o) == 0 {
		return false
	}
	p := stream.Partition{Topic: r.Topic, ID: r.Partition}
	spans, is := o[p]
	if !is {
		return false
	}
	for len(spans) > 0 && spans[0].end <= r.Offset {
		spans = spans[1:]
	}
	if o[p] = spans; len(spans) == 0 {
		delete(o, p)
		return false
	}
	return spans[0].first <= r.Offset
}

// encode is the payload of an entry: the kind, and by partition its topic, number and spans. Texts have their length
// before them, and all numbers are uvarints.
func (o origins) encode() []byte {
	b := []byte{originsEntry}
	for p, spans := range o {
		b = binary.AppendUvarint(b, uint64(len(p.Topic)))
		b = append(b, p.Topic...)
		b = binary.AppendUvarint(b, uint64(p.ID))
		b = binary.AppendUvarint(b, uint64(len(spans)))
		for _, s := range spans {
			b = binary.AppendUvarint(b, uint64(s.first))
			b = binary.AppendUvarint(b, uint64(s.end-s.first))
		}
	}
	return b
}

// decode adds what encode has written.
func (o origins) decode(payload []byte) error {
	in := bytes.NewReader(payload[1:])
	for in.Len() > 0 {
		var err error
		number := func() uint64 {
			n, failed := binary.ReadUvarint(in)
			err = errors.Join(err, failed)
			return n
		}
		size := number()
		if size > uint64(in.Len()) {
			return io.ErrUnexpectedEOF
		}
		topic := make([]byte, size)
		_, failed := io.ReadFull(in, topic)
		p := stream.Partition{Topic: string(topic), ID: int(number())}
		for n := number(); n > 0 && err == nil; n-- {
			first := int64(number())
			o[p] = append(o[p], span{first, first + int64(number())})
		}
		if err = errors.Join(err, failed); err != nil {
			return err
		}
	}
	return nil
}
