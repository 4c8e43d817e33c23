package stream

import (
	"maps"
	"testing"

	"pgregory.net/rapid"
)

// TestTickets compares with a model that looks at every record anew.
func TestTickets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := Positions{{"b", 0}: 5, {"never", 1}: 7}
		var tickets tickets
		tickets.begin(before)
		type given struct {
			p      Partition
			offset int64
			ticket Ticket
		}
		var out []given
		through := maps.Clone(before)
		next := map[Partition]int64{{"b", 0}: 5}
		check := func() {
			want := maps.Clone(through)
			for _, g := range out {
				want[g.p] = min(want[g.p], g.offset)
			}
			if got := tickets.next(); !maps.Equal(got, want) {
				t.Fatalf("next is %v, want %v", got, want)
			}
		}
		for range rapid.IntRange(0, 80).Draw(t, "steps") {
			p := rapid.SampledFrom([]Partition{{"a", 0}, {"a", 1}, {"b", 0}}).Draw(t, "partition")
			switch step := rapid.IntRange(0, 4).Draw(t, "step"); {
			case step < 3:
				offset := next[p] + int64(rapid.IntRange(0, 3).Draw(t, "gap"))
				next[p] = offset + 1
				r := &Record{Topic: p.Topic, Partition: p.ID, Offset: offset}
				if step == 0 {
					tickets.pass(r)
				} else {
					out = append(out, given{p, offset, tickets.issue(r)})
				}
				through[p] = offset + 1
			case len(out) > 0:
				i := rapid.IntRange(0, len(out)-1).Draw(t, "which")
				out[i].ticket.Kept()
				if step == 4 {
					out[i].ticket.Kept()
				}
				out = append(out[:i], out[i+1:]...)
			}
			check()
		}
		Ticket{}.Kept() // stands for none
	})
}
