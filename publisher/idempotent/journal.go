package idempotent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	kafka "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"go.uber.org/zap"

	"sluice/publisher/spool"
)

// Journal remembers batches beyond the end of the process. Every batch is written down, with its stamp, before it is
// first sent; so a process that starts again can send it under the same stamp, and the broker drops what it has.
type Journal interface {
	// Append writes entries and returns the number of the first. They survive the end of the process.
	Append(at time.Time, additions ...spool.Addition) (first uint64, err error)
	// Settle forgets entries; it may be undone by the process's end.
	Settle(numbers ...uint64)
	// Drop forgets entries for good.
	Drop(numbers ...uint64) error
}

// writeDownMost bounds how long one who leaves waits for the journal, should that hang.
const writeDownMost = 250 * time.Millisecond

// entry is the place in the journal of a batch, or of a record that has never been sent.
type entry struct {
	number uint64
	// left counts the records that stand in no later entry. Guarded by Producer.mu.
	left int
}

// moved is an entry whose record is about to stand in another one: it is told when nothing else holds it.
func (e *entry) moved() (number uint64, done bool) {
	e.left--
	return e.number, e.left == 0
}

// writeDown puts batches into the journal before they are first sent, and reports whether they may be sent. Unless
// [Options.Sourced], a journal that fails doesn't keep them: what it protects from is the rarer trouble.
func (p *Producer) writeDown(fresh []*partition, at time.Time) bool {
	if p.opts.Journal == nil || len(fresh) == 0 {
		return true
	}
	defer func() {
		for _, pt := range fresh {
			close(pt.batch.down)
		}
	}()
	additions := make([]spool.Addition, len(fresh))
	p.mu.Lock()
	for i, pt := range fresh {
		additions[i].Payload, additions[i].Rest = encodeHead(pt), pt.batch.encoded
		for _, r := range pt.batch.records {
			if r.entry == nil {
				continue
			}
			if number, done := r.entry.moved(); done {
				additions[i].Supersedes = append(additions[i].Supersedes, number)
			}
		}
	}
	p.mu.Unlock()
	first, err := p.opts.Journal.Append(at, additions...)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		for _, pt := range fresh {
			for _, r := range pt.batch.records {
				if r.entry != nil {
					r.entry.left++
				}
			}
		}
		if p.opts.Sourced {
			return false
		}
		p.metrics.unwritten.Add(float64(len(fresh)))
		p.log.Error("batches are sent without having been written down: if this process is killed now, they may be there twice", zap.Error(err))
		return true
	}
	for i, pt := range fresh {
		pt.batch.entry = &entry{number: first + uint64(i)}
		for _, r := range pt.batch.records {
			r.entry, r.written = nil, true
		}
	}
	return true
}

// forget takes a batch that is being taken apart out of the journal, before its stamp or its records are used again. The
// records that somebody relies on the journal for take its place there, one by one: they may part. Where the journal
// fails, the batch stays in it until they stand elsewhere, and its stamp is never used for anything else: a start would
// send it again. Producer.mu is held.
func (p *partition) forget(b *batch) {
	e := b.entry
	b.entry = nil
	if e == nil {
		return
	}
	var kept []*Record
	for _, r := range b.records {
		r.written = false
		if r.kept {
			kept = append(kept, r)
		}
	}
	var err error
	if len(kept) == 0 {
		err = p.journal.Drop(e.number)
	} else {
		err = p.part(e, kept)
	}
	if err == nil {
		return
	}
	e.left = len(kept)
	for _, r := range kept {
		r.entry = e
	}
	if !b.ambiguous {
		p.nextEpoch()
	}
}

// part writes down records of a batch, each for itself, in the place of the batch.
func (p *partition) part(e *entry, records []*Record) error {
	now := time.Now()
	additions := make([]spool.Addition, len(records))
	for i, r := range records {
		alone := &partition{topic: p.topic, id: p.id, batch: &batch{records: []*Record{r}, encoded: encodeBatch([]*Record{r}, unstamped, now)}}
		additions[i].Payload = encodePayload(alone)
	}
	// Its end comes last: whoever reads the journal in between finds a record twice rather than not at all.
	additions[len(additions)-1].Supersedes = []uint64{e.number}
	first, err := p.journal.Append(now, additions...)
	if err != nil {
		return err
	}
	for i, r := range records {
		r.entry = &entry{number: first + uint64(i), left: 1}
	}
	return nil
}

// ends lists the entries that nothing needs any more once Kafka has the batch: its own, and those of its records where it
// couldn't be written down. Producer.mu is held.
func (b *batch) ends() (numbers []uint64) {
	if b.entry != nil {
		numbers = append(numbers, b.entry.number)
	}
	for _, r := range b.records {
		if r.entry == nil {
			continue
		}
		if number, done := r.entry.moved(); done {
			numbers = append(numbers, number)
		}
		r.entry = nil
	}
	return numbers
}

// settled forgets batches that Kafka has.
func (p *Producer) settled(numbers []uint64) {
	if len(numbers) > 0 { // none without a journal
		p.opts.Journal.Settle(numbers...)
	}
}

// unstamped is in the place of a stamp where a record stands in the journal that is to be sent under a new one.
var unstamped = stamp{producerID: -1, epoch: -1, sequence: -1} //nolint:gochecknoglobals // a constant

// Restored is a batch that an earlier process has written down.
type Restored struct {
	Topic     string
	Partition int32
	// Records are its records, with their Tag. Late is called with their outcome, as after ErrUnresolved.
	Records []*Record

	encoded []byte
	stamp   stamp
	cluster string // "" if it isn't known
	number  uint64
}

var errBatch = errors.New("not a batch of format 2")

// ErrPayload means that a journal's entry isn't a batch of any version that this one knows.
var ErrPayload = errors.New("not a batch that was written down")

// The payload of an entry: version, 1 byte; partition, 4; topic; the cluster's id; number of records and their tags; the
// batch as it is sent. Texts have their length before them, as a uvarint, and numbers are big-endian.
const payloadVersion = 1

func encodePayload(pt *partition) []byte { return append(encodeHead(pt), pt.batch.encoded...) }

// encodeHead is the payload but for the batch.
func encodeHead(pt *partition) []byte {
	size := 32 + len(pt.topic) + len(pt.batch.cluster)
	for _, r := range pt.batch.records {
		size += binary.MaxVarintLen16 + len(r.Tag)
	}
	b := append(make([]byte, 0, size), payloadVersion)
	text := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	b = binary.BigEndian.AppendUint32(b, uint32(pt.id))
	text(pt.topic)
	text(pt.batch.cluster)
	b = binary.AppendUvarint(b, uint64(len(pt.batch.records)))
	for _, r := range pt.batch.records {
		text(r.Tag)
	}
	return b
}

// ParseEntry reads what a producer has written into its journal. The error wraps [ErrPayload].
func ParseEntry(number uint64, payload []byte) (*Restored, error) {
	in := bytes.NewReader(payload)
	fail := func(err error) (*Restored, error) { return nil, fmt.Errorf("%w: %w", ErrPayload, err) }
	text := func() (string, error) {
		n, err := binary.ReadUvarint(in)
		if err != nil || n > uint64(in.Len()) {
			return "", io.ErrUnexpectedEOF
		}
		s := make([]byte, n)
		_, err = io.ReadFull(in, s)
		return string(s), err
	}
	var head [5]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return fail(err)
	}
	if head[0] != payloadVersion {
		return fail(fmt.Errorf("version %d", head[0]))
	}
	b := &Restored{Partition: int32(binary.BigEndian.Uint32(head[1:])), number: number}
	var err error
	if b.Topic, err = text(); err != nil {
		return fail(err)
	}
	if b.cluster, err = text(); err != nil {
		return fail(err)
	}
	count, err := binary.ReadUvarint(in)
	if err != nil || count > uint64(in.Len()) {
		return fail(io.ErrUnexpectedEOF)
	}
	tags := make([]string, count)
	for i := range tags {
		if tags[i], err = text(); err != nil {
			return fail(err)
		}
	}
	b.encoded = payload[len(payload)-in.Len():]
	if err := b.decode(tags); err != nil {
		return fail(err)
	}
	return b, nil
}

// decode reads the records back: they may have to be sent otherwise.
func (b *Restored) decode(tags []string) error {
	if len(b.encoded) < sizePrefix+batchHeader {
		return io.ErrUnexpectedEOF
	}
	h := b.encoded[sizePrefix:]
	be := binary.BigEndian
	// kafka-go's decoder is for what brokers send; it expects a batch to be one.
	if int(be.Uint32(b.encoded)) != len(h) || int(be.Uint32(h[offLength:])) != len(h)-offLeaderEpoch || h[offMagic] != 2 ||
		be.Uint16(h[offAttributes:]) != 0 || be.Uint32(h[offCRC:]) != crc32.Checksum(h[offAttributes:], castagnoli) {
		return errBatch
	}
	b.stamp = stamp{int64(be.Uint64(h[offProducerID:])), int16(be.Uint16(h[offEpoch:])), int32(be.Uint32(h[offSequence:]))}
	var set protocol.RecordSet
	if _, err := set.ReadFrom(bytes.NewReader(b.encoded)); err != nil {
		return err
	}
	for {
		read, err := set.Records.ReadRecord()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		r := &Record{}
		if r.Key, err = protocol.ReadAll(read.Key); err != nil {
			return err
		}
		if r.Value, err = protocol.ReadAll(read.Value); err != nil {
			return err
		}
		for _, x := range read.Headers {
			r.Headers = append(r.Headers, Header{Key: x.Key, Value: string(x.Value), Null: x.Value == nil})
		}
		if len(b.Records) < len(tags) {
			r.Tag = tags[len(b.Records)]
		}
		b.Records = append(b.Records, r)
	}
	if len(b.Records) != len(tags) || len(tags) == 0 {
		return fmt.Errorf("%d records, %d tags", len(b.Records), len(tags))
	}
	return nil
}

// Restore sends batches of an earlier process again, each under its old stamp and before anything newer on its
// partition. Brokers drop what they have. It is called before the first Produce.
func (p *Producer) Restore(batches []*Restored) {
	topics := make([]string, 0, len(batches))
	p.mu.Lock()
	for _, b := range batches {
		topics = append(topics, b.Topic)
		for _, r := range b.Records {
			r.size = maxRecordSize(r)
			r.phase.Store(left)
			if !p.opts.Sourced {
				r.kept = true
				p.relied.Add(1)
			}
		}
		p.waiting.Add(int64(len(b.Records)))
		k := partitionKey{b.Topic, b.Partition}
		p.restored[k] = append(p.restored[k], &batch{
			records: b.Records, stamp: b.stamp, cluster: b.cluster, encoded: b.encoded, ambiguous: true, restored: true,
			entry: &entry{number: b.number},
		})
		if pt := p.partitions[k]; pt != nil {
			p.bring(pt)
		}
	}
	p.mu.Unlock()
	p.Watch(topics...)
}

// bring gives a partition its restored batches. Producer.mu is held.
func (p *Producer) bring(pt *partition) {
	k := partitionKey{pt.topic, pt.id}
	for _, b := range p.restored[k] {
		if b.stamp != unstamped && (b.cluster == "" || b.cluster == p.cluster) {
			b.cluster = p.cluster
			pt.restored = append(pt.restored, b)
			continue
		}
		for _, r := range b.records {
			r.entry, r.queued = b.entry, true
			b.entry.left++
			pt.queue = append(pt.queue, r)
		}
	}
	delete(p.restored, k)
	p.schedule(pt)
}

// orphans settles the restored batches of partitions that don't exist. Producer.mu is held.
func (p *Producer) orphans(gone func(partitionKey) bool, err kafka.Error) (out settlements) {
	for k, batches := range p.restored {
		if !gone(k) {
			continue
		}
		for _, b := range batches {
			b.entry.left = len(b.records)
			for _, r := range b.records {
				r.entry = b.entry
				out = append(out, settlement{r, fmt.Errorf("%w: %w", ErrNoPartition, err)})
			}
		}
		delete(p.restored, k)
	}
	return out
}
