// Package stream carries records from a source through filters to a sink.
//
// A [Reader] reads topics. It belongs to no consumer group and commits nothing; it gives out what the topics hold, merged
// by time over all partitions, and then what arrives. Records of transactions show once they are committed. [AppendLine]
// and [ParseLine] are the one text form of a record. A [Flow] joins a [Source], filters and a [Sink], and notes in a
// [Checkpoint] how far it has come.
//
// The package does not write to Kafka, does not know what an event is or how topics are named, and asks for no other
// rights than to describe and read the topics. Sinks and further sources are packages below it.
package stream
