// Package group reads topics as a member of a consumer group.
//
// It speaks Kafka's classic group protocol through kafka-go's client: join, sync, heartbeat, commit, leave. Between two
// rebalances a member has partitions of its own; a [stream.Flow] carries their records to a sink, from the offsets that
// the group has committed. Every second, and when the flow has ended, the member commits up to where every record has
// been kept by the sink, and never further.
//
// When the group rebalances, or the member is told to end, nothing more is read, what the sink has under way may end
// within a bound, and what was kept is committed with the old generation. What wasn't is delivered again, by whichever
// member has the partition then. Heartbeats go on meanwhile, so that a slow sink costs nobody a session.
//
// kafka-go's own ConsumerGroup isn't used: it creates topics that it asks for, ends a generation over and over while one
// of its topics is missing, can't take in topics that are new, stops its heartbeats as soon as a rebalance begins, and
// gives the first member all topics of one partition.
//
// The package doesn't change groups that it isn't a member of, creates no topics, and needs no other rights than Read on
// the group, and Read and Describe on the topics.
package group
