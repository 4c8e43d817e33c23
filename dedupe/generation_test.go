package dedupe

import (
	"testing"
	"time"
)

func TestGenerationValue(t *testing.T) {
	g := generation{id: "ABCDEFGH12345678", since: 1_700_000_000_000, stamp: 1_700_000_000_001}
	const text = "gen:ABCDEFGH12345678.1700000000000.1700000000001"
	if g.String() != text {
		t.Errorf("%s", g)
	}
	for value, want := range map[string]bool{
		text: true, "gen:x.0000000000000.1700000000001": true,
		"": false, "done": false, "gen:": false, "gen:x.0.1": false, text + ".1": false, "gen:x.-000000000001.1700000000001": false, "gen2:x.1.2": false,
	} {
		got, ok := parseGeneration(value)
		if ok != want || ok && got.String() != value {
			t.Errorf("%q: %v, %+v", value, ok, got)
		}
	}
}

func TestJudge(t *testing.T) {
	const ttl = time.Hour
	now := time.UnixMilli(1_800_000_000_000)
	ago := func(d time.Duration) int64 { return now.Add(-d).UnixMilli() }
	fresh := generation{id: "a", stamp: ago(2 * time.Second)}
	for _, tt := range []struct {
		name  string
		was   generation
		is    *generation
		doubt int64
		want  finding
		since int64
		stamp int64
	}{
		{"new", generation{}, nil, 0, findEmpty, ago(ttl), ago(0)},
		{"gone", fresh, nil, 0, findLost, ago(ttl), ago(0)},
		{"first look", generation{}, &fresh, 0, findNothing, 0, ago(0)},
		{"as it was", fresh, &fresh, 0, findNothing, 0, ago(0)},
		{"to be repaired", fresh, &generation{"b", 7, ago(0)}, 0, findNothing, 7, ago(0)},
		{"by a fast clock", fresh, &generation{"a", 0, ago(-time.Second)}, 0, findNothing, 0, ago(-time.Second)},
		{"older", fresh, &generation{"a", 0, ago(3 * time.Second)}, 0, findOlder, ago(3*time.Second + guardMargin), ago(0)},
		{"old backup", fresh, &generation{"b", 0, ago(ttl / 2)}, 0, findOlder, ago(ttl/2 + guardMargin), ago(0)},
		{"old at the start", generation{}, &generation{"b", 0, ago(20 * time.Second)}, 0, findGap, ago(20*time.Second + guardMargin), ago(0)},
		{"doubt", fresh, &fresh, ago(0), findDoubt, ago(2*time.Second + guardMargin), ago(0)},
		{"doubt of before", fresh, &fresh, ago(time.Minute), findDoubt, ago(time.Minute + guardMargin), ago(0)},
		{"doubt while repairing", fresh, &generation{"a", 7, ago(time.Second)}, ago(0), findNothing, 7, ago(0)},
		{"gap while repairing", generation{}, &generation{"a", 7, ago(time.Hour)}, 0, findNothing, 7, ago(0)},
		{"older while repairing", fresh, &generation{"a", 7, ago(time.Hour)}, 0, findOlder, 7, ago(0)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			next, found := judge(tt.was, tt.is, now, tt.doubt, ttl)
			if found != tt.want || next.since != tt.since || next.stamp != tt.stamp {
				t.Errorf("%q, %+v; want %q, since %d, stamp %d", found, next, tt.want, tt.since, tt.stamp)
			}
			if renamed := tt.is == nil || next.id != tt.is.id; renamed != (found != findNothing) {
				t.Errorf("id %q", next.id)
			}
		})
	}
}
