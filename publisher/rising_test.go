package publisher

import (
	"math/rand/v2"
	"testing"
)

func TestRising(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var q rising
	var want []uint64
	next := uint64(0)
	for i := range 200_000 {
		if grows := i/20_000%2 == 0; len(want) == 0 || r.IntN(3) > 0 == grows {
			next += 1 + r.Uint64N(1<<r.IntN(40))
			q.push(next)
			want = append(want, next)
			continue
		}
		if got := q.pop(); got != want[0] {
			t.Fatalf("step %d: %d, want %d", i, got, want[0])
		}
		want = want[1:]
		if q.size != len(want) || len(q.rest) > 7*(len(want)+1024)*2 {
			t.Fatalf("step %d: %d numbers in %d bytes, want %d", i, q.size, len(q.rest), len(want))
		}
	}
}
