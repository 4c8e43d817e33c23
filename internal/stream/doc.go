// Package stream reads records from topics: a source that later stages filter and pass on.
//
// A [Reader] belongs to no consumer group and commits nothing. It gives out what the topics hold, merged by time over all
// partitions, and then what arrives. Records of transactions show once they are committed. [AppendLine] and [ParseLine]
// are the one text form of a record.
//
// The package does not write to Kafka, does not know what an event is or how topics are named, does not remember how far
// it has read, and asks for no other rights than to describe and read the topics.
package stream
