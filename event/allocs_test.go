//go:build !race

// Under the race detector sync.Pool drops items at random, so decoders are made anew.

package event

import (
	"os"
	"path/filepath"
	"testing"
)

// TestParseAllocations: what is allocated is the texts that Event holds, and they don't grow with the body.
func TestParseAllocations(t *testing.T) {
	file := func(name string) []byte {
		body, err := os.ReadFile(filepath.Join("testdata", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	for _, test := range []struct {
		name string
		body []byte
		want float64
	}{
		{"today", file("today"), 4},
		{"1 MB", bench1MB(), 4},
		{"old envelope", file("old_envelope"), 3},
		{"without object_type", file("without_object_type"), 5},
		{"preferences", file("preferences"), 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := testing.AllocsPerRun(100, func() {
				if _, err := Parse(test.body); err != nil {
					t.Fatal(err)
				}
			})
			if n > test.want {
				t.Errorf("Parse allocates %v times, want %v at most", n, test.want)
			}
		})
	}
}
