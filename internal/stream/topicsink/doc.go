// Package topicsink writes records to topics, each once over any number of kills and resumes.
//
// Every batch is written down in a journal before it is first sent, with its stamp (producer id, epoch, first sequence)
// and with where each of its records came from. A state, which [stream.Flow] saves beside the positions of the source,
// names a generation of the journal: a folder of [spool.Log]. What keeps records from being lost or doubled:
//
//  1. Nothing is sent that isn't written down. A journal that fails ends the flow.
//  2. A record at or after the saved positions that may have been sent is in the generation that the saved state names. A
//     record in there is acknowledged, or in a batch that isn't settled.
//  3. A new generation begins when everything is acknowledged, and is named by the next state to be saved. The former one
//     goes with the first record after that: [stream.Flow] writes none unless the state was saved. In between both are
//     there, and either state finds its own.
//     What a source that began anew hasn't yet given again is written into the new one first.
//  4. The next process reads the generation of its state, sends what isn't settled again under its old
//     stamps and before anything newer, so that the broker drops what it has, and passes over every record whose origin it
//     has read.
//  5. A batch is settled in the journal before the next one of its partition is written down, but for one or two: a broker
//     knows the last five, and answers an older one as if a batch were missing.
//  6. A batch that certainly isn't in Kafka leaves the journal, with a mark of its own, before its records are stamped anew:
//     one that is settled and has none is in Kafka.
//
// A kill at any place, also kill -9, therefore changes nothing. A torn end of the journal is a batch that was not sent.
// The journal isn't synced: after a power cut of this machine its last moments may be missing, and the records that were
// sent in them, at most those since the last checkpoint, may be there twice. Kafka's own power cuts are another matter.
//
// Stamps are a cluster's own. Where the brokers are another cluster than the state's, New refuses to go on.
//
// The package makes no topics itself, filters nothing, and doesn't know what an event is.
package topicsink
