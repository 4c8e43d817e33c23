//go:build !race

// Under the race detector sync.Pool drops items at random.

package ingest

import "testing"

// handlerAllocations is what an event costs the handler from body to answer, without the adapters and net/http: 4 in
// event.Parse, and one each for the body, the delivery, its headers, the request id and the claim. Contexts are shared by
// many. No slack: nothing here depends on what else runs.
const handlerAllocations = 9

func TestHandlerAllocations(t *testing.T) {
	serve := serving(t, hotHandler(t), hotBody())
	if n := testing.AllocsPerRun(500, serve); n > handlerAllocations {
		t.Errorf("an event costs the handler %v allocations, want %d at most", n, handlerAllocations)
	}
}
