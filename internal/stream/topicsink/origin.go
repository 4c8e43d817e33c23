package topicsink

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sort"

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

// origins are those of the journal, as spans of offsets by partition.
type origins map[stream.Partition][]span

// span is the offsets from first up to end, which is left out.
type span struct{ first, end int64 }

// collect makes spans of what the journal's entries hold.
func collect(sent map[uint64][]origin) origins {
	offsets := make(map[stream.Partition][]int64)
	for _, entry := range sent {
		for _, o := range entry {
			offsets[o.Partition] = append(offsets[o.Partition], o.offset)
		}
	}
	all := make(origins, len(offsets))
	for p, list := range offsets {
		slices.Sort(list)
		var spans []span
		for _, o := range list {
			if last := len(spans) - 1; last >= 0 && o <= spans[last].end {
				spans[last].end = o + 1
				continue
			}
			spans = append(spans, span{o, o + 1})
		}
		all[p] = slices.Clip(spans)
	}
	return all
}

// has reports whether the record is one of them.
func (o origins) has(r *stream.Record) bool {
	if len(o) == 0 {
		return false
	}
	spans := o[stream.Partition{Topic: r.Topic, ID: r.Partition}]
	i := sort.Search(len(spans), func(i int) bool { return spans[i].end > r.Offset })
	return i < len(spans) && spans[i].first <= r.Offset
}
