package idempotent

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"time"
)

// Offsets in a record batch of format 2, after the four bytes of size that
// precede it in a produce request.
// Source: the Kafka documentation, "Message Format", "Record Batch".
const (
	batchHeader    = 61 // bytes before the first record
	offLength      = 8  // bytes that follow this field
	offLeaderEpoch = 12
	offMagic       = 16
	offCRC         = 17 // CRC-32C of everything from offAttributes
	offAttributes  = 21
	offLastDelta   = 23
	offFirstTime   = 27
	offMaxTime     = 35
	offProducerID  = 43
	offEpoch       = 51
	offSequence    = 53
	offCount       = 57

	sizePrefix = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli) //nolint:gochecknoglobals // a constant table

// stamp is what makes a batch recognisable to the broker that holds the
// partition: the producer's id and epoch, and the sequence number of the
// first record.
type stamp struct {
	producerID int64
	epoch      int16
	sequence   int32
}

// nextSequence is the sequence number n records after seq: they run from 0 to
// 2147483647 and start again.
func nextSequence(seq int32, n int) int32 {
	return int32((int64(seq) + int64(n)) & math.MaxInt32)
}

// encodeBatch renders records as one uncompressed batch of format 2, preceded
// by its size as the Produce request wants it. All records carry the time at:
// a broker forgets a producer whose records are old, whenever they arrive.
func encodeBatch(records []*Record, s stamp, at time.Time) []byte {
	return appendBatch(make([]byte, 0, batchSize(records)), records, s, at)
}

// batchSize is the most bytes that a batch of the records takes.
func batchSize(records []*Record) int {
	size := sizePrefix + batchHeader
	for _, r := range records {
		size += r.size
	}
	return size
}

// encode is encodeBatch into a buffer of a batch that was sent once and acknowledged: nothing reads that any more.
func (p *Producer) encode(records []*Record, s stamp, at time.Time) []byte {
	if used, is := p.buffers.Get().(*[]byte); is && cap(*used) >= batchSize(records) {
		return appendBatch((*used)[:0], records, s, at)
	}
	return encodeBatch(records, s, at)
}

// reuse takes back the buffer of an acknowledged batch, unless an earlier attempt may still be under way from it.
func (p *Producer) reuse(b *batch) {
	if !b.ambiguous && !b.restored {
		p.buffers.Put(&b.encoded)
	}
}

// appendBatch appends an encoded batch to an empty buffer.
func appendBatch(b []byte, records []*Record, s stamp, at time.Time) []byte {
	var head [sizePrefix + batchHeader]byte
	b = append(b, head[:]...)
	for i, r := range records {
		b = appendRecord(b, r, int64(i))
	}

	be := binary.BigEndian
	be.PutUint32(b, uint32(len(b)-sizePrefix))
	h := b[sizePrefix:]
	be.PutUint32(h[offLength:], uint32(len(h)-offLeaderEpoch))
	be.PutUint32(h[offLeaderEpoch:], math.MaxUint32) // -1: the broker fills it in
	h[offMagic] = 2
	be.PutUint32(h[offLastDelta:], uint32(len(records)-1))
	be.PutUint64(h[offFirstTime:], uint64(at.UnixMilli()))
	be.PutUint64(h[offMaxTime:], uint64(at.UnixMilli()))
	be.PutUint64(h[offProducerID:], uint64(s.producerID))
	be.PutUint16(h[offEpoch:], uint16(s.epoch))
	be.PutUint32(h[offSequence:], uint32(s.sequence))
	be.PutUint32(h[offCount:], uint32(len(records)))
	be.PutUint32(h[offCRC:], crc32.Checksum(h[offAttributes:], castagnoli))
	return b
}

// appendRecord appends one record. Its attributes and time delta are 0.
func appendRecord(b []byte, r *Record, offsetDelta int64) []byte {
	body := 2 + varintSize(offsetDelta) + bytesSize(r.Key) + bytesSize(r.Value) + varintSize(int64(len(r.Headers)))
	for i := range r.Headers {
		h := &r.Headers[i]
		body += varintSize(int64(len(h.Key))) + len(h.Key)
		if h.Null {
			body += varintSize(-1)
			continue
		}
		body += varintSize(int64(len(h.Value))) + len(h.Value)
	}
	b = binary.AppendVarint(b, int64(body))
	b = append(b, 0, 0)
	b = binary.AppendVarint(b, offsetDelta)
	b = appendBytes(b, r.Key)
	b = appendBytes(b, r.Value)
	b = binary.AppendVarint(b, int64(len(r.Headers)))
	for i := range r.Headers {
		h := &r.Headers[i]
		b = appendString(b, h.Key)
		if h.Null {
			b = binary.AppendVarint(b, -1)
			continue
		}
		b = appendString(b, h.Value)
	}
	return b
}

// maxRecordSize is an upper bound of what appendRecord will append, whatever
// the record's place in its batch.
func maxRecordSize(r *Record) int {
	n := 2 + 5*binary.MaxVarintLen32 + len(r.Key) + len(r.Value)
	for i := range r.Headers {
		h := &r.Headers[i]
		n += 2*binary.MaxVarintLen32 + len(h.Key) + len(h.Value)
	}
	return n
}

func appendBytes(b, v []byte) []byte {
	if v == nil {
		return binary.AppendVarint(b, -1)
	}
	return append(binary.AppendVarint(b, int64(len(v))), v...)
}

func appendString(b []byte, v string) []byte {
	return append(binary.AppendVarint(b, int64(len(v))), v...)
}

func bytesSize(v []byte) int {
	if v == nil {
		return varintSize(-1)
	}
	return varintSize(int64(len(v))) + len(v)
}

func varintSize(v int64) int {
	n := 1
	for u := uint64(v)<<1 ^ uint64(v>>63); u >= 0x80; u >>= 7 {
		n++
	}
	return n
}
