// Package wire holds the Kafka requests that Sluice sends and that kafka-go
// has no suitable type for, and the way past kafka-go's metadata cache.
//
// Why it exists. kafka-go routes a produce request by looking every partition
// up in its own cached layout and fails the whole request when one of them is
// unknown or has no leader; it asks the transaction coordinator before it
// hands out a producer id that no transaction needs; and it answers metadata
// requests from a cache that nobody can refresh. The types here name the
// broker they are meant for, and [Call] passes around the cache.
//
// The package does not retry, does not interpret error codes, and keeps no
// state. Errors of [Call] are those of the transport: the request may or may
// not have reached the broker, except where [NotSent] says that it has not.
package wire
