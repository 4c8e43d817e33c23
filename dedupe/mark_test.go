package dedupe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"sluice/internal/testenv"
)

// newMarker starts a marker that ends with the test, with waits that a slow machine keeps.
func newMarker(t *testing.T, o Options) *Marker {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	m, err := NewMarker(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func mark(t *testing.T, m *Marker, marks ...Mark) []MarkOutcome {
	t.Helper()
	got, err := m.Mark(t.Context(), marks)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// put writes a key as another program would.
func (s *server) put(t *testing.T, id, value string, ttl time.Duration) {
	t.Helper()
	if err := s.raw.Set(t.Context(), Key("slu:", id), value, ttl).Err(); err != nil {
		t.Fatal(err)
	}
}

func (s *server) left(t *testing.T, id string) time.Duration {
	t.Helper()
	left, err := s.raw.PTTL(t.Context(), Key("slu:", id)).Result()
	if err != nil {
		t.Fatal(err)
	}
	return left
}

const leaseOfOther = "pending:other.0011223344556677.1"

func TestMark(t *testing.T) {
	const none = time.Duration(-1)
	tests := []struct {
		name   string
		holds  string
		ttl    time.Duration // of what it holds; 0: for ever
		dead   bool
		until  time.Duration // from now
		want   MarkOutcome
		value  string
		expiry time.Duration // none: for ever
	}{
		{"missing", "", 0, false, time.Hour, MarkWritten, "done", time.Hour},
		{"missing, dead letter", "", 0, true, time.Hour, MarkWritten, "done:dl", time.Hour},
		{"done for longer", "done", 2 * time.Hour, false, time.Hour, MarkThere, "done", 2 * time.Hour},
		{"done for shorter", "done", time.Minute, false, time.Hour, MarkThere, "done", time.Minute},
		{"done, dead letter", "done", 2 * time.Hour, true, time.Hour, MarkThere, "done", 2 * time.Hour},
		{"dead letter twice", "done:dl", 2 * time.Hour, true, time.Hour, MarkThere, "done:dl", 2 * time.Hour},
		{"dead letter sent on", "done:dl", 2 * time.Hour, false, time.Hour, MarkRaised, "done", 2 * time.Hour},
		{"dead letter sent on later", "done:dl", time.Minute, false, time.Hour, MarkRaised, "done", time.Hour},
		{"dead letter for ever", "done:dl", 0, false, time.Hour, MarkRaised, "done", none},
		{"a later version's", "done:v9", time.Minute, false, time.Hour, MarkThere, "done:v9", time.Minute},
		{"pending", leaseOfOther, time.Minute, false, time.Hour, MarkPending, leaseOfOther, time.Minute},
		{"pending, dead letter", leaseOfOther, time.Minute, true, time.Hour, MarkPending, leaseOfOther, time.Minute},
		{"foreign", "hello", time.Minute, false, time.Hour, MarkForeign, "hello", time.Minute},
		{"too old", "", 0, false, -time.Second, MarkTooOld, "", 0},
		{"too old, pending", leaseOfOther, time.Minute, false, 0, MarkTooOld, leaseOfOther, time.Minute},
	}
	onBoth(t, func(t *testing.T, s *server) {
		m := newMarker(t, Options{URL: s.url()})
		marks := make([]Mark, len(tests))
		var want []MarkOutcome
		for i, test := range tests {
			marks[i] = Mark{ID: strconv.Itoa(i), DeadLetter: test.dead, Until: time.Now().Add(test.until)}
			want = append(want, test.want)
			if test.holds != "" {
				s.put(t, marks[i].ID, test.holds, test.ttl)
			}
		}
		before := s.dump(t)
		looked, err := m.Look(t.Context(), marks)
		if err != nil || !slices.Equal(looked, want) {
			t.Errorf("looking: %v, %v, want %v", looked, err, want)
		}
		if after := s.dump(t); after != before {
			t.Errorf("looking has changed %s\ninto %s", before, after)
		}
		got := mark(t, m, marks...)
		for i, test := range tests {
			if got[i] != test.want || s.value(t, marks[i].ID) != test.value {
				t.Errorf("%s: outcome %d, holds %q; want %d, %q", test.name, got[i], s.value(t, marks[i].ID), test.want, test.value)
			}
			left := s.left(t, marks[i].ID)
			switch {
			case test.value == "":
			case test.expiry == none:
				if left != none {
					t.Errorf("%s: %v left, want it for ever", test.name, left)
				}
			case left > test.expiry || left < test.expiry-30*time.Second:
				t.Errorf("%s: %v left, want %v", test.name, left, test.expiry)
			}
		}
		if again := mark(t, m, Mark{ID: "0", Until: time.Now().Add(time.Minute)}); again[0] != MarkThere || s.left(t, "0") < 50*time.Minute {
			t.Errorf("marked again: outcome %d, %v left", again[0], s.left(t, "0"))
		}
	})
}

// What one delivery is on decides, in whatever order it is seen, and also within a batch.
func TestMarkBothTopics(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		m := newMarker(t, Options{URL: s.url()})
		until := time.Now().Add(time.Hour)
		for name, marks := range map[string][]Mark{
			"dead-first": {{"dead-first", true, until}, {"dead-first", false, until}},
			"dead-last":  {{"dead-last", false, until}, {"dead-last", true, until}},
		} {
			mark(t, m, marks...)
			if got := s.value(t, name); got != "done" {
				t.Errorf("%s: holds %q", name, got)
			}
		}
		if err := s.raw.RPush(t.Context(), Key("slu:", "list"), "x").Err(); err != nil {
			t.Fatal(err)
		}
		if got := mark(t, m, Mark{"list", false, until}); got[0] != MarkForeign || s.value(t, "list") != "(no string)" {
			t.Errorf("a list: outcome %d, holds %q", got[0], s.value(t, "list"))
		}
	})
}

// Beside live claims: neither their lease nor what the topic holds is lost, whatever the holder does.
func TestMarkBesideClaims(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		m := newMarker(t, Options{URL: s.url()})
		here := s.deduper(t, Options{Instance: "here"})
		there := s.deduper(t, Options{Instance: "there"})
		until := time.Now().Add(time.Hour)
		for _, test := range []struct {
			name   string
			settle func(*Claim)
			want   string
		}{
			{"confirmed", (*Claim).Confirm, "done"},
			{"confirmed as dead", (*Claim).ConfirmDeadLetter, "done:dl"},
			{"released", (*Claim).Release, ""},
		} {
			x := Mark{ID: strings.ReplaceAll(test.name, " ", "-"), Until: until}
			c := claim(t, here, x.ID, Won)
			if got := mark(t, m, x); got[0] != MarkPending || s.value(t, x.ID) != c.token {
				t.Errorf("%s: outcome %d, holds %q", test.name, got[0], s.value(t, x.ID))
			}
			test.settle(c)
			s.waitValue(t, x.ID, test.want)
			mark(t, m, x)
			if got := s.value(t, x.ID); got != "done" {
				t.Errorf("%s: holds %q in the end", test.name, got)
			}
			claim(t, there, x.ID, Duplicate)
		}

		// Redis lost the lease and it was marked meanwhile: a late release takes nothing away.
		c := claim(t, here, "late", Won)
		if err := s.raw.FlushAll(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		if got := mark(t, m, Mark{ID: "late", Until: until}); got[0] != MarkWritten {
			t.Errorf("outcome %d", got[0])
		}
		c.Release()
		testenv.Eventually(t, soon, func() error {
			if n := here.tellings.Load(); n != 0 {
				return fmt.Errorf("%d to tell", n)
			}
			return nil
		})
		claim(t, there, "late", Duplicate)
	})
}

func TestMarkInCluster(t *testing.T) {
	t.Parallel() // it mostly waits
	c := startCluster(t)
	for _, s := range append([]*server{c.replica}, c.masters...) {
		s.acl(t, "", "least", "+set", "+get", "+eval", "+cluster|slots")
	}
	m := newMarker(t, Options{URL: "redis+cluster://least:pw@" + c.masters[1].addr})
	until := time.Now().Add(time.Hour)
	var marks []Mark
	for i := range 600 {
		marks = append(marks, Mark{ID: strconv.Itoa(i), DeadLetter: true, Until: until})
	}
	want := func(outcome MarkOutcome, value string) {
		t.Helper()
		for i, got := range mark(t, m, marks...) {
			if got != outcome {
				t.Fatalf("%s: outcome %d, want %d", marks[i].ID, got, outcome)
			}
		}
		for _, x := range []string{"1", "300", "599"} {
			if got := look(t, c.url(), x); (value == "done") != (got.Status == StatusDone) || got.Remaining < 50*time.Minute {
				t.Errorf("%s: %+v", x, got)
			}
		}
	}
	want(MarkWritten, "done:dl")
	want(MarkThere, "done:dl")
	for i := range marks {
		marks[i].DeadLetter = false
	}
	want(MarkRaised, "done")
	keys := int64(0)
	for _, s := range c.masters {
		n := s.raw.DBSize(t.Context()).Val()
		if n == 0 {
			t.Errorf("%s holds nothing", s.addr)
		}
		keys += n
	}
	if keys != 600 {
		t.Errorf("%d keys", keys)
	}
}

func TestMarkThroughSentinel(t *testing.T) {
	master := realRedis(t)
	addr := startSentinel(t, master)
	m := newMarker(t, Options{URL: "redis+sentinel://" + addr + "?master_name=mymaster"})
	testenv.Eventually(t, soon, func() error { // the sentinel has just been started
		_, err := m.Look(t.Context(), []Mark{{ID: "x", Until: time.Now().Add(time.Hour)}})
		return err
	})
	if got := mark(t, m, Mark{ID: "a", Until: time.Now().Add(time.Hour)}); got[0] != MarkWritten || master.value(t, "a") != "done" {
		t.Errorf("outcome %d, holds %q", got[0], master.value(t, "a"))
	}
	unknown := newMarker(t, Options{URL: "redis+sentinel://" + addr + "?master_name=nobody"})
	if _, err := unknown.Look(t.Context(), []Mark{{ID: "x", Until: time.Now().Add(time.Hour)}}); !errors.Is(err, ErrMisconfigured) {
		t.Errorf("a master that no sentinel knows: %v", err)
	}
}

// While Redis is away it tries on and says so; nothing is lost or told wrongly.
func TestMarkWhileAway(t *testing.T) {
	core, said := observer.New(zapcore.InfoLevel)
	s := realRedis(t)
	m := newMarker(t, Options{URL: s.url(), Timeout: 200 * time.Millisecond, Log: zap.New(core)})
	marks := []Mark{{ID: "a", Until: time.Now().Add(time.Hour)}, {ID: "b", DeadLetter: true, Until: time.Now().Add(time.Hour)}}
	for name, gone := range map[string]func() (back func()){
		"killed": func() func() { s.real.Kill(t); return func() { s.real.Restart(t) } },
		"frozen": func() func() { s.real.Stop(t); return func() { s.real.Cont(t) } },
		"full": func() func() {
			s.raw.ConfigSet(t.Context(), "maxmemory", "1")
			return func() { s.raw.ConfigSet(t.Context(), "maxmemory", "0") }
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := s.raw.FlushAll(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			said.TakeAll()
			back := gone()
			result := make(chan []MarkOutcome, 1)
			go func() {
				got, err := m.Mark(t.Context(), marks)
				if err != nil {
					t.Errorf("marking: %v", err)
				}
				result <- got
			}()
			testenv.Eventually(t, soon, func() error {
				if said.FilterMessage("redis is away, trying on").Len() == 0 {
					return errors.New("it says nothing")
				}
				return nil
			})
			back()
			got := <-result
			for i, x := range marks { // frozen, it may have taken what it has not answered
				if got[i] != MarkWritten && got[i] != MarkThere || s.value(t, x.ID) != []string{"done", "done:dl"}[i] {
					t.Errorf("%s: outcome %d, holds %q", x.ID, got[i], s.value(t, x.ID))
				}
			}
			if said.FilterMessage("redis is back").Len() != 1 {
				t.Errorf("said %v", said.All())
			}
		})
	}
}

// isRaise matches the bytes of a pipeline with the script.
func isRaise(request []byte) bool { return strings.Contains(string(request), "keepttl") }

// A reply that is lost is asked for again.
func TestMarkLostReply(t *testing.T) {
	s := realRedis(t)
	proxy := testenv.Proxy(t, s.addr)
	m := newMarker(t, Options{URL: "redis://" + proxy.Addr()})
	until := time.Now().Add(time.Hour)
	proxy.Inject(testenv.Fault{Match: isSet, Count: 1, Cut: true})
	if got := mark(t, m, Mark{"a", true, until}); got[0] != MarkThere && got[0] != MarkWritten || s.value(t, "a") != "done:dl" {
		t.Errorf("outcome %d, holds %q", got[0], s.value(t, "a"))
	}
	proxy.Inject(testenv.Fault{Match: isRaise, Count: 1, Cut: true})
	if got := mark(t, m, Mark{"a", false, until}); got[0] != MarkThere && got[0] != MarkRaised || s.value(t, "a") != "done" {
		t.Errorf("outcome %d, holds %q", got[0], s.value(t, "a"))
	}
	if proxy.Lost() != 2 {
		t.Errorf("%d replies were lost", proxy.Lost())
	}
}

func TestMarkFails(t *testing.T) {
	s := realRedis(t)
	s.acl(t, "", "reader", "+get")
	x := Mark{ID: "a", Until: time.Now().Add(time.Hour)}
	reader := newMarker(t, Options{URL: "redis://reader:pw@" + s.addr})
	if got, err := reader.Look(t.Context(), []Mark{x}); err != nil || got[0] != MarkWritten {
		t.Errorf("looking without the right to write: %v, %v", got, err)
	}
	if _, err := reader.Mark(t.Context(), []Mark{x}); !errors.Is(err, ErrMisconfigured) {
		t.Errorf("no permission: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	away := newMarker(t, Options{URL: "redis://" + freeAddr(t)})
	if _, err := away.Mark(ctx, []Mark{x}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("away: %v", err)
	}
	for _, o := range []Options{{}, {URL: "http://x"}, {URL: s.url(), Prefix: "a b"}} {
		if _, err := NewMarker(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
	if got := s.value(t, "a"); got != "" {
		t.Errorf("holds %q", got)
	}
}

// BenchmarkMark writes marks that are missing, 500 a pipeline, on SLUICE_TEST_REDIS.
func BenchmarkMark(b *testing.B) {
	url := benchURL(b)
	m, err := NewMarker(Options{URL: url, Prefix: "slubench:", Timeout: 5 * time.Second})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	until := time.Now().Add(time.Minute)
	run := strconv.FormatInt(time.Now().UnixNano(), 36)
	marks := make([]Mark, 500)
	n := 0
	for b.Loop() {
		for i := range marks {
			n++
			marks[i] = Mark{ID: run + "-" + strconv.Itoa(n), Until: until}
		}
		if _, err := m.Mark(b.Context(), marks); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "marks/s")
}
