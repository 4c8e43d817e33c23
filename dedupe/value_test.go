package dedupe

import (
	"strconv"
	"strings"
	"testing"
)

// splitToken reads a lease from its end, as whoever settles a former life's leases will.
func splitToken(value string) (instance, life string, counter uint64, ok bool) {
	token, ok := strings.CutPrefix(value, valuePending)
	if !ok {
		return "", "", 0, false
	}
	last := strings.LastIndexByte(token, '.')
	if last < 0 {
		return "", "", 0, false
	}
	middle := strings.LastIndexByte(token[:last], '.')
	if middle < 0 {
		return "", "", 0, false
	}
	counter, err := strconv.ParseUint(token[last+1:], 36, 64)
	return token[:middle], token[middle+1 : last], counter, err == nil
}

func TestTokens(t *testing.T) {
	for _, instance := range []string{"a", "sluice-0", "sluice.eu-west-1.internal"} {
		first, err := newTokens(instance)
		if err != nil {
			t.Fatal(err)
		}
		second, err := newTokens(instance)
		if err != nil {
			t.Fatal(err)
		}
		var lives []string
		for _, tok := range []*tokens{first, second} {
			for n := uint64(1); n <= 40; n++ {
				v := tok.next()
				gotInstance, life, counter, ok := splitToken(v)
				if !ok || gotInstance != instance || len(life) != 16 || counter != n {
					t.Fatalf("token %q reads as %q, %q, %d, %v", v, gotInstance, life, counter, ok)
				}
				if n == 1 {
					lives = append(lives, life)
				}
				if life != lives[len(lives)-1] {
					t.Fatalf("token %q changed its life", v)
				}
			}
		}
		if lives[0] == lives[1] {
			t.Fatalf("two process starts share the life %s", lives[0])
		}
	}
}

func TestReadValue(t *testing.T) {
	const mine = "pending:a.0011223344556677.1"
	for value, want := range map[string]holding{
		mine:                            holdMine,
		"pending:a.0011223344556677.11": holdPending,
		"pending:b.0011223344556677.1":  holdPending,
		"done":                          holdDone,
		"done:dl":                       holdDoneDead,
		"done:later":                    holdDone,
		"":                              holdForeign,
		"1":                             holdForeign,
		"donee":                         holdForeign,
	} {
		if got := readValue(value, mine); got != want {
			t.Errorf("readValue(%q) = %v, want %v", value, got, want)
		}
	}
}
