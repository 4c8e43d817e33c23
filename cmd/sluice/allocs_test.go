//go:build !race

// Under the race detector sync.Pool drops items at random.

package main

import (
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"sluice/internal/testenv"
)

// pathAllocations is what an event costs from body to answer while 256 are in flight, of four types, confirm and spool
// included. Kafka and Redis are in another process, and requests and answers are made before it is counted. It is the
// median of nine rounds of 2,560 events, which is 33.9 to 34.2. By part:
//
//	9    handler (pinned in package ingest)
//	9.6  claim and confirm (pinned in package dedupe)
//	6    adapters.go: the claim, the message, its headers, and three functions that are called back
//	4    publisher: 2 for what is told late, the tag, and the outcome's channel
//	3    record (pinned in package publisher)
//	2.5  share of a batch: settlements, the spool's entry, kafka-go
//
// pathSlack is for the size of batches. A single allocation more shows in the pins of the parts; what only this test sees has
// to be two.
const (
	pathAllocations = 34.1
	pathSlack       = 1
)

func TestPathAllocations(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))  // more would make smaller batches
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // or pools would be emptied in between
	const callers, waves = 256, 10
	p := openPath(t, callers)
	var rounds []float64
	for range 9 {
		testenv.Eventually(t, time.Minute, func() error { // again if the machine stood still
			runtime.GC()
			var sum uint64
			for range waves {
				p.prepare()
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				err := p.fly()
				runtime.ReadMemStats(&after)
				if err != nil {
					return err
				}
				sum += after.Mallocs - before.Mallocs
			}
			rounds = append(rounds, float64(sum)/(callers*waves))
			return nil
		})
	}
	slices.Sort(rounds)
	if median := rounds[len(rounds)/2]; median > pathAllocations+pathSlack {
		t.Errorf("an event costs %.1f allocations from body to answer, want %.1f and no more than %d above", median, pathAllocations, pathSlack)
	}
}
