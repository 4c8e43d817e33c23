package dedupe

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/testenv"
)

// A frozen Redis keeps its connections open and answers nothing. No claim may take longer than the claim timeout
// (and what a busy machine adds), nothing may pile up, and what was confirmed meanwhile is written afterwards.
func TestFrozenRedis(t *testing.T) {
	s := realRedis(t)
	const (
		claimTimeout = 200 * time.Millisecond
		callers      = 64
		each         = 50
	)
	d := s.deduper(t, Options{Timeout: 150 * time.Millisecond, ClaimTimeout: claimTimeout})
	claim(t, d, "before", Won).Confirm()
	s.waitValue(t, "before", "done")
	s.real.Stop(t)

	goroutines := runtime.NumGoroutine()
	var mu sync.Mutex
	var took []time.Duration
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			for i := range each {
				start := time.Now()
				c, err := d.Claim(t.Context(), fmt.Sprintf("%d-%d", caller, i))
				mu.Lock()
				took = append(took, time.Since(start))
				mu.Unlock()
				if err != nil || c.Verdict() != Skipped {
					t.Errorf("claim: %v, %v", c, err)
					return
				}
				c.Confirm()
			}
		})
	}
	all.Wait()
	slices.Sort(took)
	if worst := took[len(took)-1]; worst > claimTimeout+800*time.Millisecond {
		t.Errorf("a claim took %v", worst)
	}
	if median := took[len(took)/2]; median > 50*time.Millisecond {
		t.Errorf("half the claims took over %v: the breaker doesn't spare them", median)
	}
	if n := runtime.NumGoroutine(); n > goroutines+16 {
		t.Errorf("%d goroutines after, %d before", n, goroutines)
	}
	if st := d.State(); st.Up || st.Since.IsZero() || st.PendingConfirms != callers*each {
		t.Errorf("state %+v", st)
	}

	s.real.Cont(t)
	waitUp(t, d, true)
	for _, id := range []string{"0-0", fmt.Sprintf("%d-%d", callers-1, each-1)} {
		s.waitValue(t, id, "done")
	}
	testenv.Eventually(t, soon, func() error {
		if n := d.State().PendingConfirms; n > 0 {
			return fmt.Errorf("%d confirms pending", n)
		}
		return nil
	})
	if n := s.raw.DBSize(t.Context()).Val(); n != callers*each+1 {
		t.Errorf("%d keys, want %d", n, callers*each+1)
	}
}

// While Redis is away one process doesn't double what it has in its own hands, nor what it kept before or since.
func TestKilledRedis(t *testing.T) {
	s := realRedis(t)
	d := s.deduper(t, Options{Timeout: time.Second, ClaimTimeout: short})
	claim(t, d, "kept", Won).Confirm()
	claim(t, d, "dead", Won).ConfirmDeadLetter()
	s.waitValue(t, "dead", "done:dl")
	held := claim(t, d, "held", Won)
	released := claim(t, d, "released", Won)
	s.real.Kill(t)

	claim(t, d, "first", Skipped) // opens the breaker
	waitUp(t, d, false)
	claim(t, d, "kept", Duplicate)
	claim(t, d, "dead", DuplicateDeadLetter)
	refused(t, d, "held", ErrBusy)
	refused(t, d, "first", ErrBusy)
	c := claim(t, d, "second", Skipped)
	if !c.Live() {
		t.Error("a skipped claim isn't live")
	}
	c.Confirm()
	claim(t, d, "second", Duplicate)
	claim(t, d, "third", Skipped).Release()
	claim(t, d, "third", Skipped).ConfirmDeadLetter()
	claim(t, d, "fourth", Skipped).Leave()
	refused(t, d, "fourth", ErrBusy)
	released.Release()
	claim(t, d, "released", Skipped)
	held.Confirm()

	s.real.Restart(t) // it has forgotten everything
	waitUp(t, d, true)
	for id, want := range map[string]string{"second": "done", "third": "done:dl", "held": "done"} {
		s.waitValue(t, id, want)
	}
	if got := s.value(t, "fourth"); got != "" {
		t.Errorf("a skipped claim that was left holds %q", got)
	}
	claim(t, d, "kept", Duplicate) // also what Redis has lost
	claim(t, d, "fourth", Won)
}

func TestWhenDownClosed(t *testing.T) {
	s := realRedis(t)
	d := s.deduper(t, Options{WhenDown: Closed, Timeout: time.Second})
	kept := claim(t, d, "kept", Won)
	kept.Confirm()
	s.waitValue(t, "kept", "done")
	s.real.Kill(t)
	for _, id := range []string{"a", "a", "b"} {
		refused(t, d, id, ErrUnavailable)
	}
	claim(t, d, "kept", Duplicate)
	if n := d.State().Unsettled; n != 0 {
		t.Errorf("%d refused claims are unsettled", n)
	}
	s.real.Restart(t)
	waitUp(t, d, true)
	claim(t, d, "a", Won)
}

// What waits for Redis is bounded: the oldest goes, and says so.
func TestPendingIsBounded(t *testing.T) {
	s := realRedis(t)
	const limit, told = 10, 25
	d := s.deduper(t, Options{MaxPending: limit, Timeout: time.Second})
	s.real.Kill(t)
	for i := range told {
		claim(t, d, strconv.Itoa(i), Skipped).Confirm()
	}
	if n := d.State().PendingConfirms; n != limit {
		t.Errorf("%d pending, want %d", n, limit)
	}
	if n := counter(t, d.metrics.dropped[dropFull]); n != told-limit {
		t.Errorf("%v counted as dropped, want %d", n, told-limit)
	}
	s.real.Restart(t)
	for i := told - limit; i < told; i++ {
		s.waitValue(t, strconv.Itoa(i), "done")
	}
	if n := s.raw.DBSize(t.Context()).Val(); n != limit {
		t.Errorf("%d keys, want %d", n, limit)
	}
}

// Redis answers, but takes no writes: as good as away, and told from being refused.
func TestReplies(t *testing.T) {
	for reply, why := range map[string]fault{
		"LOADING Redis is loading the dataset in memory":                                faultLoading,
		"MISCONF Redis is configured to save RDB snapshots":                             faultMisconf,
		"NOREPLICAS Not enough good replicas to write.":                                 faultMisconf,
		"READONLY You can't write against a read only replica.":                         faultReadOnly,
		"OOM command not allowed when used memory > 'maxmemory'.":                       faultMemory,
		"CLUSTERDOWN The cluster is down":                                               faultCluster,
		"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to no": faultCluster,
		"TRYAGAIN Multiple keys request during rehashing of slot":                       faultCluster,
		"BUSY Redis is busy running a script.":                                          faultScript,
		"NOAUTH Authentication required.":                                               faultAuth,
		"NOPERM this user has no permissions to run the 'set' command":                  faultPermission,
		"MOVED 1 127.0.0.1:1":                                                           faultMoved,
		"ERR unknown":                                                                   faultRefused,
	} {
		code, _, _ := strings.Cut(reply, " ")
		t.Run(code, func(t *testing.T) {
			mini := testenv.Miniredis(t)
			s := newServer(t, &server{addr: mini.Addr(), mini: mini})
			d := s.deduper(t, Options{})
			flying, before := claim(t, d, "flying", Won), claim(t, d, "before", Won)
			mini.SetError(reply)
			flying.Confirm() // fails, and is written again
			waitUp(t, d, false)
			claim(t, d, "id", Skipped).Confirm()
			before.Release()
			if got := d.State().Reason; got != string(why) {
				t.Errorf("reason %q, want %q", got, why)
			}
			err := d.Check(t.Context())
			if why.permanent() != errors.Is(err, ErrMisconfigured) || !why.permanent() && err != nil {
				t.Errorf("Check: %v", err)
			}
			mini.SetError("")
			waitUp(t, d, true)
			s.waitValue(t, "flying", "done")
			s.waitValue(t, "id", "done")
			s.waitValue(t, "before", "")
		})
	}
}

// A mark that Redis refuses again and again, in a way that waiting doesn't cure, is given up, and counted.
func TestRefusedMark(t *testing.T) {
	l := idleLane(t, Options{})
	c := &command{claim: &Claim{}, kind: tellKept, until: time.Now().Add(time.Hour)}
	l.d.tellings.Add(1)
	l.d.confirms.Add(1)
	l.tell(c)
	for try := 1; try <= tellTries; try++ {
		l.load()
		if len(l.flying) != 1 {
			t.Fatalf("%d commands fly on try %d", len(l.flying), try)
		}
		c.err = redis.ErrCrossSlot
		if why, _ := l.conclude(); why != faultRefused {
			t.Fatalf("fault %q", why)
		}
	}
	if l.load(); len(l.flying) != 0 {
		t.Error("it flies on")
	}
	if n := counter(t, l.d.metrics.dropped[dropRefused]); n != 1 || l.d.State().PendingConfirms != 0 {
		t.Errorf("%v counted as refused, %d pending", n, l.d.State().PendingConfirms)
	}
}

func TestReadOnlyReplica(t *testing.T) {
	s := realRedis(t)
	d := s.deduper(t, Options{})
	if err := s.raw.Do(t.Context(), "REPLICAOF", "127.0.0.1", "1").Err(); err != nil {
		t.Fatal(err)
	}
	claim(t, d, "id", Skipped).Confirm()
	waitUp(t, d, false)
	if got := d.State().Reason; got != string(faultReadOnly) {
		t.Errorf("reason %q", got)
	}
	if err := s.raw.Do(t.Context(), "REPLICAOF", "NO", "ONE").Err(); err != nil {
		t.Fatal(err)
	}
	waitUp(t, d, true)
	s.waitValue(t, "id", "done")
}

func TestFullRedis(t *testing.T) {
	s := realRedis(t)
	d := s.deduper(t, Options{})
	if err := s.raw.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	claim(t, d, "id", Skipped).Confirm()
	waitUp(t, d, false)
	if got := d.State().Reason; got != string(faultMemory) {
		t.Errorf("reason %q", got)
	}
	if err := s.raw.ConfigSet(t.Context(), "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	waitUp(t, d, true)
	s.waitValue(t, "id", "done")
}

// A full Redis that may evict forgets what was kept, oldest or not, and nothing tells. Check warns of the policy.
func TestEviction(t *testing.T) {
	t.Parallel() // it mostly waits
	s := realRedis(t, "--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru")
	d := s.deduper(t, Options{})
	var kept []string
	for round := 0; s.evicted(t) == "0"; round++ {
		for i := range 1000 {
			kept = append(kept, fmt.Sprintf("%d-%d", round, i))
			claim(t, d, kept[len(kept)-1], Won).Confirm()
		}
	}
	if st := d.State(); !st.Up {
		t.Errorf("state %+v", st)
	}
	claim(t, d, kept[0], Duplicate) // its own are remembered
	other := s.deduper(t, Options{Instance: "other"})
	again := 0
	for _, id := range kept {
		c, err := other.Claim(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if c.Verdict() == Won {
			again++
			c.Release()
		}
	}
	if again == 0 || again == len(kept) {
		t.Errorf("%d of %d are let in again", again, len(kept))
	}
}

// evicted is how many keys Redis has evicted.
func (s *server) evicted(t *testing.T) string {
	t.Helper()
	_, n, _ := strings.Cut(s.raw.Info(t.Context(), "stats").Val(), "evicted_keys:")
	n, _, ok := strings.Cut(n, "\r\n")
	if !ok {
		t.Fatal("redis doesn't tell how many keys it has evicted")
	}
	return n
}

// Somebody else was seen to publish it, then Redis went away: publishing unasked would likely double.
func TestAwayWhileWaiting(t *testing.T) {
	t.Parallel() // it mostly waits
	for _, scheme := range []string{"redis", "redis+cluster"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			var s *server
			if scheme == "redis" {
				s = realRedis(t)
			} else {
				s, _ = clusterNode(t)
			}
			url := scheme + "://" + s.addr
			if scheme != "redis" {
				if err := s.raw.ClusterAddSlotsRange(t.Context(), 0, 16383).Err(); err != nil {
					t.Fatal(err)
				}
				testenv.Eventually(t, soon, func() error { return s.raw.Set(t.Context(), "x", "", 0).Err() })
			}
			here := newDeduper(t, Options{URL: url, Instance: "here"})
			there := newDeduper(t, Options{URL: url, Instance: "there", ClaimTimeout: time.Minute})
			claim(t, here, "id", Won)
			result := make(chan error, 1)
			go func() {
				_, err := there.Claim(t.Context(), "id")
				result <- err
			}()
			testenv.Eventually(t, soon, func() error {
				stats, err := s.raw.Info(t.Context(), "commandstats").Result()
				if err == nil && !strings.Contains(stats, "cmdstat_get:") {
					err = errors.New("nobody has asked for the value yet")
				}
				return err
			})
			s.real.Kill(t)
			if err := <-result; !errors.Is(err, ErrBusy) {
				t.Errorf("claiming: %v", err)
			}
		})
	}
}

// isSet matches the bytes of a flight that claims.
func isSet(request []byte) bool { return strings.Contains(string(request), "\r\nnx\r\n") }

// The connection breaks after Redis has executed the SET: the claim is known by its token.
func TestLostReply(t *testing.T) {
	s := realRedis(t)
	proxy := testenv.Proxy(t, s.addr)
	d := s.deduper(t, Options{URL: "redis://" + proxy.Addr()})
	for i := range 20 {
		id := strconv.Itoa(i)
		lost := proxy.Lost()
		proxy.Inject(testenv.Fault{Match: isSet, Count: 1, Cut: true})
		c := claim(t, d, id, Won)
		if proxy.Lost() != lost+1 {
			t.Fatal("no reply was lost")
		}
		if got := s.value(t, id); got != c.token {
			t.Fatalf("%s holds %q, the claim's token is %q", id, got, c.token)
		}
		c.Confirm()
		s.waitValue(t, id, "done")
	}
	if st := d.State(); !st.Up {
		t.Errorf("state %+v", st)
	}
}

// The reply never comes: nobody knows, so it is skipped, and what the SET did is taken back or turned into a mark.
func TestSilentReply(t *testing.T) {
	s := realRedis(t)
	for _, when := range []WhenDown{Open, Closed} {
		t.Run(when.String(), func(t *testing.T) {
			proxy := testenv.Proxy(t, s.addr)
			d := s.deduper(t, Options{URL: "redis://" + proxy.Addr(), Timeout: 300 * time.Millisecond, WhenDown: when})
			for id, settle := range map[string]func(*Claim){"done": (*Claim).Confirm, "": (*Claim).Release} {
				id, want := when.String()+id, id
				proxy.Inject(testenv.Fault{Match: isSet, Count: 1})
				if when == Closed {
					refused(t, d, id, ErrUnavailable)
					want = ""
				} else {
					settle(claim(t, d, id, Skipped))
				}
				proxy.Clear()
				s.waitValue(t, id, want)
				waitUp(t, d, true)
			}
		})
	}
}

// The caller's time is up before the reply comes, and the SET is executed.
func TestLateReply(t *testing.T) {
	s := realRedis(t)
	for _, when := range []WhenDown{Open, Closed} {
		t.Run(when.String(), func(t *testing.T) {
			proxy := testenv.Proxy(t, s.addr)
			d := s.deduper(t, Options{URL: "redis://" + proxy.Addr(), ClaimTimeout: short, WhenDown: when})
			claim(t, d, when.String()+"warm", Won)
			proxy.SetDelay(time.Second)
			id := when.String()
			start := time.Now()
			if when == Closed {
				refused(t, d, id, ErrUnavailable)
			} else {
				claim(t, d, id, Skipped).Release()
			}
			if took := time.Since(start); took > 800*time.Millisecond {
				t.Errorf("the caller waited %v for a flight", took)
			}
			proxy.SetDelay(0)
			testenv.Eventually(t, soon, func() error {
				if n := d.tellings.Load(); n != 0 {
					return fmt.Errorf("%d to tell", n)
				}
				return nil
			})
			if got := s.value(t, id); got != "" {
				t.Errorf("left behind: %q", got)
			}
			if st := d.State(); !st.Up {
				t.Errorf("state %+v", st)
			}
		})
	}
}

// Every connection of the pool is dead, as after a restart that nobody noticed: no claim suffers.
func TestRestartBetweenClaims(t *testing.T) {
	s := realRedis(t)
	d := s.deduper(t, Options{WhenDown: Closed})
	for i := range 3 {
		claim(t, d, strconv.Itoa(i), Won).Confirm()
		s.waitValue(t, strconv.Itoa(i), "done")
		s.real.Restart(t)
	}
	claim(t, d, "after", Won)
}
