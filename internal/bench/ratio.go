package main

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// ratioOptions are the flags of ratio.
type ratioOptions struct {
	bedOptions
	conns    connCounts
	rounds   int
	duration time.Duration
	warmup   time.Duration
	maxRate  int
	base     string
	baseSet  []string // environment of the base only
}

func (o *ratioOptions) flags(set *flag.FlagSet) {
	o.bedOptions.flags(set)
	o.conns = connCounts{64, 256}
	set.Var(&o.conns, "conns", "numbers of connections, separated by commas")
	set.IntVar(&o.rounds, "rounds", 5, "rounds of each server for each number of connections")
	set.DurationVar(&o.duration, "duration", 5*time.Second, "length of a round")
	set.DurationVar(&o.warmup, "warmup", 20*time.Second, "how long the broker is warmed up in the beginning: Java compiles it meanwhile")
	set.Func("base", "`path` of another sluice binary, to be measured in the same turns", absolute(&o.base))
	set.Func("base-set", "`NAME=value`: an environment variable for the base alone; without -base that is the same binary (may be repeated)", func(setting string) error {
		o.baseSet = append(o.baseSet, setting)
		return nil
	})
	set.IntVar(&o.maxRate, "max-rate", 30_000, "events made for each second of sluice: more than it can take")
}

// connCounts is a flag.
type connCounts []int

func (c *connCounts) String() string {
	return strings.Trim(strings.Join(strings.Fields(fmt.Sprint([]int(*c))), ","), "[]")
}

// Set implements flag.Value.
func (c *connCounts) Set(text string) error {
	*c = nil
	for word := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 || n > 10_000 {
			return fmt.Errorf("%q is no number of connections", word)
		}
		*c = append(*c, n)
	}
	return nil
}

// sample is one round.
type sample struct {
	load
	cpu   map[string]time.Duration
	other float64 // share of the machine's processor time that other processes used
}

// perEvent is a process's processor time for one event, in microseconds.
func (x sample) perEvent(process string) float64 {
	return float64(x.cpu[process].Nanoseconds()) / 1000 / float64(max(x.published, 1))
}

// total is the processor time of all processes measured for one event, in microseconds.
func (x sample) total() float64 {
	sum := 0.0
	for process := range x.cpu {
		sum += x.perEvent(process)
	}
	return sum
}

// ratio measures sluice against the noop server, in turns.
func ratio(s *stage, o ratioOptions, out io.Writer) {
	b := newBed(s, o.bedOptions)
	noop := startNoop(s)
	fmt.Fprintln(out, environment(s.ctx, b.options.binary))
	fmt.Fprintf(out, "closed loop, %d rounds of %s in turns, %s of warming up\n\n", o.rounds, o.duration, o.warmup)
	b.warmUp(o)

	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "conns\tserver\trequests/s\t(min–max)\tratio\t(min–max)\tCPU ratio\tCPU µs/event: server\tkafka\tredis\tgenerator\tother CPU\t")
	var findings []string
	for _, conns := range o.conns {
		contenders := []*contender{{server: noop, kept: b.ledger("")}, b.contender("sluice", b.options.binary, conns)}
		if o.base != "" || len(o.baseSet) > 0 {
			contenders = append(contenders, b.contender("base", cmp.Or(o.base, b.options.binary), conns, o.baseSet...))
		}
		b.compete(contenders, conns, o)
		for _, c := range contenders {
			c.row(table, conns, contenders[0])
			if c.server == noop {
				continue // has kept nothing
			}
			complaints(s, c.server, c.kept)
			found := b.finish(c.server, c.kept)
			findings = append(findings, fmt.Sprintf("%s, %d connections: %s; answers: %s", c.server.name, conns, &found, answers(c.kept.codes())))
		}
	}
	s.must(table.Flush())
	fmt.Fprintf(out, "\nread back with kcat:\n  %s\n", strings.Join(findings, "\n  "))
}

// contender is a server and its rounds.
type contender struct {
	server *server
	kept   *ledger
	rounds []sample
	// latencies are those of an open loop, in microseconds.
	latencies *hdrhistogram.Histogram
}

// contender starts a sluice.
func (b *bed) contender(name, binary string, conns int, settings ...string) *contender {
	c := new(contender)
	c.server, c.kept = b.startSluice(binary, fmt.Sprintf("%s%d", name, conns), settings...)
	c.server.name = name
	return c
}

// compete loads the contenders in turns.
func (b *bed) compete(contenders []*contender, conns int, o ratioOptions) {
	r := new(requests)
	for round := range o.rounds + 1 { // the first doesn't count: the servers are new
		progress := []string{fmt.Sprintf("%d connections, round %d:", conns, round)}
		for _, c := range contenders {
			c.kept.fill(r, o.events(o.duration))
			x := b.round(c.server, conns, r, o.duration)
			c.kept.add(r)
			if round > 0 {
				c.rounds = append(c.rounds, x)
			}
			progress = append(progress, fmt.Sprintf("%s %.0f/s", c.server.name, x.rate()))
		}
		b.stage.Log(strings.Join(progress, " "))
	}
}

// events is more than sluice can take in the time given.
func (o *ratioOptions) events(d time.Duration) int { return int(float64(o.maxRate) * d.Seconds()) }

// warmUp has the broker work on topics that nothing else uses.
func (b *bed) warmUp(o ratioOptions) {
	sluice, kept := b.startSluice(b.options.binary, "warm")
	r := new(requests)
	kept.fill(r, o.events(o.warmup))
	x := b.round(sluice, o.conns[0], r, o.warmup)
	kept.add(r)
	b.stage.Logf("warming up: %.0f/s", x.rate())
	b.finish(sluice, kept)
}

// round loads one server.
func (b *bed) round(target *server, conns int, r *requests, duration time.Duration) sample {
	s := b.stage
	const lag = 10 * time.Second // for the last answers
	all, err := clients(s.ctx, target.addr, conns, time.Now().Add(duration+lag))
	s.must(err)
	defer hangUp(all)
	for _, c := range all {
		c.plain = target.plain
	}
	return b.measured(target, func() load {
		l, err := closedLoop(s.ctx, all, r, target.again, duration)
		if err != nil {
			s.Fatalf("loading %s: %v", target.name, err)
		}
		return l
	})
}

// measured is what a stretch of load costs.
func (b *bed) measured(target *server, do func() load) sample {
	s := b.stage
	m := b.meters(target)
	before, err := m.read()
	s.must(err)
	machine, err := machineTime()
	s.must(err)
	l := do()
	after, err := m.read()
	s.must(err)
	machineAfter, err := machineTime()
	s.must(err)

	x := sample{load: l, cpu: make(map[string]time.Duration, len(m))}
	other := machineAfter.busy - machine.busy
	for name, t := range after {
		x.cpu[name] = t - before[name]
		other -= x.cpu[name]
	}
	x.other = max(0, float64(other)/float64(max(machineAfter.all-machine.all, 1)))
	return x
}

// column summarises a value of each round.
func (c *contender) column(value func(round int, x sample) float64) summary {
	var values []float64
	for round, x := range c.rounds {
		values = append(values, value(round, x))
	}
	return spread(values)
}

// row writes a line of the table: medians over the rounds, and over the pairs of this server's rounds with noop's.
func (c *contender) row(table io.Writer, conns int, noop *contender) {
	column := c.column
	rates := column(func(_ int, x sample) float64 { return x.rate() })
	fmt.Fprintf(table, "%d\t%s\t%.0f\t%.0f–%.0f\t", conns, c.server.name, rates.median, rates.low, rates.high)
	if c == noop {
		fmt.Fprint(table, "\t\t\t")
	} else {
		ratios := column(func(round int, x sample) float64 { return x.rate() / noop.rounds[round].rate() })
		cpuRatios := column(func(round int, x sample) float64 { return noop.rounds[round].total() / x.total() })
		fmt.Fprintf(table, "%.3f\t%.3f–%.3f\t%.3f\t", ratios.median, ratios.low, ratios.high, cpuRatios.median)
	}
	for _, process := range []string{"server", "kafka", "redis", "generator"} {
		fmt.Fprintf(table, "%.1f\t", column(func(_ int, x sample) float64 { return x.perEvent(process) }).median)
	}
	fmt.Fprintf(table, "%.0f%%\t\n", 100*column(func(_ int, x sample) float64 { return x.other }).median)
}
