package dedupe

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/internal/testenv"
)

func TestClose(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		d := s.deduper(t, Options{})
		const n = 2000
		for i := range n {
			claim(t, d, strconv.Itoa(i), Won).Confirm()
		}
		held := claim(t, d, "held", Won)
		if err := d.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if got := s.value(t, strconv.Itoa(i)); got != "done" {
				t.Fatalf("%d holds %q after Close", i, got)
			}
		}
		refused(t, d, "new", ErrClosed)
		held.Confirm() // neither blocks nor panics
		if err := d.Close(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("closing twice: %v", err)
		}
	})
}

// Close waits for Redis to come back as long as it may.
func TestCloseWaits(t *testing.T) {
	mini := testenv.Miniredis(t)
	s := newServer(t, &server{addr: mini.Addr(), mini: mini})
	d := s.deduper(t, Options{})
	mini.SetError("LOADING x")
	claim(t, d, "id", Skipped).Confirm()
	closed := make(chan error, 1)
	go func() { closed <- d.Close(t.Context()) }()
	testenv.Eventually(t, soon, func() error {
		if _, err := d.Claim(t.Context(), "new"); !errors.Is(err, ErrClosed) {
			return fmt.Errorf("claiming while closing: %w", err)
		}
		return nil
	})
	mini.SetError("")
	if err := <-closed; err != nil {
		t.Errorf("closing: %v", err)
	}
	if got := s.value(t, "id"); got != "done" {
		t.Errorf("holds %q after Close", got)
	}
}

func TestCloseWithoutRedis(t *testing.T) {
	s := realRedis(t)
	d := s.deduper(t, Options{Timeout: 300 * time.Millisecond})
	claim(t, d, "warm", Won).Release()
	s.waitValue(t, "warm", "")
	s.real.Stop(t)
	for i := range 3 {
		claim(t, d, strconv.Itoa(i), Skipped).Confirm()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	err := d.Close(ctx)
	if err == nil || !strings.Contains(err.Error(), "before 3 kept deliveries") {
		t.Errorf("closing: %v", err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("closing took %v", took)
	}
}
