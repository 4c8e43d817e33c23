package main

import (
	"os"
	"runtime"
	"testing"
	"time"
)

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   summary
	}{
		{nil, summary{}},
		{[]float64{3}, summary{3, 3, 3}},
		{[]float64{5, 1, 3}, summary{3, 1, 5}},
		{[]float64{4, 1, 2, 9}, summary{3, 1, 9}},
	} {
		if got := spread(c.values); got != c.want {
			t.Errorf("%v: %v, want %v", c.values, got, c.want)
		}
	}
}

func TestPercentile(t *testing.T) {
	var values []time.Duration
	for i := range 1000 {
		values = append(values, time.Duration(i+1))
	}
	for p, want := range map[int]time.Duration{500: 500, 990: 990, 999: 999, 1000: 1000} {
		if got := percentile(values, p); got != want {
			t.Errorf("%d ‰ is %d, want %d", p, got, want)
		}
	}
	if got := percentile(values[:1], 500); got != 1 {
		t.Errorf("p50 of one value is %d", got)
	}
	if got := percentile(nil, 500); got != 0 {
		t.Errorf("p50 of nothing is %d", got)
	}
}

// TestCPUTime burns some processor time and looks for it.
func TestCPUTime(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	before, err := cpuTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	machineBefore, err := machineTime()
	if err != nil {
		t.Fatal(err)
	}
	const enough = 50 * time.Millisecond
	for deadline := time.Now().Add(30 * time.Second); ; {
		now, err := cpuTime(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if now-before >= enough {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s of processor time after 30 s of work", now-before)
		}
	}
	after, err := machineTime()
	if err != nil {
		t.Fatal(err)
	}
	if busy, all := after.busy-machineBefore.busy, after.all-machineBefore.all; busy < enough/2 || all < busy {
		t.Errorf("the machine was busy for %s of %s", busy, all)
	}
}
