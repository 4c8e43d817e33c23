package dedupe

import (
	"slices"
	"sync"
	"testing"
	"time"
)

func take(t *testing.T, m *Marker, takings ...Taking) []TakeOutcome {
	t.Helper()
	got, err := m.Take(t.Context(), takings)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestTake(t *testing.T) {
	const name = "run-1.0.7"
	kinds := map[string]Taking{
		"event":       {},
		"dead letter": {DeadLetter: true},
		"sent on":     {Kept: true},
	}
	tests := []struct {
		kind, holds string
		want        TakeOutcome
		taken       string // what it holds then
		given       string // and when it is given
	}{
		{"event", "", Taken, "pending:" + name, "done"},
		{"event", "done", TakenKept, "done", ""},
		{"event", "done:dl", Taken, "done:" + name, "done"},
		{"event", "pending:" + name, Taken, "pending:" + name, "done"},
		{"event", "done:" + name, Taken, "done:" + name, "done"},
		{"event", leaseOfOther, TakenPending, leaseOfOther, ""},
		{"event", "done:run-2.0.7", TakenKept, "done:run-2.0.7", ""},
		{"event", "hello", TakenForeign, "hello", ""},
		{"dead letter", "", Taken, "pending:" + name, "done:dl"},
		{"dead letter", "done:dl", TakenKept, "done:dl", ""},
		{"dead letter", "done", TakenKept, "done", ""},
		{"sent on", "", Taken, "done:" + name, "done"},
		{"sent on", "done:dl", Taken, "done:" + name, "done"},
		{"sent on", "done", TakenKept, "done", ""},
		{"sent on", "done:run-2.0.7", TakenByOther, "done:run-2.0.7", ""},
		{"sent on", "done:run-1.0.8", TakenByOther, "done:run-1.0.8", ""},
		{"sent on", leaseOfOther, TakenPending, leaseOfOther, ""},
	}
	onBoth(t, func(t *testing.T, s *server) {
		m := newMarker(t, Options{URL: s.url()})
		for _, tt := range tests {
			x := kinds[tt.kind]
			x.ID, x.Name, x.Until = tt.kind+" "+tt.holds, name, time.Now().Add(time.Minute)
			if tt.holds != "" {
				s.put(t, x.ID, tt.holds, 2*time.Hour)
			}
			looked, err := m.LookTaken(t.Context(), []Taking{x})
			if err != nil || looked[0] != tt.want {
				t.Errorf("%s on %q: looks like %d, %v, want %d", tt.kind, tt.holds, looked[0], err, tt.want)
			}
			for range 2 { // as after a reply that was lost
				if got := take(t, m, x)[0]; got != tt.want {
					t.Errorf("%s on %q: %d, want %d", tt.kind, tt.holds, got, tt.want)
				}
			}
			if got := s.value(t, x.ID); got != tt.taken {
				t.Errorf("%s on %q: then %q, want %q", tt.kind, tt.holds, got, tt.taken)
			}
			// What was there keeps its time; what is new has its own.
			want := 2 * time.Hour
			if tt.holds == "" {
				want = time.Minute
			}
			if left := s.left(t, x.ID); left > want || left < want-30*time.Second {
				t.Errorf("%s on %q: %s left, want %s", tt.kind, tt.holds, left, want)
			}
			if tt.given == "" {
				continue
			}
			for range 2 {
				if err := m.Give(t.Context(), []Taking{x}, time.Now().Add(time.Hour)); err != nil {
					t.Fatal(err)
				}
			}
			if got, left := s.value(t, x.ID), s.left(t, x.ID); got != tt.given || left > time.Hour || left < 50*time.Minute {
				t.Errorf("%s on %q: given %q for %s, want %q", tt.kind, tt.holds, got, left, tt.given)
			}
			if got := take(t, m, x)[0]; got != TakenKept {
				t.Errorf("%s on %q: after it was given: %d", tt.kind, tt.holds, got)
			}
		}
	})
}

// Whoever comes second, an instance or another run, sees the first.
func TestTakeBesideClaims(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		m, d := newMarker(t, Options{URL: s.url()}), s.deduper(t, Options{})
		s.put(t, "dead", "done:dl", time.Hour)
		take(t, m, Taking{ID: "dead", Name: "run-1.0.1", Kept: true, Until: time.Now().Add(time.Hour)})
		claim(t, d, "dead", Duplicate) // it is kept as a dead letter

		c := claim(t, d, "live", Won)
		x := Taking{ID: "live", Name: "run-1.0.2", Until: time.Now().Add(time.Minute)}
		if got := take(t, m, x)[0]; got != TakenPending {
			t.Errorf("claimed by an instance: %d", got)
		}
		c.Release()
		s.waitValue(t, "live", "")
		if got := take(t, m, x)[0]; got != Taken {
			t.Errorf("released by an instance: %d", got)
		}
		s.put(t, "live", "done", time.Hour) // an instance's confirm
		if got := take(t, m, x)[0]; got != TakenKept {
			t.Errorf("confirmed by an instance: %d", got)
		}

		var wg sync.WaitGroup
		won := make([]int, 200)
		var mu sync.Mutex
		for run := range 4 {
			wg.Go(func() {
				m, err := NewMarker(Options{URL: s.url(), Timeout: 5 * time.Second})
				if err != nil {
					t.Error(err)
					return
				}
				defer m.Close()
				var all []Taking
				for i := range won {
					all = append(all, Taking{ID: "many" + string(rune('a'+i)), Name: "run-" + string(rune('a'+run)) + ".0.1", Kept: true, Until: time.Now().Add(time.Hour)})
				}
				got, err := m.Take(t.Context(), all)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				for i, o := range got {
					if o == Taken {
						won[i]++
					}
				}
			})
		}
		wg.Wait()
		if slices.Min(won) != 1 || slices.Max(won) != 1 {
			t.Errorf("taken by %v", won)
		}
	})
}
