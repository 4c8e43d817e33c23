package deadline

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const after = 160 * time.Millisecond

// Each context ends in time, and no more than a sixteenth too early.
func TestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(after)
		var wg sync.WaitGroup
		distinct := map[context.Context]bool{}
		for range 100 {
			began := time.Now()
			ctx := s.Context(began)
			distinct[ctx] = true
			wg.Go(func() {
				<-ctx.Done()
				if took := time.Since(began); took > after || took <= after-after/share {
					t.Errorf("ended after %s", took)
				}
				if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
					t.Errorf("ended with %v", ctx.Err())
				}
			})
			<-time.After(time.Millisecond)
		}
		wg.Wait()
		if n := len(distinct); n != 10 { // 100 ms, 10 ms each
			t.Errorf("%d contexts", n)
		}
	})
}

func TestWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ends := func(ctx context.Context, want time.Duration) {
			t.Helper()
			began := time.Now()
			<-ctx.Done()
			if took := time.Since(began); took != want {
				t.Errorf("ended after %s, want %s", took, want)
			}
		}
		now := time.Now()
		ctx, cancel := New(after).Within(New(2*after).Context(now), now)
		ends(ctx, after)
		cancel()

		now = time.Now()
		ctx, cancel = New(2*after).Within(New(after).Context(now), now)
		ends(ctx, after)
		cancel()

		ctx, cancel = New(after).Within(t.Context(), time.Now())
		ends(ctx, after)
		cancel()

		parent, end := context.WithCancel(t.Context())
		ctx, cancel = New(after).Within(parent, time.Now())
		time.AfterFunc(after/2, end)
		ends(ctx, after/2)
		cancel()
	})
}

// Those who ask at once get one context, and none that is cancelled.
func TestAtOnce(t *testing.T) {
	s := New(time.Hour)
	now := time.Now()
	got := make(chan context.Context)
	for range 50 {
		go func() { got <- s.Context(now) }()
	}
	first := <-got
	for range 49 {
		if ctx := <-got; ctx != first || ctx.Err() != nil {
			t.Fatalf("another context, or one that has ended: %v", ctx.Err())
		}
	}
}

func BenchmarkContext(b *testing.B) {
	s := New(time.Second)
	b.ReportAllocs()
	for b.Loop() {
		s.Context(time.Now())
	}
}
