package main

import (
	"net/http"
	"testing"
)

// TestFinding shows that each kind of difference is found.
func TestFinding(t *testing.T) {
	e := newEvents(allTypes)
	const first = 100
	topic := func(n uint64) string { return "p_" + e.eventType(n) }
	type record struct {
		topic string
		value []byte
	}
	kept := func(n uint64) record { return record{topic(n), e.appendBody(nil, n)} }
	damaged := kept(first)
	damaged.value[len(damaged.value)-5] ^= 1
	cases := []struct {
		name     string
		outcomes []outcome
		records  []record
		want     finding
		bad      bool
	}{
		{"right", []outcome{published, published}, []record{kept(first + 1), kept(first)}, finding{}, false},
		{"lost", []outcome{published, published}, []record{kept(first)}, finding{lost: 1}, true},
		{"doubled", []outcome{published}, []record{kept(first), kept(first), kept(first)}, finding{doubled: 2}, true},
		{"damaged", []outcome{published}, []record{damaged}, finding{foreign: 1, lost: 1}, true},
		{"wrong topic", []outcome{published}, []record{{"p_dead_letter", kept(first).value}}, finding{foreign: 1, lost: 1}, true},
		{"before", []outcome{published}, []record{kept(first), kept(first - 1)}, finding{foreign: 1}, true},
		{"after", []outcome{published}, []record{kept(first), kept(first + 1)}, finding{foreign: 1}, true},
		{"not an event", []outcome{published}, []record{kept(first), {topic(first), nil}}, finding{foreign: 1}, true},
		{"never sent", []outcome{noAnswer}, []record{kept(first)}, finding{unasked: 1}, true},
		{"refused", []outcome{http.StatusUnauthorized}, []record{kept(first)}, finding{unasked: 1}, true},
		{"503 and kept", []outcome{http.StatusServiceUnavailable}, []record{kept(first)}, finding{unknown: 1}, false},
		{"503 and not kept", []outcome{http.StatusServiceUnavailable}, nil, finding{}, false},
		{"503 and doubled", []outcome{http.StatusServiceUnavailable}, []record{kept(first), kept(first)}, finding{unknown: 1, doubled: 1}, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := newFinding(&ledger{events: e, prefix: "p", first: first, outcomes: c.outcomes})
			for _, r := range c.records {
				f.record(r.topic, r.value)
			}
			f.conclude()
			got := finding{lost: f.lost, doubled: f.doubled, foreign: f.foreign, unasked: f.unasked, unknown: f.unknown}
			if got.String() != c.want.String() || f.bad() != c.bad || f.records != len(c.records) {
				t.Errorf("got %s; bad %t, want %t", f, f.bad(), c.bad)
			}
		})
	}
}
