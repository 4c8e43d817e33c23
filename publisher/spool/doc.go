// Package spool is a log on disk of what isn't yet certain: batches that have been sent, or are about to be, and whose
// outcome isn't known. It outlives the process.
//
// Invariants:
//
//  1. What [Log.Append] has returned for survives the end of the process, however it ends. What [Log.Sync] has returned
//     for survives a power cut, as far as the disk keeps its word.
//  2. An entry is there after a restart until it has been settled. A settling that wasn't written down before the
//     process ended brings the entry back; so whoever settles must be able to meet an entry again. [Log.Drop] is for
//     those who can't: it writes before it returns.
//  3. A file is never written or synced again after one of its writes or syncs has failed: what the kernel then holds
//     of it is unknown. It is cut back to what it was, and the next entry begins a new file.
//  4. The log's size on disk is bounded. When it is full, Append refuses; nothing is thrown away.
//  5. One process at a time has a folder: it holds a lock on it.
//
// The package doesn't know what the entries mean, and sends nothing.
package spool
