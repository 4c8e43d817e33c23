package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"testing"
	"time"
)

// testBatch builds a record batch whose records have the offsets base+deltas and the values "base+delta".
type testBatch struct {
	base       int64
	last       int32 // delta of the last offset that the batch stands for
	deltas     []int64
	attributes int16
	producer   int64
}

func (b testBatch) bytes() []byte {
	var body []byte
	for _, delta := range b.deltas {
		var r []byte
		r = append(r, 0)
		r = binary.AppendVarint(r, delta) // of time
		r = binary.AppendVarint(r, delta)
		r = binary.AppendVarint(r, -1) // no key
		value := fmt.Sprint(b.base + delta)
		r = append(binary.AppendVarint(r, int64(len(value))), value...)
		r = binary.AppendVarint(r, 0) // headers
		body = append(binary.AppendVarint(body, int64(len(r))), r...)
	}
	be := binary.BigEndian
	var tail []byte
	tail = be.AppendUint16(tail, uint16(b.attributes))
	tail = be.AppendUint32(tail, uint32(b.last))
	tail = be.AppendUint64(tail, 1000)
	tail = be.AppendUint64(tail, 5000)
	tail = be.AppendUint64(tail, uint64(b.producer))
	tail = be.AppendUint16(tail, 0)
	tail = be.AppendUint32(tail, 0)
	tail = be.AppendUint32(tail, uint32(len(b.deltas)))
	tail = append(tail, body...)
	out := be.AppendUint64(nil, uint64(b.base))
	out = be.AppendUint32(out, uint32(9+len(tail)))
	out = append(out, 0, 0, 0, 0, 2) // leader's epoch, format
	out = be.AppendUint32(out, crc32.Checksum(tail, crc32.MakeTable(crc32.Castagnoli)))
	return append(out, tail...)
}

func joined(all ...testBatch) (raw []byte) {
	for _, b := range all {
		raw = append(raw, b.bytes()...)
	}
	return raw
}

func TestBatches(t *testing.T) {
	whole := testBatch{base: 10, last: 2, deltas: []int64{0, 1, 2}}
	next := testBatch{base: 13, last: 0, deltas: []int64{0}}
	old := whole.bytes()
	old[16] = 1
	damaged := whole.bytes()
	damaged[len(damaged)-2] ^= 1
	short := whole.bytes()
	binary.BigEndian.PutUint32(short[8:], 3)
	tests := []struct {
		name    string
		raw     []byte
		from    int64
		aborted []aborted
		want    []int64
		next    int64
		err     error
	}{
		{name: "nothing", from: 7, next: 7},
		{name: "two", raw: joined(whole, next), from: 10, want: []int64{10, 11, 12, 13}, next: 14},
		{name: "from within", raw: joined(whole, next), from: 12, want: []int64{12, 13}, next: 14},
		{name: "cut off", raw: joined(whole, next)[:len(joined(whole))+30], from: 10, want: []int64{10, 11, 12}, next: 13},
		{name: "compacted at its end", raw: joined(testBatch{base: 10, last: 9, deltas: []int64{1}}), from: 10, want: []int64{11}, next: 20},
		{name: "compacted behind the place", raw: joined(testBatch{base: 10, last: 9, deltas: []int64{1}}), from: 15, next: 20},
		{name: "compacted away", raw: joined(testBatch{base: 10, last: 9}, testBatch{base: 20, deltas: []int64{0}}), from: 10, want: []int64{20}, next: 21},
		{name: "marker", raw: joined(whole, testBatch{base: 13, deltas: []int64{0}, attributes: attrControl}), from: 10, want: []int64{10, 11, 12}, next: 14},
		{
			name: "aborted",
			raw: joined(
				testBatch{base: 10, deltas: []int64{0}, attributes: attrTransactional, producer: 1},
				testBatch{base: 11, deltas: []int64{0}, attributes: attrTransactional, producer: 2},
				testBatch{base: 12, deltas: []int64{0}, producer: 1}, // not part of a transaction
				testBatch{base: 13, deltas: []int64{0}, attributes: attrTransactional | attrControl, producer: 1},
				testBatch{base: 14, deltas: []int64{0}, attributes: attrTransactional, producer: 1}),
			from: 10, aborted: []aborted{{1, 10}}, want: []int64{11, 12, 14}, next: 15,
		},
		{name: "old format", raw: old, from: 10, next: 10, err: errOldFormat},
		{name: "damaged", raw: append(next.bytes(), damaged...), from: 10, want: []int64{13}, next: 14, err: errBatch},
		{name: "impossible length", raw: short, from: 10, next: 10, err: errBatch},
		{name: "unknown compression", raw: joined(testBatch{base: 10, deltas: []int64{0}, attributes: 7}), from: 10, next: 10, err: errBatch},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := batches{topic: "t", partition: 4, from: test.from, aborted: test.aborted}
			records, next, err := b.read(test.raw)
			var got []int64
			for _, r := range records {
				got = append(got, r.Offset)
				if r.Topic != "t" || r.Partition != 4 || string(r.Value) != fmt.Sprint(r.Offset) {
					t.Errorf("%+v", r)
				}
			}
			if !slices.Equal(got, test.want) || next != test.next || !errors.Is(err, test.err) {
				t.Errorf("offsets %v, next %d, error %v; want %v, %d, %v", got, next, err, test.want, test.next, test.err)
			}
		})
	}
}

func TestBatchTimes(t *testing.T) {
	for attributes, want := range map[int16]int64{0: 1002, attrAppendTime: 5000} {
		b := batches{}
		records, _, err := b.read(testBatch{last: 2, deltas: []int64{2}, attributes: attributes}.bytes())
		if err != nil || !records[0].Time.Equal(time.UnixMilli(want)) {
			t.Errorf("attributes %b: %v, %v", attributes, records, err)
		}
	}
}

// FuzzBatches: damaged bytes give errors, not panics, and never lead back.
func FuzzBatches(f *testing.F) {
	f.Add(joined(testBatch{base: 10, last: 2, deltas: []int64{0, 1, 2}}), int64(10))
	f.Add(joined(testBatch{base: 10, last: 9, deltas: []int64{1}}, testBatch{base: 20, deltas: []int64{0}, attributes: 2}), int64(0))
	f.Fuzz(func(t *testing.T, raw []byte, from int64) {
		if len(raw) >= batchHeader { // as if the broker had meant it
			binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
			binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
		}
		b := batches{from: from}
		records, next, _ := b.read(raw)
		if next < from || slices.ContainsFunc(records, func(r Record) bool { return r.Offset < from }) {
			t.Errorf("next %d, records %v", next, records)
		}
	})
}
