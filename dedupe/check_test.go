package dedupe

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"sluice/internal/testenv"
)

func TestCheckRefusesToStart(t *testing.T) {
	locked := realRedis(t, "--requirepass", "right")
	// What a user needs and no more; "lame" lacks scripts.
	if err := locked.raw.Do(t.Context(), "AUTH", "right").Err(); err != nil {
		t.Fatal(err)
	}
	locked.acl(t, "right", "least", "+set", "+get", "+eval", "+del", "+pexpire")
	locked.acl(t, "right", "lame", "+set", "+get", "+del", "+pexpire")
	scriptless := realRedis(t, "--rename-command", "EVAL", "")
	for _, tt := range []struct {
		name, url, password string
		refused             bool
	}{
		{"no password", "redis://" + locked.addr, "", true},
		{"wrong password", "redis://:wrong@" + locked.addr, "", true},
		{"right password", "redis://:right@" + locked.addr, "", false},
		{"password option wins", "redis://:wrong@" + locked.addr, "right", false},
		{"least permissions", "redis://least:pw@" + locked.addr, "", false},
		{"missing permission", "redis://lame:pw@" + locked.addr, "", true},
		{"unknown user", "redis://nobody:pw@" + locked.addr, "", true},
		{"missing command", "redis://" + scriptless.addr, "", true},
		{"no such database", "redis://" + scriptless.addr + "/99", "", true},
		{"password where none is set", "redis://:pw@" + scriptless.addr, "", true},
		{"no cluster", "redis+cluster://" + scriptless.addr, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDeduper(t, Options{URL: tt.url, Password: tt.password})
			err := d.Check(t.Context())
			if tt.refused != errors.Is(err, ErrMisconfigured) || !tt.refused && err != nil {
				t.Fatalf("Check: %v", err)
			}
			if err != nil && (strings.Contains(err.Error(), "pw") || strings.Contains(err.Error(), "wrong")) {
				t.Errorf("error %q holds a password", err)
			}
			if tt.refused {
				return
			}
			c := claim(t, d, tt.name, Won)
			c.renew.kind = renewLease
			d.laneOf(c.key).renew(&c.renew)
			testenv.Eventually(t, soon, func() error {
				if counter(t, d.metrics.renewals) != 1 {
					return errors.New("not renewed")
				}
				return nil
			})
			c.Release()
			claim(t, d, tt.name, Won).Confirm()
			if err := d.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// acl makes a user with password pw that may use these commands on the default prefix.
func (s *server) acl(t *testing.T, password, user string, commands ...string) {
	t.Helper()
	args := []any{"ACL", "SETUSER", user, "reset", "on", ">pw", "~slu:*"}
	for _, c := range commands {
		args = append(args, c)
	}
	pipe := s.raw.Pipeline()
	if password != "" {
		pipe.Do(t.Context(), "AUTH", password)
	}
	pipe.Do(t.Context(), args...)
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A Redis that isn't there yet is no reason not to start.
func TestCheckWithoutRedis(t *testing.T) {
	s := realRedis(t)
	s.real.Kill(t)
	d := s.deduper(t, Options{Timeout: time.Second})
	if err := d.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st := d.State(); st.Up || st.Reason != string(faultDial) {
		t.Errorf("state %+v", st)
	}
	claim(t, d, "id", Skipped).Confirm()
	s.real.Restart(t)
	waitUp(t, d, true)
	s.waitValue(t, "id", "done")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Check(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Check with a cancelled context: %v", err)
	}
}

// Check finds Redis back while the lane is waiting for its next probe: the next claim doesn't wait for that.
func TestCheckClosesTheBreaker(t *testing.T) {
	mini := testenv.Miniredis(t)
	s := newServer(t, &server{addr: mini.Addr(), mini: mini})
	d := s.deduper(t, Options{})
	mini.SetError("LOADING x")
	claim(t, d, "a", Skipped)
	waitUp(t, d, false)
	mini.SetError("")
	if err := d.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	claim(t, d, "b", Won)
}

func TestEvictionWarning(t *testing.T) {
	s := realRedis(t)
	s.acl(t, "", "info", "+set", "+get", "+eval", "+del", "+pexpire", "+info")
	s.acl(t, "", "mute", "+set", "+get", "+eval", "+del", "+pexpire")
	for _, tt := range []struct {
		policy, user string
		warns        bool
	}{
		{"noeviction", "", false},
		{"allkeys-lru", "", true},
		{"volatile-ttl", "info:pw@", true},
		{"noeviction", "info:pw@", false},
		{"allkeys-lru", "mute:pw@", false},
	} {
		t.Run(tt.policy+" "+tt.user, func(t *testing.T) {
			if err := s.raw.ConfigSet(t.Context(), "maxmemory-policy", tt.policy).Err(); err != nil {
				t.Fatal(err)
			}
			core, logs := observer.New(zapcore.DebugLevel)
			d := newDeduper(t, Options{URL: "redis://" + tt.user + s.addr, Log: zap.New(core)})
			for range 2 {
				if err := d.Check(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			warnings := logs.FilterLevelExact(zapcore.WarnLevel).FilterField(zap.String("maxmemory_policy", tt.policy)).Len()
			if want := map[bool]int{true: 1}[tt.warns]; warnings != want {
				t.Errorf("%d warnings, want %d: %v", warnings, want, logs.All())
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		reg := prometheus.NewPedanticRegistry()
		d := s.deduper(t, Options{Registerer: reg, ClaimTimeout: short})
		c := claim(t, d, "a", Won)
		refused(t, d, "a", ErrBusy)
		c.Confirm()
		claim(t, d, "a", Duplicate)
		testenv.Eventually(t, soon, func() error {
			if n := d.State().PendingConfirms; n != 0 {
				return fmt.Errorf("%d confirms pending", n)
			}
			return nil
		})
		got := gather(t, reg)
		for name, want := range map[string]float64{
			"sluice_redis_up":                              1,
			"sluice_dedupe_confirm_pending":                0,
			"sluice_dedupe_unsettled_claims":               0,
			"sluice_dedupe_claims_total{won}":              1,
			"sluice_dedupe_claims_total{busy}":             1,
			"sluice_dedupe_claims_total{duplicate}":        1,
			"sluice_dedupe_claims_total{skipped}":          0,
			"sluice_dedupe_skipped_total":                  0,
			"sluice_redis_errors_total{timeout}":           0,
			"sluice_dedupe_confirms_dropped_total{full}":   0,
			"sluice_dedupe_leases_lost_total":              0,
			"sluice_dedupe_renewals_total":                 0,
			"sluice_dedupe_foreign_values_total":           0,
			"sluice_dedupe_claims_total{unavailable}":      0,
			"sluice_dedupe_confirms_dropped_total{closed}": 0,
		} {
			if v, ok := got[name]; !ok || v != want {
				t.Errorf("%s = %v (there: %v), want %v", name, v, ok, want)
			}
		}
		if n := got["sluice_redis_pipeline_commands"]; n < 2 {
			t.Errorf("%v flights observed", n)
		}
		if _, err := New(Options{URL: s.url(), Instance: "twin", Registerer: reg}); err == nil {
			t.Error("registering twice gives no error")
		}
	})
}

// gather returns every metric's value, with its label's value in braces; of a histogram, the count.
func gather(t *testing.T, g prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += "{" + l.GetValue() + "}"
			}
			switch {
			case m.Counter != nil:
				got[name] = m.Counter.GetValue()
			case m.Gauge != nil:
				got[name] = m.Gauge.GetValue()
			case m.Histogram != nil:
				got[name] = float64(m.Histogram.GetSampleCount())
			}
		}
	}
	return got
}

func counter(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}
