package main

import "testing"

func TestDrift(t *testing.T) {
	series := func(n int, f func(i int) float64) (values []float64) {
		for i := range n {
			values = append(values, f(i))
		}
		return values
	}
	for _, c := range []struct {
		name   string
		values []float64
		slack  float64
		want   drift
		flat   bool
	}{
		{"level", series(9, func(int) float64 { return 50 }), 0, drift{50, 50}, true},
		{"grows while it warms up", series(9, func(i int) float64 { return min(float64(i), 3) }), 0, drift{3, 3}, true},
		{"shrinks", series(9, func(i int) float64 { return float64(9 - i) }), 0, drift{5, 2}, true},
		{"saws", series(300, func(i int) float64 { return 30 + float64(i%7) }), 0, drift{33, 33}, true},
		{"a peak at the end", series(9, func(i int) float64 { return 50 + float64(i/8*500) }), 0, drift{50, 50}, true},
		{"leaks", series(300, func(i int) float64 { return float64(i) }), 10, drift{149.5, 249.5}, false},
		{"leaks beside much", series(300, func(i int) float64 { return 300 + float64(i) }), 0, drift{449.5, 549.5}, false},
		{"one more of few", series(9, func(i int) float64 { return 4 + float64(i/6) }), 2, drift{4, 5}, true},
		{"three more of few", series(9, func(i int) float64 { return 4 + 3*float64(i/6) }), 2, drift{4, 7}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := driftOf(c.values)
			if d != c.want || d.flat(c.slack) != c.flat {
				t.Errorf("%v, flat %t; want %v, %t", d, d.flat(c.slack), c.want, c.flat)
			}
		})
	}
}
