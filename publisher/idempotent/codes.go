package idempotent

import (
	kafka "github.com/segmentio/kafka-go"
)

// verdict is what a produce response's error code says about one batch.
type verdict int

const (
	// kept: the batch is in the log, by this attempt or an earlier one.
	kept verdict = iota
	// ambiguous: the batch may or may not be in the log. It is sent again,
	// unchanged, until a broker answers kept or certain.
	ambiguous
	// refused: certainly not appended by this attempt, and it may succeed
	// later without a change.
	refused
	// unfit: certainly not appended by this attempt, and the same batch will
	// never be: too large, or a record that the topic doesn't take.
	unfit
	// lostSequence: the broker's memory of this producer doesn't fit the
	// batch: it has lost data or state.
	lostSequence
)

// judge maps error codes of the Kafka protocol guide to a verdict. A code that
// isn't known to be certain is ambiguous: resending an idempotent batch is
// always safe, reusing its sequence numbers isn't.
//
// NOT_LEADER_OR_FOLLOWER (6) is ambiguous although the append is usually
// refused: a leader that steps down while a batch waits for its replicas
// answers the same code, and the batch may live on at the new leader.
func judge(code kafka.Error) verdict {
	switch code {
	case 0, kafka.DuplicateSequenceNumber:
		return kept
	case kafka.UnknownTopicOrPartition, // the partition isn't there, so neither is the batch
		kafka.InvalidMessage,           // checksum: damaged on the way
		kafka.NotEnoughReplicas,        // refused before the append; after it the code is 20
		kafka.TopicAuthorizationFailed, //
		kafka.InvalidTimestamp,         // our clock is off: stamped anew with the next attempt
		kafka.ThrottlingQuotaExceeded:
		return refused
	case kafka.MessageSizeTooLarge, kafka.RecordListTooLarge, kafka.InvalidRecord, kafka.InvalidTopic,
		kafka.UnsupportedForMessageFormat, kafka.PolicyViolation, kafka.UnsupportedCompressionType:
		return unfit
	case kafka.OutOfOrderSequenceNumber, kafka.InvalidProducerEpoch, kafka.UnknownProducerId, kafka.ProducerFenced:
		return lostSequence
	default:
		return ambiguous
	}
}

// slow reports whether the code tells of replicas that lag: a request waits
// for its slowest partition, so such a partition must not travel with others.
func slow(code kafka.Error) bool {
	return code == kafka.RequestTimedOut || code == kafka.NotEnoughReplicas || code == kafka.NotEnoughReplicasAfterAppend
}

// moved reports whether the code means that our picture of the cluster is old.
func moved(code kafka.Error) bool {
	switch code {
	case kafka.UnknownTopicOrPartition, kafka.LeaderNotAvailable, kafka.NotLeaderForPartition,
		kafka.ReplicaNotAvailable, kafka.BrokerNotAvailable, kafka.KafkaStorageError, kafka.FencedLeaderEpoch:
		return true
	}
	return false
}
