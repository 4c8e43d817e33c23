package stream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"time"

	"github.com/segmentio/kafka-go/compress"
)

// What is read here is the record batch of Kafka 0.11 and later (message format v2): the Kafka documentation, "Record
// Batch". kafka-go's own reader drops the batch's last offset, without which a partition that was compacted, or that ends
// with the marker of a transaction, can't be read to its end.

var (
	errBatch     = errors.New("damaged record batch")
	errOldFormat = errors.New("record batch in a format older than Kafka 0.11")
)

const (
	batchHeader = 61
	// leastRecord is the size of a record without anything in it.
	leastRecord = 7
	// maxUnpacked bounds a batch after decompression, well over any max.message.bytes.
	maxUnpacked = 256 << 20

	attrCompression   = 0b000111
	attrAppendTime    = 0b001000 // the broker's time, the same for the whole batch
	attrTransactional = 0b010000
	attrControl       = 0b100000
)

// aborted is a transaction whose records don't count.
type aborted struct{ producerID, first int64 }

// batches turns the bytes of one partition in a fetch response into records.
type batches struct {
	topic     string
	partition int
	from      int64     // records before this offset aren't wanted
	aborted   []aborted // by first offset
	open      map[int64]bool
	names     headerNames
	room      []Header // for the headers of the next records
}

// read returns the records and the offset to go on at. A batch that is cut off at the end is left for the next fetch.
// With an error, the records before the damage are returned.
func (b *batches) read(raw []byte) (records []Record, next int64, err error) {
	next = b.from
	b.open, b.names = make(map[int64]bool), make(headerNames)
	slices.SortFunc(b.aborted, func(x, y aborted) int { return int(min(1, max(-1, x.first-y.first))) })
	for len(raw) >= 17 {
		size := 12 + int(int32(binary.BigEndian.Uint32(raw[8:])))
		if raw[16] < 2 {
			return records, next, errOldFormat
		}
		if size < batchHeader {
			return records, next, errBatch
		}
		if size > len(raw) {
			break
		}
		var last int64
		records, last, err = b.batch(records, raw[:size])
		if err != nil {
			return records, next, err
		}
		next = max(next, last+1)
		raw = raw[size:]
	}
	return records, next, nil
}

// batch appends a batch's records and returns its last offset.
func (b *batches) batch(records []Record, raw []byte) ([]Record, int64, error) {
	be := binary.BigEndian
	base := int64(be.Uint64(raw))
	if crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)) != be.Uint32(raw[17:]) {
		return records, 0, fmt.Errorf("%w at offset %d: wrong checksum", errBatch, base)
	}
	attributes := be.Uint16(raw[21:])
	last := base + int64(int32(be.Uint32(raw[23:])))
	if last < b.from {
		return records, last, nil
	}
	firstTime, maxTime := int64(be.Uint64(raw[27:])), int64(be.Uint64(raw[35:]))
	producerID := int64(be.Uint64(raw[43:]))
	count := int(int32(be.Uint32(raw[57:])))
	for len(b.aborted) > 0 && b.aborted[0].first <= base {
		b.open[b.aborted[0].producerID] = true
		b.aborted = b.aborted[1:]
	}
	if attributes&attrControl != 0 {
		delete(b.open, producerID) // a marker ends the producer's transaction, however it ended
		return records, last, nil
	}
	if attributes&attrTransactional != 0 && b.open[producerID] {
		return records, last, nil
	}
	body, err := unpack(raw[batchHeader:], int8(attributes&attrCompression))
	if err != nil {
		return records, 0, fmt.Errorf("%w at offset %d: %w", errBatch, base, err)
	}
	c := cursor{rest: body}
	records = slices.Grow(records, max(0, min(count, len(body)/leastRecord)))
	for range count {
		timeDelta, r := c.record(base, b)
		if c.failed {
			return records, 0, fmt.Errorf("%w at offset %d: a record is cut off", errBatch, base)
		}
		if r.Offset < b.from {
			continue
		}
		at := firstTime + timeDelta
		if attributes&attrAppendTime != 0 {
			at = maxTime
		}
		r.Topic, r.Partition, r.Time = b.topic, b.partition, time.UnixMilli(at).UTC()
		records = append(records, r)
	}
	return records, last, nil
}

func unpack(raw []byte, method int8) ([]byte, error) {
	if method == 0 {
		return raw, nil
	}
	codec := compress.Compression(method).Codec()
	if codec == nil {
		return nil, fmt.Errorf("unknown compression %d", method)
	}
	unpacked := codec.NewReader(bytes.NewReader(raw))
	defer func() { _ = unpacked.Close() }() // it reads from memory
	body, err := io.ReadAll(io.LimitReader(unpacked, maxUnpacked+1))
	if err != nil {
		return nil, fmt.Errorf("decompressing: %w", err)
	}
	if len(body) > maxUnpacked {
		return nil, fmt.Errorf("over %d bytes when decompressed", maxUnpacked)
	}
	return body, nil
}

// headers has room for so many; many records' are allocated together.
func (b *batches) headers(n int) []Header {
	if len(b.room) < n {
		b.room = make([]Header, max(n, 512))
	}
	room := b.room[:0:n]
	b.room = b.room[n:]
	return room
}

// headerNames are the names seen so far: nearly all records have the same.
type headerNames map[string]string

func (n headerNames) of(name []byte) string {
	if known, is := n[string(name)]; is {
		return known
	}
	made := string(name)
	if len(n) < 100 {
		n[made] = made
	}
	return made
}

// cursor reads from the front of rest. Once something is missing, failed stays set.
type cursor struct {
	rest   []byte
	failed bool
}

func (c *cursor) take(n int) []byte {
	if c.failed || n < 0 || n > len(c.rest) {
		c.failed = true
		return nil
	}
	taken := c.rest[:n:n]
	c.rest = c.rest[n:]
	return taken
}

func (c *cursor) varint() int64 {
	v, n := binary.Varint(c.rest)
	if n <= 0 {
		c.failed = true
		return 0
	}
	c.take(n)
	return v
}

// bytes reads a length and so many bytes; a negative length is nil.
func (c *cursor) bytes() []byte {
	n := c.varint()
	if n < 0 {
		return nil
	}
	return c.take(int(n))
}

func (c *cursor) record(base int64, b *batches) (timeDelta int64, r Record) {
	inner := cursor{rest: c.bytes(), failed: c.failed}
	inner.take(1) // attributes, unused
	timeDelta = inner.varint()
	r.Offset = base + inner.varint()
	r.Key = inner.bytes()
	r.Value = inner.bytes()
	n := inner.varint()
	if n > 0 && n <= int64(len(inner.rest)/2) { // each has two lengths
		r.Headers = b.headers(int(n))
	}
	for ; n > 0 && !inner.failed; n-- {
		r.Headers = append(r.Headers, Header{Key: b.names.of(inner.bytes()), Value: inner.bytes()})
	}
	c.failed = c.failed || inner.failed
	return timeDelta, r
}
