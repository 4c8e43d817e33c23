// Package idempotent is a Kafka producer on kafka-go's lower layer that writes
// every record exactly once per producer id, with as many records, partitions
// and topics in one request as are waiting.
//
// # Invariants
//
//  1. A sequence range that may have left the process belongs to exactly those
//     records until a broker has settled them. A broker answers "appended" for
//     a sequence range it has seen, whatever the batch holds: other records
//     under the same numbers would be lost without a word.
//  2. A stamped batch is never given up. The gap would make the broker refuse
//     everything after it. It is sent again, unchanged, to whichever broker
//     leads the partition, before anything newer on that partition.
//  3. A partition has at most one batch outstanding and a broker at most one
//     request in flight (one more for partitions whose replicas lag). Records
//     that arrive meanwhile gather and leave together: there is no linger.
//  4. Record time is the time of stamping. Brokers forget a producer by the
//     time of its records, not by their arrival.
//  5. Producer epoch and sequence are kept per partition, as brokers keep them.
//     A partition that has to start over moves to its next epoch with sequence
//     0 and disturbs no other.
//
// Rules 1 and 2 leave three ends for a batch: a broker says it is kept; a
// broker says it certainly isn't and no earlier attempt was ambiguous, so that
// its numbers may be used again; or the partition moves to its next epoch,
// after which the broker refuses whatever is still under way with the old one.
//
// With a [Journal] rules 1 and 2 hold beyond the process: a batch is written
// down before it is first sent, and the next process sends it again, unchanged
// and before anything newer ([Producer.Restore]). Without one, a record that is
// unresolved when the process dies stays unresolved. Where records come from a
// source that can give them again ([Options].Sourced), the journal is the only
// truth of what may have been sent: nothing leaves without it, and a batch that
// is taken apart leaves it whole.
//
// # What it does not do
//
// It neither creates topics nor chooses partitions, and has no transactions
// and no compression.
package idempotent
