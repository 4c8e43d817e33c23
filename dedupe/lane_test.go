package dedupe

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// idleLane is a lane that no goroutine runs, of a deduper that never dials.
func idleLane(t *testing.T, o Options) *lane {
	t.Helper()
	o.URL = "redis://127.0.0.1:1"
	d := newDeduper(t, o)
	return &lane{d: d, wake: make(chan struct{}, 1)}
}

func (l *lane) addLive(n int) {
	for range n {
		l.submit(&command{claim: &Claim{}, kind: askClaim})
	}
}

func (l *lane) addTold(n int, k kind, until time.Time) {
	for range n {
		c := &command{claim: &Claim{}, kind: k, until: until}
		l.d.tellings.Add(1)
		l.d.confirms.Add(1)
		l.tell(c)
	}
}

func TestLoad(t *testing.T) {
	later := time.Now().Add(time.Hour)
	for _, tt := range []struct {
		name                  string
		live, told            int
		wantLive, wantFlights int // of the first flight; until nothing is left
		wantTold              int
	}{
		{"nothing", 0, 0, 0, 0, 0},
		{"one", 1, 0, 1, 1, 0},
		{"a settling alone doesn't wait", 0, 1, 0, 1, 1},
		{"an outage is worked off in pieces", 10, 1600, 10, 4, 500},
		{"live commands are bounded", 2500, 0, 1000, 3, 0},
		{"at full load settlings keep up", 1000, 2000, 1000, 1, 2000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := idleLane(t, Options{})
			l.addLive(tt.live)
			l.addTold(tt.told, tellKept, later)
			flights, live, told := 0, 0, 0
			for {
				b := l.load()
				if len(l.flying) == 0 {
					break
				}
				flights++
				n := 0
				if b != nil {
					n = len(b.commands)
				}
				if flights == 1 && (n != tt.wantLive || len(l.flying)-n != tt.wantTold) {
					t.Errorf("the first flight has %d live and %d told, want %d and %d", n, len(l.flying)-n, tt.wantLive, tt.wantTold)
				}
				live += n
				told += len(l.flying) - n
			}
			if flights != tt.wantFlights || live != tt.live || told != tt.told {
				t.Errorf("%d flights with %d live and %d told, want %d, %d, %d", flights, live, told, tt.wantFlights, tt.live, tt.told)
			}
		})
	}
}

// What has become pointless doesn't fly, and what was given up is counted.
func TestLoadLeavesOut(t *testing.T) {
	l := idleLane(t, Options{})
	l.addTold(3, tellKept, time.Now().Add(-time.Second))
	l.addTold(2, tellKept, time.Now().Add(time.Hour))
	settled := &Claim{}
	settled.settled.Store(true)
	l.renew(&command{claim: settled, kind: renewLease})
	l.renew(&command{claim: &Claim{}, kind: renewLease})
	l.load()
	if len(l.flying) != 3 {
		t.Errorf("%d commands fly, want 3", len(l.flying))
	}
	if n := counter(t, l.d.metrics.dropped[dropExpired]); n != 3 {
		t.Errorf("%v counted as expired, want 3", n)
	}
	if n := l.d.State().PendingConfirms; n != 2 {
		t.Errorf("%d pending, want 2", n)
	}
}

// With the breaker open nobody waits, and whoever waited is told.
func TestLose(t *testing.T) {
	l := idleLane(t, Options{Registerer: prometheus.NewRegistry()})
	c := &command{claim: &Claim{}, kind: askClaim}
	b := l.submit(c)
	l.lose(faultTimeout, errAway)
	select {
	case <-b.done:
	default:
		t.Fatal("a waiting caller isn't told")
	}
	if r := c.reply(); r != replyAway {
		t.Errorf("it is told %v", r)
	}
	if l.submit(c) != nil {
		t.Error("a command is taken while Redis is away")
	}
	since := l.away().since
	l.lose(faultDial, errAway)
	if o := l.away(); !o.since.Equal(since) || o.why != faultDial {
		t.Errorf("the outage became %+v", o)
	}
	if n := l.d.downLanes.Load(); n != 1 {
		t.Errorf("%d lanes down", n)
	}
	l.regain()
	l.regain()
	if n := l.d.downLanes.Load(); n != 0 || l.away() != nil || l.submit(c) == nil {
		t.Errorf("not back: %d lanes down", n)
	}
}

func TestProbePause(t *testing.T) {
	var p time.Duration
	for range 1000 {
		next := probePause(p)
		if next < probePauseMin*3/4 || next > probePauseMax*5/4 {
			t.Fatalf("a pause of %v after %v", next, p)
		}
		p = next
	}
	if p < probePauseMax*3/4 {
		t.Errorf("after a thousand probes the pause is %v", p)
	}
}
