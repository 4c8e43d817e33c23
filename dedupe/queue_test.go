package dedupe

import (
	"math/rand/v2"
	"testing"
)

// The ring against a slice, through growing and shrinking.
func TestQueue(t *testing.T) {
	var q queue[int]
	var model []int
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 40_000 {
		grow := (i/10_000)%2 == 0
		switch n := rng.IntN(10); {
		case n < 4 || grow && n < 6:
			q.push(i)
			model = append(model, i)
		case n == 9:
			q.unshift(-i)
			model = append([]int{-i}, model...)
		case len(model) > 0:
			if got := q.pop(); got != model[0] {
				t.Fatalf("step %d: pop = %d, want %d", i, got, model[0])
			}
			model = model[1:]
		}
		if q.len() != len(model) {
			t.Fatalf("step %d: len = %d, want %d", i, q.len(), len(model))
		}
		if len(q.ring) > 1024 && q.n < len(q.ring)/16 {
			t.Fatalf("step %d: ring of %d for %d", i, len(q.ring), q.n)
		}
	}
	for _, want := range model {
		if got := q.pop(); got != want {
			t.Fatalf("pop = %d, want %d", got, want)
		}
	}
}
