package dedupe

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/testenv"
)

// mender is a guard whose repairs the test sees and ends.
type mender struct {
	*Deduper
	calls   chan Loss  // a repair has begun
	results chan error // what it returns
	busy    atomic.Int32
	settled atomic.Bool
}

// guarded starts a deduper with a guard.
func guarded(t *testing.T, o Options) *mender {
	t.Helper()
	m := &mender{Deduper: newDeduper(t, o), calls: make(chan Loss), results: make(chan error)}
	m.settled.Store(true)
	m.Guard(Guard{
		Repair: func(ctx context.Context, loss Loss) error {
			m.busy.Add(1)
			defer m.busy.Add(-1)
			select {
			case m.calls <- loss:
			case <-ctx.Done():
				return ctx.Err()
			}
			select {
			case err := <-m.results:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		},
		Settled: m.settled.Load,
	})
	return m
}

// begun waits for a repair to begin.
func (m *mender) begun(t *testing.T) Loss {
	t.Helper()
	select {
	case loss := <-m.calls:
		return loss
	case <-time.After(soon):
		t.Fatal("no repair begins")
		return Loss{}
	}
}

// repaired waits until there is nothing to repair as far as m knows, after a look that begins now.
func (m *mender) repaired(t *testing.T) {
	t.Helper()
	testenv.Eventually(t, soon, func() error {
		m.look(t)
		if m.State().Unrepaired || m.busy.Load() > 0 {
			return errors.New("unrepaired")
		}
		return nil
	})
}

// repairedAtLast is repaired where there are several servers, or others than before: each further connection is a doubt, and
// a repair that is ended here.
func (m *mender) repairedAtLast(t *testing.T) {
	t.Helper()
	testenv.Eventually(t, soon, func() error {
		select {
		case <-m.calls:
			select {
			case m.results <- nil:
			case <-time.After(short): // it was begun anew
			}
		default:
		}
		m.look(t)
		if m.State().Unrepaired || m.busy.Load() > 0 {
			return errors.New("unrepaired")
		}
		return nil
	})
}

// look has the guard look, and returns when it has.
func (d *Deduper) look(t *testing.T) {
	t.Helper()
	for range 3 { // it has room for one, and takes the next only after a look
		select {
		case d.guardWake <- struct{}{}:
		case <-time.After(soon):
			t.Fatal("the guard doesn't look")
		}
	}
}

// begins checks where a repair begins, before now.
func begins(t *testing.T, loss Loss, before time.Duration) {
	t.Helper()
	if got := time.Since(loss.Since); got < before || got > before+soon {
		t.Errorf("the repair begins %v ago, want %v", got, before)
	}
}

const week = 168 * time.Hour

// A Redis that is new is repaired once, one that is flushed once more: of two instances by one, and through restarts of
// either.
func TestGuard(t *testing.T) { //nolint:tparallel // its parts run one after another
	t.Parallel() // it mostly waits
	onBoth(t, func(t *testing.T, s *server) {
		a := guarded(t, Options{URL: s.url(), Instance: "a", TTL: week})
		first := a.begun(t)
		begins(t, first, week)
		a.results <- nil
		a.repaired(t)

		// Another one has a new connection, and nobody can tell it what went before.
		b := guarded(t, Options{URL: s.url(), Instance: "b", TTL: week})
		one, loss := oneOf(t, a, b)
		begins(t, loss, guardMargin)
		one.results <- nil
		a.repaired(t)
		b.repaired(t)

		s.raw.FlushAll(t.Context())
		one, loss = oneOf(t, a, b)
		begins(t, loss, week)
		if loss.ID == first.ID {
			t.Errorf("loss %+v after %+v", loss, first)
		}
		for _, d := range []*mender{a, b} {
			if d.look(t); !d.State().Unrepaired {
				t.Error("an instance doesn't know")
			}
		}
		if n := a.busy.Load() + b.busy.Load(); n != 1 {
			t.Errorf("%d repairs at a time", n)
		}
		one.results <- errors.New("Kafka is away")
		again, got := oneOf(t, a, b)
		if got != loss {
			t.Errorf("tried again: %+v, want %+v", got, loss)
		}
		if n := counter(t, one.metrics.repairs[repairFailed]); n != 1 {
			t.Errorf("%v failed repairs are counted", n)
		}
		again.results <- nil
		a.repaired(t)
		b.repaired(t)
		if n := s.raw.Exists(t.Context(), "slu:"+markRepair).Val(); n != 0 {
			t.Error("the lease is still there")
		}
	})
}

// oneOf waits until either begins a repair.
func oneOf(t *testing.T, a, b *mender) (*mender, Loss) {
	t.Helper()
	select {
	case loss := <-a.calls:
		return a, loss
	case loss := <-b.calls:
		return b, loss
	case <-time.After(soon):
		t.Fatal("no repair begins")
		return nil, Loss{}
	}
}

// Who repairs is gone in the midst of it: another instance does it, and knows of it from Redis alone.
func TestGuardClosed(t *testing.T) { //nolint:tparallel // its parts run one after another
	t.Parallel() // it mostly waits
	onBoth(t, func(t *testing.T, s *server) {
		a := guarded(t, Options{URL: s.url(), Instance: "a"})
		loss := a.begun(t)
		if err := a.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		b := guarded(t, Options{URL: s.url(), Instance: "b"})
		if got := b.begun(t); got != loss {
			t.Errorf("%+v, want %+v", got, loss)
		}
		b.results <- nil
		b.repaired(t)
	})
}

// A flush in the midst of a repair makes it begin anew.
func TestGuardLostAgain(t *testing.T) {
	t.Parallel() // it mostly waits
	s := realRedis(t)
	d := guarded(t, Options{URL: s.url()})
	first := d.begun(t)
	s.raw.FlushAll(t.Context())
	if second := d.begun(t); second.ID == first.ID {
		t.Errorf("loss %+v twice", first)
	}
	d.results <- nil
	d.repaired(t)
}

// An older state of Redis tells how much is lost, whether or not anybody saw the newer one.
func TestGuardOlderState(t *testing.T) { //nolint:tparallel // its parts run one after another
	t.Parallel() // it mostly waits
	onBoth(t, func(t *testing.T, s *server) {
		old := generation{id: "x", stamp: time.Now().Add(-3 * time.Hour).UnixMilli()}
		s.put(t, markGeneration, old.String(), 0)
		d := guarded(t, Options{URL: s.url()})
		for _, want := range []finding{findGap, findOlder} {
			begins(t, d.begun(t), 3*time.Hour+guardMargin)
			d.results <- nil
			d.repaired(t)
			if n := counter(t, d.metrics.losses[want]); n != 1 {
				t.Errorf("%v times %q", n, want)
			}
			s.put(t, markGeneration, old.String(), 0)
		}
	})
}

// A restart that keeps everything costs a repair of the last moments: with everysec, some of them are gone.
func TestGuardRestart(t *testing.T) {
	t.Parallel()                                                        // it mostly waits
	s := realRedis(t, "--appendonly", "yes", "--appendfsync", "always") // everysec puts writes off while the disk is busy
	d := guarded(t, Options{URL: s.url()})
	d.begun(t)
	d.results <- nil
	d.repaired(t)
	s.real.Restart(t)
	loss := d.begun(t)
	begins(t, loss, guardMargin)
	d.results <- nil
	d.repaired(t)
	if n := counter(t, d.metrics.losses[findDoubt]); n != 1 {
		t.Errorf("doubted %v times", n)
	}
}

// What was confirmed and isn't in a topic at the time of a loss gets a repair of its own when it is, whoever noticed the
// loss.
func TestGuardUnsettled(t *testing.T) { //nolint:tparallel // its parts run one after another
	t.Parallel() // it mostly waits
	onBoth(t, func(t *testing.T, s *server) {
		d := guarded(t, Options{URL: s.url(), Instance: "a"})
		d.begun(t)
		d.results <- nil
		d.repaired(t)
		for i, lose := range []func(){
			func() { s.raw.FlushAll(t.Context()) },
			func() {
				// Another instance has noticed it and repaired. Its stamp is the last one, whenever d looks.
				s.put(t, markGeneration, generation{id: "other", stamp: time.Now().Add(time.Second).UnixMilli()}.String(), 0)
			},
		} {
			d.settled.Store(false)
			lost := time.Now()
			lose()
			if i == 0 {
				d.begun(t)
				d.results <- nil
			}
			d.repaired(t)
			d.settled.Store(true)
			if loss := d.begun(t); loss.Since.After(time.Now().Add(-guardMargin)) || loss.Since.Before(lost.Add(-guardMargin-soon)) {
				t.Errorf("since %v, want ten seconds before %v", loss.Since, lost)
			}
			d.results <- nil
			d.repaired(t)
		}
	})
}

// A value of a later version is left alone.
func TestGuardForeign(t *testing.T) {
	t.Parallel() // it mostly waits
	s := realRedis(t)
	s.put(t, markGeneration, "gen2:x", 0)
	d := guarded(t, Options{URL: s.url()})
	if d.look(t); d.State().Unrepaired {
		t.Error("it is taken for a loss")
	}
	if got := s.value(t, markGeneration); got != "gen2:x" {
		t.Errorf("holds %q", got)
	}
}

// The rights that claims need suffice.
func TestGuardRights(t *testing.T) {
	t.Parallel() // it mostly waits
	s := realRedis(t)
	s.acl(t, "", "least", "+set", "+get", "+eval", "+del", "+pexpire")
	d := guarded(t, Options{URL: "redis://least:pw@" + s.addr})
	d.begun(t)
	d.results <- nil
	d.repaired(t)
	s.raw.FlushAll(t.Context())
	d.begun(t)
	d.results <- nil
	d.repaired(t)
	if s := d.State(); !s.Up {
		t.Errorf("state %+v", s)
	}
}

// One master of a cluster loses its data.
func TestGuardCluster(t *testing.T) {
	t.Parallel() // it mostly waits
	c := startCluster(t)
	for _, m := range append([]*server{c.replica}, c.masters...) {
		m.acl(t, "", "least", "+set", "+get", "+eval", "+del", "+pexpire", "+cluster|slots")
	}
	url := strings.Replace(c.url(), "://", "://least:pw@", 1)
	d := guarded(t, Options{URL: url, TTL: week})
	if err := d.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.begun(t)
	d.results <- nil
	d.repairedAtLast(t)
	for i, m := range c.masters {
		if n := len(m.raw.Keys(t.Context(), "slu:"+markGeneration+"*").Val()); n < 10 {
			t.Errorf("master %d has %d generations", i, n)
		}
	}
	c.masters[2].raw.FlushAll(t.Context())
	loss := d.begun(t)
	begins(t, loss, week)
	d.results <- nil
	d.repairedAtLast(t)
	if n := counter(t, d.metrics.losses[findLost]); n != 1 {
		t.Errorf("%v losses", n)
	}
	if n := c.masters[2].raw.DBSize(t.Context()).Val(); n == 0 {
		t.Error("nothing is written again")
	}

	// A master without a replica is gone, and comes back with nothing.
	gone, fine := c.ids(t, 1, 5), c.ids(t, 2, 5)
	c.masters[1].real.Kill(t)
	for _, id := range gone {
		claim(t, d.Deduper, id, Skipped).Confirm()
	}
	for _, id := range fine {
		claim(t, d.Deduper, id, Won).Confirm()
	}
	waitUp(t, d.Deduper, false)
	c.masters[1].real.Restart(t)
	c.masters[1].acl(t, "", "least", "+set", "+get", "+eval", "+del", "+pexpire", "+cluster|slots") // that is lost too
	waitUp(t, d.Deduper, true)
	for _, id := range gone {
		c.masters[1].waitValue(t, id, "done")
	}
	begins(t, d.begun(t), week)
	d.results <- nil
	d.repairedAtLast(t)
}

// A failover may cost the last moments: they are repaired.
func TestGuardSentinel(t *testing.T) {
	t.Parallel() // it mostly waits
	master := realRedis(t)
	host, port, err := net.SplitHostPort(master.addr)
	if err != nil {
		t.Fatal(err)
	}
	replica := realRedis(t, "--replicaof", host+" "+port)
	addr := startSentinel(t, master)
	d := guarded(t, Options{URL: "redis+sentinel://" + addr + "?master_name=mymaster", TTL: week, Timeout: time.Second})
	begins(t, d.begun(t), week)
	d.results <- nil
	d.repairedAtLast(t)
	claim(t, d.Deduper, "a", Won).Confirm()
	replica.waitValue(t, "a", "done")
	waitReplica(t, addr)
	master.real.Kill(t)
	claim(t, d.Deduper, "b", Skipped).Confirm()
	waitUp(t, d.Deduper, true)
	replica.waitValue(t, "b", "done")
	begins(t, d.begun(t), guardMargin)
	d.results <- nil
	d.repairedAtLast(t)
}

// Connections that are opened beside others tell nothing of Redis; one in the place of another may, which miniredis can't end.
func TestGone(t *testing.T) {
	onBoth(t, func(t *testing.T, s *server) {
		d := s.deduper(t, Options{})
		client := d.client.(*redis.Client)
		for range 3 {
			conn := client.Conn()
			defer func() { _ = conn.Close() }()
			if err := conn.Ping(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
		}
		if n := d.gone(); n != 0 {
			t.Errorf("%d connections have gone, and all are there", n)
		}
		if s.real == nil {
			return
		}
		testenv.Eventually(t, 5*time.Second, func() error { return client.Ping(t.Context()).Err() })
		s.real.CLI(t, "CLIENT", "KILL", "TYPE", "normal")
		testenv.Eventually(t, 5*time.Second, func() error { return client.Ping(t.Context()).Err() })
		if n := d.gone(); n < 1 {
			t.Error("a connection was ended, and none has gone")
		}
	})
}
