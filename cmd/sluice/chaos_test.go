package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/fnv"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/audit"
	"sluice/internal/sender"
	"sluice/internal/testenv"
	"sluice/publisher"
)

const (
	// slowestAnswer is what an answer may take of the four seconds that the sender waits.
	slowestAnswer = 2500 * time.Millisecond
	// chaosDisk is the size of the disk that fills up, in bytes.
	chaosDisk = 32 << 20
	// slowSync is how much longer a sync takes on the slow disk. An event may wait for three, one after the other.
	slowSync = 200 * time.Millisecond
)

// target is what is struck.
type target string

const (
	onSluice target = "sluice"
	onKafka  target = "Kafka"
	onRedis  target = "Redis"
	onDisk   target = "disk"
)

// how a target is struck: killed is kill -9, frozen is SIGSTOP, restarted is SIGTERM. A pause later it runs again.
type how string

const (
	killed    how = "killed"
	frozen    how = "frozen"
	restarted how = "restarted"
	full      how = "full"
)

// hit is one target struck in one way. The hits of a strike overlap in time.
type hit struct {
	target
	how
}

func (h hit) String() string { return fmt.Sprintf("%s %s", h.target, h.how) }

// trialOf is one run: strikes, one after the other, under load.
type trialOf struct {
	fault     string // its row in the table
	instances int
	shared    bool // the instances have one folder for their spools
	slow      bool // the disk is slow throughout
	strikes   [][]hit
	rate      float64       // events a second, in an open loop; 0: drawn
	down      time.Duration // how long what is struck is down; 0: drawn
}

func (c trialOf) String() string {
	s := fmt.Sprintf("%s, %d instances", c.fault, c.instances)
	if c.instances == 1 {
		s = c.fault + ", 1 instance"
	}
	if c.shared {
		s += ", one folder"
	}
	return s
}

// has reports whether the run strikes a target.
func (c trialOf) has(what target) bool {
	return c.any(func(h hit) bool { return h.target == what })
}

func (c trialOf) any(is func(hit) bool) bool {
	return slices.ContainsFunc(c.strikes, func(hits []hit) bool { return slices.ContainsFunc(hits, is) })
}

// mayGoUnasked reports whether events may be published without Redis having been asked: it is away, or one of several
// instances stands still, and then has neither an answer from Redis nor time left to wait for one.
func (c trialOf) mayGoUnasked() bool {
	return c.has(onRedis) || c.instances > 1 && c.any(func(h hit) bool { return h == hit{onSluice, frozen} })
}

// chaos is a run under way. Its methods are for the test's goroutine.
type chaos struct {
	trialOf
	random    *rand.Rand
	began     time.Time
	kafka     *testenv.Cluster
	redis     *testenv.RedisServer
	env       *testenv.Env
	disk      *testenv.Disk // nil if it doesn't fill up
	instances []*instance
	troubles  troubles
}

// run makes the run and returns what came of it; what isn't as it has to be fails the test.
func (c trialOf) run(t *testing.T, kafka *testenv.Cluster, seed uint64) *chaosRow {
	t.Helper()
	name := fnv.New64a()
	fmt.Fprint(name, c)
	x := &chaos{trialOf: c, random: rand.New(rand.NewPCG(seed, name.Sum64())), began: time.Now(), kafka: kafka}
	x.open(t)

	generator, err := sender.NewGenerator(sender.GeneratorOptions{Odd: true, DeliveryIDs: true, Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	w := newWitness(rand.New(rand.NewPCG(seed, ^name.Sum64())), x.instances)
	options := sender.Options{
		URL: x.instances[0].url, Key: testKey, Transport: w, Duplicates: 0.05, FirstWait: 100 * time.Millisecond, MaxWait: time.Second,
	}
	var sent []audit.Sent
	options.Results = func(r sender.Result) {
		sent = append(sent, audit.Sent{
			ID: r.Event.ID, DeliveryID: r.Event.DeliveryID, Type: r.Event.Type, Body: sha256.Sum256(r.Event.Body), Acknowledged: r.Acknowledged,
		})
	}
	// Open: events come at their rate, however long answers take. Closed: each client waits for its answer.
	options.Rate, options.Concurrency = float64(100+x.random.IntN(200)), 1000
	if c.rate > 0 {
		options.Rate, options.Duplicates = c.rate, 0
	} else if x.random.IntN(2) == 0 {
		options.Concurrency = 16
	}
	x.say(t, "%s; %.0f events/s, at most %d at a time", c, options.Rate, options.Concurrency)
	stop, done := make(chan struct{}), make(chan sender.Summary, 1)
	go func() { done <- x.load(t, options, generator.Events(0), stop) }()
	for _, hits := range c.strikes {
		x.pause(t, time.Second, 2*time.Second)
		x.strike(t, hits)
	}
	x.pause(t, time.Second, 2*time.Second)
	if len(c.strikes) == 0 {
		x.pause(t, 5*time.Second, 5*time.Second)
	}
	close(stop)
	summary := <-done
	x.settle(t)
	for _, s := range x.instances {
		if code := s.Terminate(t, 30*time.Second); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
	if summary.NotAcknowledged > 0 {
		t.Errorf("%d events were never acknowledged", summary.NotAcknowledged)
	}
	return x.judge(t, sent, w)
}

// load sends until stop is closed and everything is acknowledged.
func (x *chaos) load(t *testing.T, o sender.Options, events iter.Seq2[sender.Event, error], stop <-chan struct{}) sender.Summary {
	s, err := sender.New(o)
	if err != nil {
		panic(err) // options of this file
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		select {
		case <-stop:
		case <-ctx.Done():
			return
		}
		// What hasn't been acknowledged in this time never will be: a lease lasts a minute.
		sleep(ctx, 90*time.Second)
		cancel()
	}()
	summary, _ := s.Run(ctx, func(yield func(sender.Event, error) bool) {
		for e, err := range events {
			select {
			case <-stop:
				return
			default:
			}
			if !yield(e, err) {
				return
			}
		}
	}) // its error would be the events'
	return summary
}

// open starts everything.
func (x *chaos) open(t *testing.T) {
	t.Helper()
	if !x.kafka.Broker(0).Running() { // a run that failed has left it so
		x.kafka.Broker(0).Restart(t)
	}
	x.env = testenv.RealOn(t, x.kafka)
	x.redis = testenv.Redis(t, "--appendonly", "yes")
	x.troubles.away = map[int][]span{}
	dir := t.TempDir()
	if x.has(onDisk) {
		x.disk = testenv.SmallDisk(t, chaosDisk)
		dir = x.disk.Dir()
	}
	var before []string
	if x.slow {
		before = testenv.SlowSyncs(t, slowSync)
	}
	for i := range x.trialOf.instances {
		name, spool := string(rune('a'+i)), dir
		if !x.shared {
			spool += "/" + name
		}
		x.instances = append(x.instances, startProcessBehind(t, x.env, before, "SLUICE_INSTANCE="+name, "SLUICE_SPOOL_DIR="+spool,
			"SLUICE_REDIS_URL="+x.redis.URL(), "SLUICE_SHUTDOWN_TIMEOUT=10s"))
	}
}

func (x *chaos) say(t *testing.T, format string, args ...any) {
	t.Helper()
	t.Logf("%6.2f s  %s", time.Since(x.began).Seconds(), fmt.Sprintf(format, args...))
}

// pause is a random time.
func (x *chaos) pause(t *testing.T, least, most time.Duration) {
	t.Helper()
	sleep(t.Context(), least+time.Duration(x.random.Int64N(int64(most-least)+1)))
}

// strike hits, in any order but so that the hits overlap, and lets all go on again, in any order as well.
func (x *chaos) strike(t *testing.T, hits []hit) {
	t.Helper()
	victims, last := x.victims(), time.Time{}
	hits = slices.Clone(hits)
	x.random.Shuffle(len(hits), func(i, j int) { hits[i], hits[j] = hits[j], hits[i] })
	for i, h := range hits {
		if i > 0 {
			x.pause(t, 0, 1500*time.Millisecond)
		}
		x.say(t, "%s%s", h, x.names(h, victims))
		last = time.Now()
		x.down(t, h, victims)
	}
	if x.trialOf.down > 0 {
		x.pause(t, x.trialOf.down, x.trialOf.down)
	} else if !slices.ContainsFunc(hits, func(h hit) bool { return h.how != restarted }) {
		x.pause(t, 0, 500*time.Millisecond)
	} else {
		x.pause(t, 2*time.Second, 6*time.Second)
	}
	x.random.Shuffle(len(hits), func(i, j int) { hits[i], hits[j] = hits[j], hits[i] })
	for i, h := range hits {
		if i > 0 {
			x.pause(t, 0, 1500*time.Millisecond)
		}
		x.up(t, h, victims)
		x.say(t, "%s%s goes on", h.target, x.names(h, victims))
	}
	x.settle(t)
	if x.has(onDisk) && x.has(onKafka) {
		x.troubles.full = append(x.troubles.full, span{last, time.Now()})
	}
}

// victims are the instances that are struck if sluice is: one of them, or all.
func (x *chaos) victims() (numbers []int) {
	chosen := x.random.IntN(len(x.instances) + 1)
	for i := range x.instances {
		if len(x.instances) == 1 || chosen == i || chosen == len(x.instances) {
			numbers = append(numbers, i)
		}
	}
	return numbers
}

// names tells the struck instances apart where there are several.
func (x *chaos) names(h hit, victims []int) (s string) {
	if h.target == onSluice && len(x.instances) > 1 {
		for _, i := range victims {
			s += " " + string(rune('a'+i))
		}
	}
	return s
}

// down strikes.
func (x *chaos) down(t *testing.T, h hit, victims []int) {
	t.Helper()
	switch h {
	case hit{onKafka, killed}:
		x.kafka.Broker(0).Kill(t)
	case hit{onKafka, frozen}:
		x.kafka.Broker(0).Stop(t)
	case hit{onKafka, restarted}:
		x.kafka.Broker(0).Terminate(t)
	case hit{onRedis, killed}:
		x.redis.Kill(t)
	case hit{onRedis, frozen}:
		x.redis.Stop(t)
	case hit{onRedis, restarted}:
		x.redis.Terminate(t)
	case hit{onDisk, full}:
		x.disk.Fill(t)
	}
	if h.target != onSluice {
		return
	}
	for _, i := range victims {
		s := x.instances[i]
		x.troubles.away[i] = append(x.troubles.away[i], span{begin: time.Now()})
		switch h.how {
		case killed:
			s.Kill(t)
		case frozen:
			s.Stop(t)
		default:
			s.Terminate(t, 30*time.Second)
		}
	}
}

// up lets go on what down has struck.
func (x *chaos) up(t *testing.T, h hit, victims []int) {
	t.Helper()
	switch {
	case h.target == onKafka && h.how == frozen:
		x.kafka.Broker(0).Cont(t)
	case h.target == onKafka:
		x.kafka.Broker(0).Restart(t)
	case h.target == onRedis && h.how == frozen:
		x.redis.Cont(t)
	case h.target == onRedis:
		x.redis.Restart(t)
	case h.target == onDisk:
		x.disk.Free(t)
	}
	if h.target != onSluice {
		return
	}
	for _, i := range victims {
		s := x.instances[i]
		if h.how == frozen {
			s.Cont(t)
		} else {
			s.start(t)
		}
		x.troubles.away[i][len(x.troubles.away[i])-1].end = time.Now()
	}
}

// settle waits until nothing goes by way of the disk any more.
func (x *chaos) settle(t *testing.T) {
	t.Helper()
	for _, s := range x.instances {
		testenv.Eventually(t, time.Minute, func() error { return metricIsZero(t, s.admin, "sluice_spool_events") })
	}
}

// judge compares what was answered with what is there.
func (x *chaos) judge(t *testing.T, sent []audit.Sent, w *witness) *chaosRow {
	t.Helper()
	found := x.kafka.ConsumeBulk(t, x.kafka.Topics(t, x.env.Prefix)...)
	records := make([]audit.Record, len(found))
	unasked := map[audit.Place]bool{}
	for i, r := range found {
		f := audit.Record{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Body: sha256.Sum256(r.Value)}
		f.ID, _ = r.Header("ce_id")
		records[i] = f
		_, skipped := r.Header("sluice-dedupe")
		unasked[audit.Place{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}] = skipped
	}
	where := newAuditTopics(publisher.TopicOptions{
		Template: x.env.Topic("{event_type}"), DeadLetter: x.env.Topic("dead_letter"), Overflow: x.env.Topic("other"),
	})
	where.exist(x.kafka.Topics(t, x.env.Prefix))
	report := audit.Compare(sent, records, where.right)
	var text strings.Builder
	writeFindings(&text, report, 10)
	if text.Len() > 0 {
		t.Logf("the audit:\n%s", text.String())
	}
	row := &chaosRow{
		fault: x.fault, instances: x.trialOf.instances, sent: report.Sent, acknowledged: report.Acknowledged, lost: len(report.Lost),
	}
	for _, f := range report.Doubled {
		// Every record but one says that it was published unasked: it came to an instance that couldn't know.
		if asked := slices.DeleteFunc(slices.Clone(f.Records), func(at audit.Place) bool { return unasked[at] }); len(asked) <= 1 {
			row.unasked++
		} else {
			row.doubled++
		}
	}
	if row.unasked > 0 && !x.mayGoUnasked() {
		t.Errorf("%d events are there twice because Redis wasn't asked", row.unasked)
	}
	if row.lost+row.doubled+len(report.Changed)+len(report.Misplaced)+report.Foreign > 0 || row.acknowledged == 0 {
		t.Errorf("lost %d, doubled %d, changed %d, misplaced %d, foreign %d of %d acknowledged",
			row.lost, row.doubled, len(report.Changed), len(report.Misplaced), report.Foreign, row.acknowledged)
	}
	var wrong []error
	var took []time.Duration // of answers by instances that were there throughout
	for _, p := range w.posts {
		row.add(p)
		if p.code != 0 && !meetsAny(x.troubles.away[p.instance], p.span) {
			took = append(took, p.end.Sub(p.begin))
		}
		if err := x.troubles.judge(p, w.events[p.event]); err != nil {
			wrong = append(wrong, fmt.Errorf("%.2f s: %w", p.begin.Sub(x.began).Seconds(), err))
		}
	}
	if len(wrong) > 0 {
		t.Errorf("%d answers aren't as they have to be, such as\n%v", len(wrong), errors.Join(wrong[:min(len(wrong), 10)]...))
	}
	slices.Sort(took)
	row.most, row.slowest = percentile(99.9, took), percentile(100, took)
	if median := percentile(50, took); x.slow && !x.has(onKafka) && median >= slowSync {
		t.Errorf("half of the answers took longer than %v: they waited for the disk", median)
	}
	x.say(t, "%s", row)
	return row
}
