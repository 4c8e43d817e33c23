package dedupe

import (
	"strconv"
	"testing"
	"time"
)

func TestRecent(t *testing.T) {
	const ttl = time.Hour
	now := time.Now()
	r := newRecent(4, 4, ttl)
	claim := func(id string) *Claim { return &Claim{id: r.digest(id)} }
	begin := func(c *Claim, want entry) {
		t.Helper()
		if got := r.begin(c, now); got != want {
			t.Fatalf("begin = %v, want %v", got, want)
		}
	}

	a := claim("a")
	begin(a, entered)
	begin(claim("a"), entryHeld)
	r.forget(a)
	begin(a, entered)
	r.remember(a, tellKept, now)
	begin(claim("a"), entryKept)
	b := claim("b")
	begin(b, entered)
	r.remember(b, tellDead, now)
	begin(claim("b"), entryKeptDead)

	// The oldest go first; one that is kept again is new.
	r.remember(claim("b"), tellDead, now)
	begin(claim("a"), entryKept)
	r.remember(claim("c"), tellKept, now)
	a = claim("a")
	begin(a, entered)
	begin(claim("b"), entryKeptDead)
	begin(claim("c"), entryKept)

	// What Redis would have forgotten is forgotten here.
	now = now.Add(ttl)
	b = claim("b")
	begin(b, entered)

	// Bounded.
	begin(claim("f"), entered)
	begin(claim("g"), entered)
	begin(claim("h"), entryFull)
	r.forget(b)
	begin(claim("h"), entered)
	if n := r.unsettled(); n != 4 {
		t.Fatalf("unsettled = %d", n)
	}
}

// An ID whose claim was left is Redis' to judge; only where Redis can't be asked does this memory count.
func TestRecentLeft(t *testing.T) {
	const lease = time.Minute
	now := time.Now()
	r := newRecent(3, 4, time.Hour)
	c := &Claim{id: r.digest("a")}
	if r.leftWithin(c, lease, now) {
		t.Error("left before it was claimed")
	}
	r.begin(c, now)
	r.remember(c, leaveIt, now)
	if !r.leftWithin(c, lease, now.Add(lease-1)) || r.leftWithin(c, lease, now.Add(lease)) {
		t.Error("not left for one lease")
	}
	if got := r.begin(c, now); got != entered {
		t.Errorf("begin = %v", got)
	}
	r.remember(c, tellKept, now)
	if r.leftWithin(c, lease, now) {
		t.Error("left, though it is kept by now")
	}
}

func TestRecentIsBounded(t *testing.T) {
	const size = 100
	r := newRecent(size, size, time.Hour)
	for i := range 10 * size {
		r.remember(&Claim{id: r.digest(strconv.Itoa(i))}, tellKept, time.Now())
	}
	if n := len(r.young) + len(r.old); n > size {
		t.Fatalf("remembers %d, want at most %d", n, size)
	}
	for i := range 10 * size {
		_, _, kept := r.ending(r.digest(strconv.Itoa(i)), time.Now())
		if i < 9*size && kept || i >= 10*size-size/2 && !kept {
			t.Fatalf("ID %d kept: %v", i, kept)
		}
	}
}
