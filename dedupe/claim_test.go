package dedupe

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/testenv"
)

// short is for tests in which one claim is to be refused because another is unsettled.
const short = 100 * time.Millisecond

func TestOutcomes(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		here := s.deduper(t, Options{Instance: "here", ClaimTimeout: short})
		there := s.deduper(t, Options{Instance: "there", ClaimTimeout: short})
		for _, tt := range []struct {
			name   string
			settle func(*Claim)
			value  string
			then   Verdict
		}{
			{"confirmed", (*Claim).Confirm, "done", Duplicate},
			{"dead-lettered", (*Claim).ConfirmDeadLetter, "done:dl", DuplicateDeadLetter},
			{"released", (*Claim).Release, "", Won},
		} {
			t.Run(tt.name, func(t *testing.T) {
				c := claim(t, here, tt.name, Won)
				if v := s.value(t, tt.name); !strings.HasPrefix(v, "pending:here.") {
					t.Errorf("claimed key holds %q", v)
				}
				if ttl := s.raw.PTTL(t.Context(), Key("slu:", tt.name)).Val(); ttl <= 0 || ttl > time.Minute {
					t.Errorf("lease of %v", ttl)
				}
				if !c.Live() {
					t.Error("a fresh claim isn't live")
				}
				refused(t, here, tt.name, ErrBusy)
				refused(t, there, tt.name, ErrBusy)
				tt.settle(c)
				s.waitValue(t, tt.name, tt.value)
				for _, d := range []*Deduper{here, there} {
					next := claim(t, d, tt.name, tt.then)
					if next.Live() != (tt.then == Won) {
						t.Errorf("a %v claim's Live is %v", tt.then, next.Live())
					}
					next.Release()
					s.waitValue(t, tt.name, tt.value)
				}
				if tt.then == Won {
					return
				}
				if ttl := s.raw.PTTL(t.Context(), Key("slu:", tt.name)).Val(); ttl < 191*time.Hour || ttl > 192*time.Hour {
					t.Errorf("remembered for %v", ttl)
				}
			})
		}
	})
}

func TestSettlingCountsOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		d := s.deduper(t, Options{})
		settlings := map[string]func(*Claim){
			"done": (*Claim).Confirm, "done:dl": (*Claim).ConfirmDeadLetter, "": (*Claim).Release, "left": (*Claim).Leave,
		}
		for first, settle := range settlings {
			c := claim(t, d, "id-"+first, Won)
			token := s.value(t, "id-"+first)
			settle(c)
			for _, again := range settlings {
				again(c)
			}
			want := first
			if first == "left" {
				want = token
			}
			// A marker that is told after all of them has been written: so have they.
			claim(t, d, "marker-"+first, Won).Confirm()
			s.waitValue(t, "marker-"+first, "done")
			if got := s.value(t, "id-"+first); got != want {
				t.Errorf("settled as %q first: holds %q", first, got)
			}
		}
	})
}

// Nobody knows what became of the record: the lease keeps everybody away until it ends.
func TestLeave(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		d := s.deduper(t, Options{Lease: 2 * time.Second, LeaseMargin: 1, Timeout: 500 * time.Millisecond, ClaimTimeout: short})
		claim(t, d, "id", Won).Leave()
		refused(t, d, "id", ErrBusy)
		claimSoon(t, s, d, "id", Won)
	})
}

// A waiter gets the answer as soon as the other has settled, without a retry of the sender.
func TestWaiterSeesTheOutcome(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		here, there := s.deduper(t, Options{Instance: "here"}), s.deduper(t, Options{Instance: "there"})
		for _, waiting := range []*Deduper{here, there} {
			for _, tt := range []struct {
				settle func(*Claim)
				want   Verdict
			}{{(*Claim).Confirm, Duplicate}, {(*Claim).Release, Won}} {
				id := fmt.Sprintf("%s-%v", waiting.opt.Instance, tt.want)
				c := claim(t, here, id, Won)
				var got *Claim
				result := make(chan error, 1)
				go func() {
					var err error
					got, err = waiting.Claim(t.Context(), id)
					result <- err
				}()
				tt.settle(c)
				if err := <-result; err != nil || got.Verdict() != tt.want {
					t.Errorf("%s: %v, %v", id, got, err)
				}
			}
		}
	})
}

func TestTwoInstancesOneWinner(t *testing.T) {
	const ids = 1000
	onBoth(t, func(t *testing.T, s *server) {
		dedupers := []*Deduper{s.deduper(t, Options{Instance: "a"}), s.deduper(t, Options{Instance: "b"})}
		var won [ids]atomic.Int32
		var all sync.WaitGroup
		gate := make(chan struct{})
		for _, d := range dedupers {
			for worker := range 50 {
				all.Go(func() {
					<-gate
					for i := worker * ids / 50; i < (worker+1)*ids/50; i++ {
						c, err := d.Claim(t.Context(), strconv.Itoa(i))
						if err != nil {
							t.Errorf("claiming %d: %v", i, err)
							return
						}
						switch c.Verdict() {
						case Won:
							won[i].Add(1)
							c.Confirm()
						case Duplicate:
						default:
							t.Errorf("claiming %d: %v", i, c.Verdict())
						}
					}
				})
			}
		}
		close(gate)
		all.Wait()
		for i := range won {
			if n := won[i].Load(); n != 1 {
				t.Errorf("ID %d has %d winners", i, n)
			}
		}
	})
}

// A winner that dies is replaced when its lease ends, and what it then still does harms nobody.
func TestDeadWinner(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		dead := s.deduper(t, Options{Instance: "dead"})
		heir := s.deduper(t, Options{Instance: "heir", ClaimTimeout: short})
		lost := claim(t, dead, "id", Won)
		refused(t, heir, "id", ErrBusy)
		if err := s.raw.PExpire(t.Context(), "slu:id", 50*time.Millisecond).Err(); err != nil { // its lease is nearly over
			t.Fatal(err)
		}
		next := claimSoon(t, s, heir, "id", Won)
		token := s.value(t, "id")

		lost.Release()
		claim(t, dead, "marker", Won).Confirm()
		s.waitValue(t, "marker", "done")
		if got := s.value(t, "id"); got != token {
			t.Fatalf("the dead winner's release took the heir's lease: %q, want %q", got, token)
		}
		next.Confirm()
		s.waitValue(t, "id", "done")
	})
}

// Kept is a fact, whoever holds the lease by now.
func TestConfirmAfterLosingTheLease(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		slow := s.deduper(t, Options{Instance: "slow"})
		quick := s.deduper(t, Options{Instance: "quick"})
		late := claim(t, slow, "id", Won)
		if err := s.raw.Del(t.Context(), "slu:id").Err(); err != nil {
			t.Fatal(err)
		}
		other := claim(t, quick, "id", Won)
		late.Confirm()
		s.waitValue(t, "id", "done")
		other.Release() // not its lease any more
		claim(t, quick, "marker", Won).Confirm()
		s.waitValue(t, "marker", "done")
		if got := s.value(t, "id"); got != "done" {
			t.Fatalf("a release took away the mark: %q", got)
		}
	})
}

func TestRenewal(t *testing.T) {
	s := realRedis(t)
	const lease = 800 * time.Millisecond
	o := Options{Instance: "holder", Lease: lease, LeaseMargin: 50 * time.Millisecond, Timeout: 300 * time.Millisecond}
	holder := s.deduper(t, o)
	o.Instance, o.ClaimTimeout = "other", short
	other := s.deduper(t, o)

	held, taken := claim(t, holder, "held", Won), claim(t, holder, "taken", Won)
	if err := s.raw.Set(t.Context(), "slu:taken", "pending:thief.0011223344556677.1", time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	// Long after the lease of the start would have ended, others are still kept away.
	for end := time.Now().Add(4 * lease); time.Now().Before(end); {
		refused(t, other, "held", ErrBusy)
		if !held.Live() {
			t.Fatal("a renewed claim isn't live")
		}
	}
	if taken.Live() {
		t.Error("a claim whose lease is another's is live")
	}
	if err := s.raw.Set(t.Context(), "slu:taken", "done", time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	taken.Release()
	held.Release()
	s.waitValue(t, "held", "")
	if got := s.value(t, "taken"); got != "done" {
		t.Errorf("a lost claim's release left %q", got)
	}
	claim(t, other, "held", Won)
}

// A lease that can't be renewed isn't trusted to its end.
func TestLiveEndsWithTheLease(t *testing.T) {
	s := realRedis(t)
	d := s.deduper(t, Options{Lease: time.Second, LeaseMargin: 250 * time.Millisecond, Timeout: 200 * time.Millisecond})
	start := time.Now()
	c := claim(t, d, "id", Won)
	s.real.Stop(t)
	testenv.Eventually(t, soon, func() error {
		if c.Live() {
			return errors.New("still live")
		}
		return nil
	})
	if held := time.Since(start); held < 700*time.Millisecond {
		t.Errorf("not live after %v of a lease of 1s", held)
	}
	s.real.Cont(t)
	c.Release()
}

// What the lease's age is judged by when a machine slept: the clock that went on.
func TestLiveAfterSuspend(t *testing.T) {
	d := newDeduper(t, Options{URL: "redis://127.0.0.1:1"})
	c := &Claim{d: d, verdict: Won}
	c.grant(time.Now())
	if !c.Live() {
		t.Fatal("not live at once")
	}
	c.grantedWall.Add(-int64(46 * time.Second)) // the wall clock has moved on, the process' hasn't
	if c.Live() {
		t.Error("live in the last quarter of its lease by the wall clock")
	}
}

// A renewal that finds another's value, or none, ends the claim for good.
func TestLostLease(t *testing.T) {
	d := newDeduper(t, Options{URL: "redis://127.0.0.1:1"})
	c := &Claim{d: d, verdict: Won}
	c.grant(time.Now())
	d.renewed(&command{claim: c, num: 0})
	if c.Live() || counter(t, d.metrics.leaseLost) != 1 {
		t.Errorf("live %v, %v leases lost", c.Live(), counter(t, d.metrics.leaseLost))
	}
	c.Release()
	if n := d.tellings.Load(); n != 0 {
		t.Errorf("%d commands to give back a lease that isn't there", n)
	}
}

func TestForeignValues(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		d := s.deduper(t, Options{WhenDown: Closed})
		if err := s.raw.Set(t.Context(), "slu:text", "hello", 0).Err(); err != nil {
			t.Fatal(err)
		}
		if err := s.raw.RPush(t.Context(), "slu:list", "x").Err(); err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"text", "list"} {
			c := claim(t, d, id, Skipped) // it would stand in the sender's way for ever
			if !c.Live() {
				t.Error("a skipped claim isn't live")
			}
			c.Confirm()
			s.waitValue(t, id, "done")
		}
		if err := s.raw.RPush(t.Context(), "slu:list2", "x").Err(); err != nil {
			t.Fatal(err)
		}
		claim(t, d, "list2", Skipped).Release()
		claim(t, d, "marker", Won).Confirm()
		s.waitValue(t, "marker", "done")
		if n := s.raw.LLen(t.Context(), "slu:list2").Val(); n != 1 {
			t.Error("a release took a foreign key away")
		}
		if st := d.State(); !st.Up {
			t.Errorf("a foreign key says nothing about Redis: %+v", st)
		}
	})
}

func TestOverloaded(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		d := s.deduper(t, Options{MaxPending: 3})
		var held []*Claim
		for i := range 3 {
			held = append(held, claim(t, d, strconv.Itoa(i), Won))
		}
		refused(t, d, "3", ErrOverloaded)
		if n := d.State().Unsettled; n != 3 {
			t.Errorf("%d unsettled", n)
		}
		held[0].Leave()
		claim(t, d, "3", Won)
	})
}

// The caller's context ends: nothing is left behind, also when the SET is executed afterwards.
func TestCancelledClaimLeavesNothing(t *testing.T) {
	s := realRedis(t)
	proxy := testenv.Proxy(t, s.addr)
	d := s.deduper(t, Options{URL: "redis://" + proxy.Addr(), ClaimTimeout: 5 * time.Second})
	claim(t, d, "warm", Won).Confirm()
	s.waitValue(t, "warm", "done")

	proxy.SetDelay(300 * time.Millisecond) // of the reply: Redis has executed long before
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := d.Claim(ctx, "id"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("claiming: %v", err)
	}
	if took := time.Since(start); took > 250*time.Millisecond {
		t.Errorf("the caller waited %v for a flight", took)
	}
	proxy.SetDelay(0)
	s.waitValue(t, "id", "")
	testenv.Eventually(t, soon, func() error {
		if n := d.tellings.Load(); n != 0 {
			return fmt.Errorf("%d to tell", n)
		}
		return nil
	})
	if got := s.value(t, "id"); got != "" {
		t.Errorf("left behind: %q", got)
	}
	claim(t, d, "id", Won)
}

// TestWaitsForAnother: a copy of an event that is being handled is a duplicate as soon as that is kept, though that takes
// longer than Redis may for an answer.
func TestWaitsForAnother(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		patient := Options{Instance: "here", ClaimTimeout: short, BusyTimeout: time.Minute}
		here := s.deduper(t, patient)
		patient.Instance = "there"
		for name, waits := range map[string]*Deduper{"same instance": here, "another": s.deduper(t, patient)} {
			c := claim(t, here, name, Won)
			verdict := make(chan Verdict, 1)
			go func() {
				second, err := waits.Claim(t.Context(), name)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					verdict <- 0
					return
				}
				verdict <- second.Verdict()
			}()
			select {
			case <-verdict:
				t.Errorf("%s: it doesn't wait", name)
			case <-time.After(3 * short):
			}
			c.Confirm()
			if got := <-verdict; got != Duplicate {
				t.Errorf("%s: %v", name, got)
			}
		}
	})
}
