package balance

import (
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// holds is the invariant, with no account below zero: that would be an event that left an account twice.
func holds(t *testing.T, n Balance) {
	t.Helper()
	sum := n.Published + n.Duplicate + n.DeadLettered + n.Refused + n.Lost + n.Spooled + n.InFlight
	if least := min(n.Published, n.Duplicate, n.DeadLettered, n.Refused, n.Lost, n.Spooled, n.InFlight); n.Accepted+n.Recovered != sum || least < 0 {
		t.Errorf("doesn't hold: %+v", n)
	}
}

// TestBook walks events through every way that there is.
func TestBook(t *testing.T) {
	var b Book
	b.Recover(3)
	b.Move(Spooled, Published)
	b.Move(Spooled, Lost)
	for range 8 {
		b.Accept()
	}
	b.Move(InFlight, Duplicate)
	b.Move(InFlight, Refused)
	b.Move(InFlight, Published)
	b.Move(InFlight, Spooled)
	b.Move(Spooled, Spooled)
	var direct, twice, parted Account
	b.Advance(&direct, Published) // the end is told before the disk's news
	b.Advance(&direct, Spooled)
	b.Advance(&twice, Spooled)
	b.Advance(&twice, DeadLettered)
	b.Advance(&twice, Published)
	b.Advance(&parted, InFlight)
	want := Balance{
		Accepted: 8, Recovered: 3, Published: 3, Duplicate: 1, DeadLettered: 1, Refused: 1, Lost: 1, Spooled: 2, InFlight: 2,
	}
	n := b.Balance()
	if n != want {
		t.Errorf("%+v, want %+v", n, want)
	}
	holds(t, n)
	if got, want := n.String(), "8 accepted + 3 recovered = 3 published + 1 duplicate + 1 dead-lettered + 1 refused + 1 lost + 2 spooled + 2 in flight"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := (Balance{}).String(); got != "0 accepted" {
		t.Errorf("an empty book is %q", got)
	}
}

// TestScrape wants the samples of every scrape to be of one instant, while events move.
func TestScrape(t *testing.T) {
	var b Book
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(&b)
	b.Recover(5)
	const workers, each = 4, 5000
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range each {
				b.Accept()
				b.Move(InFlight, Spooled)
				b.Move(Spooled, []Account{Published, DeadLettered, Lost}[i%3])
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		default:
		}
		n := scrape(t, reg)
		holds(t, n)
		if n.InFlight+n.Spooled > workers+5 {
			t.Fatalf("%d workers have more than an event each on the way: %+v", workers, n)
		}
	}
	if n := scrape(t, reg); n.Accepted != workers*each || n.Spooled != 5 || n.InFlight != 0 || n != b.Balance() {
		t.Errorf("%+v", n)
	}
}

// scrape reads a balance from the metrics.
func scrape(t *testing.T, g prometheus.Gatherer) (n Balance) {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]int64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "sluice_")
			for _, l := range m.GetLabel() {
				name = l.GetValue()
			}
			values[name] = int64(value(m))
		}
	}
	if len(values) != 9 {
		t.Fatalf("samples %v", values)
	}
	return Balance{
		Accepted: values["accepted_total"], Recovered: values["recovered_total"], Published: values["published"],
		Duplicate: values["duplicate"], DeadLettered: values["dead_lettered"], Refused: values["refused"], Lost: values["lost"],
		Spooled: values["spool_events"], InFlight: values["in_flight_events"],
	}
}

func value(m *dto.Metric) float64 { return m.GetCounter().GetValue() + m.GetGauge().GetValue() }

// BenchmarkEvent is what an event costs that is published at once.
func BenchmarkEvent(b *testing.B) {
	var book Book
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			book.Accept()
			book.Move(InFlight, Published)
		}
	})
}
