package idempotent

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	kafka "github.com/segmentio/kafka-go"
)

const (
	minBackoff = 20 * time.Millisecond
	maxBackoff = time.Second

	// maxLimit ends the search for a record that the topic doesn't take.
	maxLimit = 4096
)

// batch is a group of records under one stamp. Once it has been handed to a
// lane its records and their order never change.
type batch struct {
	records []*Record
	stamp   stamp
	encoded []byte
	cluster string        // that the stamp is of
	entry   *entry        // in the journal; nil if it isn't there
	down    chan struct{} // see Record.down
	// restored: by an earlier process. Its stamp is of another producer id, and says nothing of the partition's own.
	restored bool
	// ambiguous: an attempt has ended without a certain answer, so the stamp
	// may be in the log.
	ambiguous bool
}

// free reports whether the batch may be taken apart after a certain refusal, so that records can be withdrawn. One that
// has been written down is sent again as it is: to write it down anew with every attempt would fill the disk.
func (b *batch) free() bool { return !b.ambiguous && b.entry == nil }

// partition is the state of one topic partition. All fields are guarded by
// Producer.mu, but for the content of a batch that a lane is sending.
type partition struct {
	topic string
	id    int32

	leader int32 // broker id, -1 when there is none
	sick   bool  // replicas lag: travels alone, see lane.solo
	lane   *lane // that has it in its work list or in flight
	busy   bool  // in flight

	queue    []*Record // never stamped, oldest first
	gone     int       // abandoned records among them
	batch    *batch    // stamped and not settled
	restored []*batch  // to be sent before anything from the queue
	journal  Journal   // nil for none
	limit    int       // records in the next batch; 0 = by bytes alone
	maxBytes int       // of a batch, as the topic allows

	cluster    string // that producerID is of
	producerID int64  // -1: takes the producer's at the next stamp
	exhausted  int64  // an id whose last epoch is used up, -1 if none
	epoch      int16
	sequence   int32

	failures  int
	notBefore time.Time // no attempt before
}

func (p *partition) hasWork() bool {
	return p.batch != nil || len(p.restored) > 0 || len(p.queue) > p.gone
}

// form moves records from the queue under a new stamp. What leaves the queue
// without being stamped is returned. room is in bytes; a first record is taken
// whatever its size.
func (p *partition) form(room int) (out settlements) {
	room = min(room, p.maxBytes)
	var taken []*Record
	size, n := sizePrefix+batchHeader, 0
	for _, r := range p.queue {
		if r.abandoned {
			p.gone--
			n++
			continue
		}
		if r.Live != nil && !r.Live() {
			r.queued = false
			out = append(out, settlement{r, ErrLeaseLost})
			n++
			continue
		}
		if len(taken) > 0 && (size+r.size > room || len(taken) == p.limit) {
			break
		}
		size += r.size
		r.queued = false
		taken = append(taken, r)
		n++
	}
	p.queue = slices.Delete(p.queue, 0, n)
	if len(taken) > 0 {
		p.batch = &batch{records: taken, stamp: stamp{p.producerID, p.epoch, p.sequence}, cluster: p.cluster}
		if p.journal != nil {
			p.batch.down = make(chan struct{})
		}
		for _, r := range taken {
			r.down = p.batch.down
		}
	}
	return out
}

// abandon takes note that a queued record's caller has gone, and drops such
// records for good when they are the larger part of the queue: a partition
// without a leader for an hour must not remember every caller of that hour.
func (p *partition) abandon() {
	p.gone++
	if p.gone > len(p.queue)/2 {
		p.queue = slices.DeleteFunc(p.queue, func(r *Record) bool { return r.abandoned })
		p.gone = 0
	}
}

// keep settles the outstanding batch as written.
func (p *partition) keep() settlements {
	out := make(settlements, 0, len(p.batch.records))
	for _, r := range p.batch.records {
		out = append(out, settlement{r, nil})
	}
	if !p.batch.restored {
		p.sequence = nextSequence(p.sequence, len(p.batch.records))
	}
	p.batch = nil
	p.failures, p.notBefore, p.sick = 0, time.Time{}, false
	if p.limit *= 2; p.limit > maxLimit {
		p.limit = 0
	}
	return out
}

// dissolve takes the outstanding batch apart: its records go back to the head
// of the queue, or are settled as not sent where nobody waits any more. If the
// stamp may have been used, the partition moves to its next epoch, which keeps
// invariant 1; the records may then be in the log twice.
func (p *partition) dissolve() (out settlements, mayDouble bool) {
	b := p.batch
	p.batch = nil
	p.forget(b)
	if b.ambiguous && !b.restored {
		p.nextEpoch()
	}
	var back []*Record
	for _, r := range b.records {
		if r.abandoned {
			out = append(out, settlement{r, ErrNotSent})
			continue
		}
		r.queued = true
		back = append(back, r)
	}
	p.queue = append(back, p.queue...)
	return out, b.ambiguous
}

// outdated takes apart what was stamped for another cluster than the one there is.
func (p *partition) outdated(cluster string) (out settlements) {
	batches := p.restored
	if p.batch != nil {
		batches = append([]*batch{p.batch}, batches...)
	}
	if len(batches) == 0 || batches[0].cluster == cluster {
		return nil
	}
	p.batch, p.restored = nil, nil
	for _, b := range slices.Backward(batches) { // each goes to the head of the queue
		p.batch = b
		s, _ := p.dissolve()
		out = append(out, s...)
	}
	return out
}

// nextEpoch starts the partition's sequence over. A broker takes a higher
// epoch of a known producer only with sequence 0, and refuses the lower ones
// from then on (KIP-360). After the last epoch a new producer id is needed.
func (p *partition) nextEpoch() {
	p.sequence = 0
	if p.epoch == math.MaxInt16 {
		p.exhausted, p.producerID = p.producerID, -1
		return
	}
	p.epoch++
}

// unfit deals with a batch that the topic will never take. Several records are
// halved until the one to blame stands alone; that one is refused.
func (p *partition) unfit(code kafka.Error) (out settlements, mayDouble bool) {
	b := p.batch
	if len(b.records) > 1 {
		p.limit = (len(b.records) + 1) / 2
		return p.dissolve()
	}
	r := b.records[0]
	r.abandoned = true // so that it doesn't go back to the queue
	_, mayDouble = p.dissolve()
	p.failures, p.limit = 0, 0
	return settlements{{r, &RefusedError{Topic: p.topic, Partition: p.id, Code: code}}}, mayDouble
}

// backOff delays the next attempt, longer with each failure in a row.
func (p *partition) backOff(now time.Time) {
	d := min(minBackoff<<min(p.failures, 10), maxBackoff)
	p.failures++
	p.notBefore = now.Add(d/2 + rand.N(d/2+1))
}

// settlement is a record whose outcome is known.
type settlement struct {
	record *Record
	err    error
}

// settlements are collected under the lock and delivered without it.
type settlements []settlement
