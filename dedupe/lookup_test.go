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

// look looks an ID up, with waits that a slow machine keeps.
func look(t *testing.T, url, id string) Entry {
	t.Helper()
	entry, err := Lookup(t.Context(), Options{URL: url, Timeout: 5 * time.Second}, id)
	if err != nil {
		t.Fatalf("looking up %s: %v", id, err)
	}
	return entry
}

func TestLookup(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		d := s.deduper(t, Options{Instance: "eu.web-1", Lease: 30 * time.Second, TTL: 8 * time.Hour})
		claim(t, d, "held", Won)
		claim(t, d, "kept", Won).Confirm()
		claim(t, d, "dead", Won).ConfirmDeadLetter()
		s.waitValue(t, "kept", "done")
		s.waitValue(t, "dead", "done:dl")
		for id, value := range map[string]string{"later": "done:v9", "old": "pending:odd", "foreign": "hello"} {
			if err := s.raw.Set(t.Context(), Key("slu:", id), value, 0).Err(); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.raw.RPush(t.Context(), Key("slu:", "list"), "x").Err(); err != nil {
			t.Fatal(err)
		}
		tests := []struct {
			id     string
			want   Entry
			longer time.Duration // what it has left is over this, and at most as long again and a little
		}{
			{"nobody", Entry{Status: StatusUnknown}, 0},
			{"held", Entry{Status: StatusPending, Instance: "eu.web-1"}, 15 * time.Second},
			{"kept", Entry{Status: StatusDone}, 5 * time.Hour},
			{"dead", Entry{Status: StatusDeadLettered}, 5 * time.Hour},
			{"later", Entry{Status: StatusDone, Forever: true}, 0},
			{"old", Entry{Status: StatusPending, Forever: true}, 0},
			{"foreign", Entry{Status: StatusForeign, Forever: true}, 0},
			{"list", Entry{Status: StatusForeign}, 0},
		}
		before := s.dump(t)
		for _, test := range tests {
			t.Run(test.id, func(t *testing.T) {
				got := look(t, s.url(), test.id)
				left := got.Remaining
				got.Remaining = 0
				if got != test.want || (test.longer == 0) != (left == 0) || left < test.longer || left > 2*test.longer {
					t.Errorf("got %+v with %v left, want %+v with over %v", got, left, test.want, test.longer)
				}
			})
		}
		if after := s.dump(t); after != before {
			t.Errorf("before %s\nafter  %s", before, after)
		}
	})
}

// dump is every key with its value, without the lease's which is renewed.
func (s *server) dump(t *testing.T) string {
	t.Helper()
	keys, err := s.raw.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	all := make([]string, len(keys))
	for i, key := range keys {
		all[i] = key + "=" + s.value(t, strings.TrimPrefix(key, "slu:"))
	}
	return fmt.Sprint(len(all), strings.Join(all, " "))
}

// TestLookupOnlyReads lets Redis itself say which commands came.
func TestLookupOnlyReads(t *testing.T) {
	s := realRedis(t)
	if err := s.raw.ConfigResetStat(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	look(t, s.url(), "a")
	stats := s.raw.Info(t.Context(), "commandstats").Val()
	for line := range strings.Lines(stats) {
		name, isCommand := strings.CutPrefix(line, "cmdstat_")
		name, _, _ = strings.Cut(name, ":")
		switch name {
		case "get", "ping", "hello", "client|setname", "config|resetstat", "info", "select":
		default:
			if isCommand {
				t.Errorf("Redis was asked %s", name)
			}
		}
	}
	if !strings.Contains(stats, "cmdstat_get:calls=1,") {
		t.Errorf("GET isn't among %s", stats)
	}
}

func TestLookupWithoutPermissionForTTL(t *testing.T) {
	s := realRedis(t)
	s.acl(t, "", "least", "+set", "+get", "+eval", "+del", "+pexpire")
	if err := s.raw.Set(t.Context(), "slu:a", "done", time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	url := "redis://least:pw@" + s.addr
	if got := look(t, url, "a"); got != (Entry{Status: StatusDone}) {
		t.Errorf("got %+v", got)
	}
	if got := look(t, url, "b"); got != (Entry{Status: StatusUnknown}) {
		t.Errorf("got %+v", got)
	}
}

func TestLookupFails(t *testing.T) {
	s := realRedis(t)
	s.acl(t, "", "nothing", "+ping")
	away := freeAddr(t)
	tests := []struct {
		name, url string
		want      error // nil: an error of another kind
	}{
		{"away", "redis://" + away, ErrUnavailable},
		{"cluster away", "redis+cluster://" + away, ErrUnavailable},
		{"sentinel away", "redis+sentinel://" + away + "?master_name=mymaster", ErrUnavailable},
		{"wrong password", "redis://nothing:wrong@" + s.addr, ErrMisconfigured},
		{"no permission", "redis://nothing:pw@" + s.addr, ErrMisconfigured},
		{"no URL", "", nil},
		{"other scheme", "http://hidden:hidden@" + away, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			entry, err := Lookup(t.Context(), Options{URL: test.url, Timeout: 500 * time.Millisecond}, "a")
			if err == nil || entry != (Entry{}) || (test.want != nil && !errors.Is(err, test.want)) {
				t.Errorf("got %+v, %v; want %v", entry, err, test.want)
			}
			if test.want == nil && (errors.Is(err, ErrUnavailable) || errors.Is(err, ErrMisconfigured)) {
				t.Errorf("got %v", err)
			}
			if strings.Contains(err.Error(), "hidden") {
				t.Errorf("a password in %v", err)
			}
		})
	}
	t.Run("frozen", func(t *testing.T) {
		s.real.Stop(t)
		defer s.real.Cont(t)
		_, err := Lookup(t.Context(), Options{URL: s.url(), Timeout: 50 * time.Millisecond}, "a")
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Lookup(ctx, Options{URL: s.url()}, "a"); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func TestLookupInCluster(t *testing.T) {
	t.Parallel() // it mostly waits
	c := startCluster(t)
	d := newDeduper(t, Options{URL: c.url()})
	for i := range 12 { // spread over the masters
		id := "id" + strconv.Itoa(i)
		claim(t, d, id, Won)
		if got := look(t, "redis+cluster://"+c.masters[i%3].addr, id); got.Status != StatusPending || got.Instance != "test" {
			t.Errorf("%s: %+v", id, got)
		}
	}
	if got := look(t, c.url(), "nobody"); got.Status != StatusUnknown {
		t.Errorf("got %+v", got)
	}
}

func TestLookupThroughSentinel(t *testing.T) {
	master := realRedis(t)
	if err := master.raw.Set(t.Context(), "slu:a", "done", time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	addr := startSentinel(t, master)
	url := "redis+sentinel://" + addr + "?master_name=mymaster"
	testenv.Eventually(t, soon, func() error { // the sentinel has just been started
		_, err := Lookup(t.Context(), Options{URL: url, Timeout: 5 * time.Second}, "a")
		return err
	})
	for id, want := range map[string]Status{"a": StatusDone, "b": StatusUnknown} {
		if got := look(t, url, id); got.Status != want {
			t.Errorf("%s: %+v", id, got)
		}
	}
	_, err := Lookup(t.Context(), Options{URL: "redis+sentinel://" + addr + "?master_name=nobody", Timeout: 5 * time.Second}, "a")
	if !errors.Is(err, ErrMisconfigured) {
		t.Errorf("a master that no sentinel knows: %v", err)
	}
}

func TestHolder(t *testing.T) {
	for value, want := range map[string]string{
		"pending:a.0011223344556677.z": "a", "pending:a.b.c.0011223344556677.1": "a.b.c", "pending:": "", "pending:a.b": "", "pending:..": "",
		"pending:a\x1b[1m.0011.1": "",
	} {
		if got := holder(value); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
	token, err := newTokens("web.1")
	if err != nil {
		t.Fatal(err)
	}
	if got := holder(token.next()); got != "web.1" {
		t.Errorf("a token of this version: %q", got)
	}
}

func TestSourceOf(t *testing.T) {
	long := strings.Repeat("x", 100)
	for _, test := range []struct {
		mode         Mode
		event, given string
		want         Source
	}{
		{EventID, "01J", "d", SourceEventID},
		{EventID, "~b01", "d", SourceEventIDHash},
		{EventID, long, "d", SourceEventIDHash},
		{EventID, "", "d", SourceDeliveryAndBody},
		{EventID, "", "", SourceBodyHash},
		{DeliveryID, "01J", "d", SourceDelivery},
		{DeliveryID, "01J", long, SourceDeliveryHash},
		{DeliveryID, "01J", "", SourceEventID},
	} {
		if got := SourceOf(Identify(test.mode, test.event, test.given, []byte("{}"))); got != test.want {
			t.Errorf("%+v: %s", test, got)
		}
	}
}
