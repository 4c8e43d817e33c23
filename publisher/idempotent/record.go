package idempotent

import (
	"errors"
	"fmt"
	"sync/atomic"

	kafka "github.com/segmentio/kafka-go"
)

// Errors of [Producer.Produce]. All but ErrUnresolved are certain: the record
// is not in the log and never will be by this call.
var (
	// ErrNotSent means that the context ended, or the producer closed, while
	// the record was waiting for its broker. It may be produced again.
	ErrNotSent = errors.New("record not sent")
	// ErrLeaseLost means that [Record.Live] no longer held when the record's
	// turn came. Somebody else may be handling it now.
	ErrLeaseLost = errors.New("record not sent: its lease has run out")
	// ErrUnresolved means that the record may be in the log. The producer
	// goes on finding out and tells [Record.Late].
	ErrUnresolved = errors.New("record sent, outcome not known yet")
	// ErrWritten means that the record may be in the log of its partition, and is in the journal for certain, though
	// not yet synced. The producer goes on, and so does the next process; Late is told the end.
	ErrWritten = errors.New("record sent and written down, outcome not known yet")
	// ErrNoPartition means that the topic has no such partition. Look up the
	// partition count again.
	ErrNoPartition = errors.New("no such partition")
)

// RefusedError is a broker's certain and lasting refusal of one record, for
// example because it is larger than the topic's max.message.bytes. Producing
// it again to the same topic won't help.
type RefusedError struct {
	Topic     string
	Partition int32
	Code      kafka.Error // error code of the Kafka protocol guide
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("record refused by %s/%d: %v", e.Topic, e.Partition, e.Code)
}

// Unwrap gives the broker's code to errors.Is and errors.As.
func (e *RefusedError) Unwrap() error { return e.Code }

// Kept tells, within Late, whether the caller was told [ErrWritten] or the record was produced by
// [Producer.ProduceLater]: then an outcome other than nil is the owner's to mend.
func (r *Record) Kept() bool { return r.kept }

// Header is one record header.
type Header struct {
	Key, Value string
	Null       bool // Kafka's null in the place of a value
}

// Record is one record to produce. It and what it refers to belong to the
// producer until it is settled.
type Record struct {
	Key, Value []byte // nil is Kafka's null
	Headers    []Header

	// Live, if not nil, is asked right before the record is stamped and sent
	// for the first time; false takes it out with ErrLeaseLost. It must be a
	// quick local check: the producer's lock is held.
	Live func() bool
	// Tag is the caller's own: it is kept in the journal beside the record.
	Tag string
	// Keep says that a record which has been written down is as good as kept for its caller: when the caller leaves, it
	// gets [ErrWritten] instead of ErrUnresolved, and the record is sent until its outcome is known, like a restored one.
	Keep bool
	// Entry, if not 0, is a journal entry that this record stands for. It is settled when this record is written down.
	Entry uint64
	// Instead, if not nil, is a record in the journal that this one stands for from now on: the journal keeps that one
	// until this one has been written down. Where it has an Instead itself, whichever of them is in the journal.
	Instead *Record
	// Late, if not nil, is called exactly once if, and only if, Produce has
	// returned ErrUnresolved, or for a record of [Producer.Hand]: with nil when Kafka has acknowledged the record
	// after all, with one of this package's certain errors when it hasn't been
	// written, or with ErrUnresolved when the producer was closed before it
	// could tell. It is called from another goroutine and must not block.
	Late func(error)

	size      int           // upper bound of its encoded size in bytes
	queued    bool          // waits, unstamped, in its partition's queue; guarded by Producer.mu
	abandoned bool          // its caller has gone; guarded by Producer.mu
	phase     atomic.Int32  // who tells the outcome: Produce's return or Late
	written   bool          // in the journal, with its batch; guarded by Producer.mu
	down      chan struct{} // closed when its batch's way into the journal is over; nil without one; guarded by Producer.mu
	kept      bool          // somebody relies on the journal for it; guarded by Producer.mu, fixed once its caller has left
	entry     *entry        // where it stands in the journal until it is written down again; guarded by Producer.mu
	err       error         // valid once done is closed
	done      chan struct{} // closed when settled while its caller waits
}

// Values of Record.phase.
const (
	waiting int32 = iota // the caller waits; the outcome is Produce's to return
	settled              // the outcome has been returned, or is about to be
	left                 // the caller has gone; the outcome is Late's to tell
)
