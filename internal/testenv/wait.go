package testenv

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// pollEvery is the pause between two looks at a condition: short against a server's start, long against the cost of
// a look.
const pollEvery = 20 * time.Millisecond

// Eventually calls check until it returns nil, and fails the test with its last error when that takes longer than
// within. It is for conditions that nothing announces; where there is a channel to wait on, wait on the channel.
func Eventually(t testing.TB, within time.Duration, check func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if err := poll(ctx, func(context.Context) error { return check() }); err != nil {
		t.Fatalf("not within %s: %v", within, err)
	}
}

// poll calls check until it returns nil or ctx ends; then it returns check's last error.
func poll(ctx context.Context, check func(context.Context) error) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; last: %w", context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}
