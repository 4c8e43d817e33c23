package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/testenv"
)

// docs/faults.md says what each row means and what is expected of it.
var (
	chaosRounds = flag.Int("chaos.rounds", 0, "rounds of TestChaos over all faults; 0: a few of them, for CI")
	chaosSeed   = flag.Uint64("chaos.seed", 6, "what decides about TestChaos's moments and victims; 0: another one each time, which is printed")
)

// TestChaos kills, freezes and restarts sluice, Kafka and Redis at random moments under load, and fills and slows the
// disk. Every event has to be acknowledged in time, and to be there once.
func TestChaos(t *testing.T) {
	testenv.Need(t, testenv.ServerKafka, testenv.ServerRedis, testenv.ServerKcat)
	seed := *chaosSeed
	for seed == 0 {
		seed = rand.Uint64N(1_000_000)
	}
	t.Logf("seed %d", seed)
	kafka := testenv.Kafka(t)
	var table chaosTable
	defer func() { t.Logf("\nseed %d, %d rounds\n\n%s", seed, *chaosRounds, &table) }()
	if *chaosRounds == 0 {
		for _, c := range someTrials() {
			t.Run(c.String(), func(t *testing.T) { table.add(c, c.run(t, kafka, seed)) })
		}
		return
	}
	for round := range *chaosRounds {
		for _, c := range allTrials(seed, round) {
			t.Run(fmt.Sprintf("round %d/%s", round+1, c), func(t *testing.T) { table.add(c, c.run(t, kafka, seed+uint64(round)*1_000_003)) })
		}
	}
}

// TestFaultsPage holds the table in docs/faults.md to the runs that there are, and to what is promised.
func TestFaultsPage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "faults.md"))
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut((&chaosTable{}).String(), "\n")
	_, table, found := strings.Cut(string(page), head)
	if !found {
		t.Fatal("there is no table")
	}
	rows := map[string]int{}
	for _, line := range strings.Split(table, "\n")[2:] {
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		if len(cells) != strings.Count(head, " | ")+1 {
			break
		}
		rows[cells[0]+", "+cells[1]]++
		if lost, doubled := cells[len(cells)-3], cells[len(cells)-2]; lost != "0" || doubled != "0" {
			t.Errorf("lost %s, doubled %s: %s", lost, doubled, line)
		}
	}
	trials := allTrials(1, 0)
	for _, c := range trials {
		if rows[fmt.Sprintf("%s, %d", c.fault, c.instances)] != 1 {
			t.Errorf("no row, or several: %s", c)
		}
	}
	if len(rows) != len(trials) {
		t.Errorf("%d rows, %d runs", len(rows), len(trials))
	}
}

// someTrials are those for CI: single faults have tests of their own.
func someTrials() []trialOf {
	strike := func(hits ...hit) [][]hit { return [][]hit{hits} }
	return []trialOf{
		{fault: "sluice and Kafka", instances: 2, shared: true, strikes: strike(hit{onSluice, killed}, hit{onKafka, frozen})},
		{fault: "sluice and Redis", instances: 2, strikes: strike(hit{onSluice, frozen}, hit{onRedis, killed})},
		{fault: "Kafka and Redis", instances: 1, strikes: strike(hit{onKafka, killed}, hit{onRedis, frozen})},
		{fault: "disk full and Kafka", instances: 1, strikes: strike(hit{onDisk, full}, hit{onKafka, frozen})},
		{fault: "disk slow", instances: 1, slow: true},
	}
}

// allTrials are a round's. Two faults at once have nine ways to be; three rounds have all of them.
func allTrials(seed uint64, round int) (all []trialOf) {
	ways := []how{killed, frozen, restarted}
	add := func(c trialOf) {
		for c.instances = 1; c.instances <= 2; c.instances++ {
			c.shared = c.instances == 2 && round%2 == 0
			all = append(all, c)
		}
	}
	targets := []target{onSluice, onKafka, onRedis}
	for _, on := range targets {
		for _, h := range ways {
			add(trialOf{fault: hit{on, h}.String(), strikes: [][]hit{{{on, h}}, {{on, h}}}})
		}
	}
	random := rand.New(rand.NewPCG(seed, 0)) // the same in every round
	for i, a := range targets {
		for _, b := range targets[i+1:] {
			var strikes [][]hit
			for _, n := range random.Perm(9) {
				strikes = append(strikes, []hit{{a, ways[n/3]}, {b, ways[n%3]}})
			}
			third := round % 3
			add(trialOf{fault: fmt.Sprintf("%s and %s", a, b), strikes: strikes[3*third : 3*third+3]})
		}
	}
	byKafka := func(first ...hit) (strikes [][]hit) {
		for _, h := range ways {
			strikes = append(strikes, append(slices.Clone(first), hit{onKafka, h}))
		}
		return strikes
	}
	for _, h := range []how{killed, frozen} {
		for _, o := range []trialOf{{rate: 200, down: 8 * time.Second}, {rate: 1000, down: time.Minute}} {
			o.fault = fmt.Sprintf("Kafka %s for %.0f s at %.0f/s", h, o.down.Seconds(), o.rate)
			o.instances, o.strikes = 1, [][]hit{{{onKafka, h}}}
			all = append(all, o)
		}
	}
	var five [][]hit
	for range 5 {
		five = append(five, []hit{{onSluice, killed}})
	}
	add(trialOf{fault: "sluice killed five times at 400/s", strikes: five, rate: 400, down: time.Second})
	return append(all,
		trialOf{fault: "disk full", instances: 1, strikes: [][]hit{{{onDisk, full}}, {{onDisk, full}}}},
		trialOf{fault: "disk full and Kafka", instances: 1, strikes: byKafka(hit{onDisk, full})},
		trialOf{fault: "disk slow", instances: 1, slow: true},
		trialOf{fault: "disk slow and Kafka", instances: 1, slow: true, strikes: byKafka()},
	)
}

// chaosRow is a row of the table. Of several runs it has the sums, and the times of the worst.
type chaosRow struct {
	fault              string
	instances          int
	sent, acknowledged int
	ok, unavailable    int // answers 200 and 503
	other              int // other answers
	refused, late      int // no answer: a connection that couldn't be made or broke off, and four seconds without one
	lost, doubled      int
	unasked            int           // events that are there more than once because Redis wasn't asked
	most, slowest      time.Duration // that 99.9 % of the answers took, and all of them
}

// add counts a post.
func (r *chaosRow) add(p *post) {
	switch {
	case p.code == http.StatusOK:
		r.ok++
	case p.code == http.StatusServiceUnavailable:
		r.unavailable++
	case p.code != 0:
		r.other++
	case p.late:
		r.late++
	default:
		r.refused++
	}
}

// percentile is the time that so many of a hundred didn't exceed. They are sorted.
func percentile(share float64, took []time.Duration) time.Duration {
	if len(took) == 0 {
		return 0
	}
	return took[min(int(float64(len(took))*share/100), len(took)-1)].Round(time.Millisecond)
}

func (r *chaosRow) String() string {
	return fmt.Sprintf("| %s | %d | %d | %d | %d | %d | %d | %d | %d | %v | %v | %d | %d | %d |", r.fault, r.instances, r.sent, r.acknowledged,
		r.ok, r.unavailable, r.other, r.refused, r.late, r.most, r.slowest, r.lost, r.doubled, r.unasked)
}

// chaosTable has the runs of the same fault in one row.
type chaosTable struct{ rows []*chaosRow }

func (c *chaosTable) add(of trialOf, r *chaosRow) {
	i := slices.IndexFunc(c.rows, func(x *chaosRow) bool { return x.fault == of.fault && x.instances == of.instances })
	if i < 0 {
		c.rows = append(c.rows, r)
		return
	}
	x := c.rows[i]
	x.sent, x.acknowledged = x.sent+r.sent, x.acknowledged+r.acknowledged
	x.lost, x.doubled, x.unasked = x.lost+r.lost, x.doubled+r.doubled, x.unasked+r.unasked
	x.ok, x.unavailable, x.other, x.refused, x.late = x.ok+r.ok, x.unavailable+r.unavailable, x.other+r.other, x.refused+r.refused, x.late+r.late
	x.most, x.slowest = max(x.most, r.most), max(x.slowest, r.slowest)
}

func (c *chaosTable) String() string {
	s := "| fault | instances | sent | acknowledged | 200 | 503 | other | refused | timed out | p99.9 | slowest | lost | doubled | doubled, unasked |\n" +
		"|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n"
	for _, r := range c.rows {
		s += r.String() + "\n"
	}
	return s
}
