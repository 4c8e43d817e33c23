// Package publisher turns verified deliveries into records on Kafka topics: it
// names and creates the topics, builds the records, and sets aside as dead
// letters what has no topic or what its topic refuses.
//
// A record's value is the received body, byte for byte. The order of one key's
// records within one event type is the order in which they were published by
// this process.
//
// The package does not verify, parse or deduplicate, and it keeps nothing on
// disk: what Kafka hasn't acknowledged within the caller's deadline is
// reported as not kept or unknown.
package publisher
