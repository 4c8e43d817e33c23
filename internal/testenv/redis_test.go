package testenv

import (
	"context"
	"testing"
	"time"
)

func TestRedis(t *testing.T) {
	begun := time.Now()
	r := Redis(t)
	t.Logf("Redis answered after %s", time.Since(begun))
	r.CLI(t, "set", "k", "v")

	r.Stop(t)
	ctx, cancel := context.WithTimeout(t.Context(), silence)
	defer cancel()
	if err := pingRedis(ctx, r.Addr()); err == nil {
		t.Error("a frozen Redis has answered")
	}
	r.Cont(t)
	if got := r.CLI(t, "get", "k"); got != "v" {
		t.Errorf("after SIGCONT the key holds %q", got)
	}

	pid := r.Pid()
	r.Kill(t)
	if err := pingRedis(t.Context(), r.Addr()); err == nil {
		t.Error("a killed Redis has answered")
	}
	r.Restart(t)
	if r.Pid() == pid {
		t.Error("the restarted Redis is the old process")
	}
	if got := r.CLI(t, "exists", "k"); got != "0" {
		t.Errorf("exists k = %s after kill -9 without persistence, want 0", got)
	}
	r.Terminate(t)
	if err := pingRedis(t.Context(), r.Addr()); err == nil {
		t.Error("a terminated Redis has answered")
	}
}

func TestRedisPersistent(t *testing.T) {
	r := Redis(t, "--appendonly", "yes", "--appendfsync", "always")
	r.CLI(t, "set", "k", "v")
	r.Restart(t)
	if got := r.CLI(t, "get", "k"); got != "v" {
		t.Errorf("after kill -9 with an append-only file the key holds %q, want v", got)
	}
}

func TestRedisPassword(t *testing.T) {
	r := Redis(t, "--requirepass", "secret") // it asks for a login, and that is an answer
	if got := r.CLI(t, "-a", "secret", "--no-auth-warning", "ping"); got != "PONG" {
		t.Errorf("ping = %q", got)
	}
}
