package idempotent

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	kafka "github.com/segmentio/kafka-go"

	"sluice/internal/testenv"
	brokerconn "sluice/publisher/connect"
)

// ledger remembers what callers were told, to be compared with the topics.
type ledger struct {
	mu  sync.Mutex
	err map[string]error
}

func (l *ledger) set(value string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err[value] = err
}

// produce sends one value and waits at most a second for the answer, as a
// request would; the final outcome reaches the ledger whenever it is known.
func (l *ledger) produce(t *testing.T, p *Producer, topic string, partition int32, value string) error {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	l.set(value, errPending)
	err := p.Produce(ctx, topic, partition, &Record{Value: []byte(value), Late: func(err error) { l.set(value, err) }})
	if !errors.Is(err, ErrUnresolved) {
		l.set(value, err)
	}
	return err
}

// check compares with what an independent reader finds.
func (l *ledger) check(t *testing.T, c testenv.Source, topics ...string) {
	t.Helper()
	counts := map[string]int{}
	for _, r := range c.Consume(t, topics...) {
		counts[string(r.Value)]++
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	kept, lost, doubled, unwanted := 0, 0, 0, 0
	for value, err := range l.err {
		n := counts[value]
		switch {
		case errors.Is(err, errPending) || errors.Is(err, ErrUnresolved):
			t.Errorf("%s: never settled", value)
		case n > 1:
			doubled++
		case err == nil && n == 0:
			lost++
		case err != nil && n == 1:
			unwanted++
		case err == nil:
			kept++
		}
	}
	t.Logf("%d sent, %d kept once", len(l.err), kept)
	if lost+doubled+unwanted > 0 || kept == 0 {
		t.Errorf("lost %d, doubled %d, written though told otherwise %d, kept %d", lost, doubled, unwanted, kept)
	}
}

func connect(t *testing.T, brokers []string, change func(*Options)) *Producer {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	tr, err := brokerconn.NewTransport(ctx, brokerconn.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, tr, func(o *Options) {
		o.Addr, o.Opened = kafka.TCP(brokers...), tr.Opened
		if change != nil {
			change(o)
		}
	})
	t.Cleanup(func() {
		cctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
		defer stop()
		p.Close(cctx)
		cancel()
		tr.CloseIdleConnections()
	})
	testenv.Eventually(t, 30*time.Second, func() error { // a broker that has just started has none to give
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.producerID < 0 {
			return errors.New("no producer id yet")
		}
		return nil
	})
	return p
}

// settleAll closes the producer, which has to resolve everything.
func settleAll(t *testing.T, p *Producer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 45*time.Second)
	defer cancel()
	if n := p.Close(ctx); n != 0 {
		t.Errorf("%d records unresolved", n)
	}
}

// load produces n values from several goroutines, with during running beside.
func load(t *testing.T, p *Producer, l *ledger, n int, during func(), target func(i int) (topic string, partition int32)) {
	t.Helper()
	var wg sync.WaitGroup
	next := make(chan int)
	for range 32 {
		wg.Go(func() {
			for i := range next {
				topic, partition := target(i)
				_ = l.produce(t, p, topic, partition, fmt.Sprint("v", i)) // the ledger has it
			}
		})
	}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	done := make(chan struct{})
	go func() { defer close(done); during() }()
	i := 0
	feed := func() {
		select {
		case next <- i:
			i++
		case <-tick.C:
		}
	}
	for i < n {
		feed()
		<-tick.C
	}
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
			feed()
			<-tick.C
		}
	}
	close(next)
	wg.Wait()
}

func TestRealSequenceWrap(t *testing.T) {
	c := testenv.SharedKafka(t)
	c.CreateTopic(t, "wrap", 1, nil)
	p := connect(t, c.Bootstrap(), func(o *Options) { o.firstSequence = math.MaxInt32 - 5 })
	watch(t, p, "wrap")
	l := &ledger{err: map[string]error{}}
	for i := range 20 {
		if err := l.produce(t, p, "wrap", 0, fmt.Sprint("w", i)); err != nil {
			t.Fatal(err)
		}
	}
	if s := p.partitions[partitionKey{"wrap", 0}].sequence; s != 14 {
		t.Errorf("sequence %d after the wrap, want 14", s)
	}
	settleAll(t, p)
	l.check(t, c, "wrap")
}

// TestRealLostResponses has the broker append and its answer vanish.
func TestRealLostResponses(t *testing.T) {
	t.Parallel() // it mostly waits
	for _, cut := range []bool{true, false} {
		t.Run(fmt.Sprint("cut=", cut), func(t *testing.T) {
			t.Parallel()
			c := testenv.Kafka(t, testenv.WithProxies())
			c.CreateTopic(t, "lossy", 3, nil)
			p := connect(t, c.Bootstrap(), func(o *Options) { o.RequestTimeout = 300 * time.Millisecond })
			watch(t, p, "lossy")
			l := &ledger{err: map[string]error{}}
			proxy := c.Broker(0).Proxy()
			load(t, p, l, 500, func() {
				for range 10 {
					lost := proxy.Lost()
					proxy.Inject(testenv.Fault{Match: testenv.KafkaRequest(testenv.APIProduce), Count: 1, Cut: cut})
					testenv.Eventually(t, 20*time.Second, func() error {
						if proxy.Lost() == lost {
							return errors.New("no answer lost yet")
						}
						return nil
					})
				}
				proxy.Clear()
			}, func(i int) (string, int32) { return "lossy", int32(i % 3) })
			settleAll(t, p)
			if proxy.Lost() < 10 {
				t.Errorf("%d answers lost, want 10: the test proves nothing", proxy.Lost())
			}
			l.check(t, c, "lossy")
		})
	}
}

// TestRealBrokerKilled kills the only broker under load and starts it again.
func TestRealBrokerKilled(t *testing.T) {
	t.Parallel() // it mostly waits
	c := testenv.Kafka(t)
	c.CreateTopic(t, "killed", 2, nil)
	p := connect(t, c.Bootstrap(), nil)
	watch(t, p, "killed")
	l := &ledger{err: map[string]error{}}
	load(t, p, l, 300, func() {
		for range 2 {
			pause(t, time.Second)
			c.Broker(0).Kill(t)
			c.Broker(0).Restart(t)
		}
		pause(t, time.Second)
	}, func(i int) (string, int32) { return "killed", int32(i % 2) })
	settleAll(t, p)
	l.check(t, c, "killed")
}

// TestRealProducerExpired leaves the producer idle until the broker has
// forgotten it.
func TestRealProducerExpired(t *testing.T) {
	c := testenv.Kafka(t, testenv.WithConfig("producer.id.expiration.ms", "500"),
		testenv.WithConfig("producer.id.expiration.check.interval.ms", "200"))
	c.CreateTopic(t, "idle", 1, nil)
	p := connect(t, c.Bootstrap(), nil)
	watch(t, p, "idle")
	l := &ledger{err: map[string]error{}}
	for round := range 3 {
		for i := range 10 {
			if err := l.produce(t, p, "idle", 0, fmt.Sprintf("r%d-%d", round, i)); err != nil {
				t.Fatal(err)
			}
		}
		pause(t, 1500*time.Millisecond)
	}
	settleAll(t, p)
	l.check(t, c, "idle")
}

// pause lets real time pass for a real broker.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

func TestRealTopicRecreated(t *testing.T) {
	c := testenv.SharedKafka(t)
	c.CreateTopic(t, "reborn", 2, nil)
	p := connect(t, c.Bootstrap(), func(o *Options) { o.MetadataInterval = 200 * time.Millisecond })
	watch(t, p, "reborn")
	before := &ledger{err: map[string]error{}}
	for i := range 10 {
		if err := before.produce(t, p, "reborn", int32(i%2), fmt.Sprint("before", i)); err != nil {
			t.Fatal(err)
		}
	}
	tr := &kafka.Transport{}
	defer tr.CloseIdleConnections()
	cl := &kafka.Client{Addr: kafka.TCP(c.Bootstrap()...), Transport: tr}
	if _, err := cl.DeleteTopics(t.Context(), &kafka.DeleteTopicsRequest{Topics: []string{"reborn"}}); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, 10*time.Second, func() error {
		if info, _ := p.Topic("reborn"); !info.Missing {
			return errors.New("the deletion isn't seen yet")
		}
		return nil
	})
	after := &ledger{err: map[string]error{}}
	if err := after.produce(t, p, "reborn", 0, "while gone"); !errors.Is(err, ErrNotSent) {
		t.Errorf("while the topic is gone: %v", err)
	}
	c.CreateTopic(t, "reborn", 2, nil)
	testenv.Eventually(t, 20*time.Second, func() error { return after.produce(t, p, "reborn", 1, "first") })
	for i := range 10 {
		if err := after.produce(t, p, "reborn", int32(i%2), fmt.Sprint("after", i)); err != nil {
			t.Error(err)
		}
	}
	settleAll(t, p)
	after.check(t, c, "reborn")
}

// TestRealLogTailLost cuts acknowledged records off the end of a log while the
// broker is down, as a disk that had lied would.
func TestRealLogTailLost(t *testing.T) {
	c := testenv.Kafka(t)
	dir := c.Broker(0).DataDir()
	c.CreateTopic(t, "tail", 1, nil)
	p := connect(t, c.Bootstrap(), nil)
	watch(t, p, "tail")
	l := &ledger{err: map[string]error{}}
	log := filepath.Join(dir, "tail-0", "00000000000000000000.log")
	var size int64
	for i := range 10 {
		if i == 5 {
			st, err := os.Stat(log)
			if err != nil {
				t.Fatal(err)
			}
			size = st.Size()
		}
		if err := l.produce(t, p, "tail", 0, fmt.Sprint("early", i)); err != nil {
			t.Fatal(err)
		}
	}
	c.Broker(0).Kill(t)
	if err := os.Truncate(log, size); err != nil {
		t.Fatal(err)
	}
	snapshots, _ := filepath.Glob(filepath.Join(dir, "tail-0", "*.snapshot"))
	for _, s := range snapshots {
		_ = os.Remove(s)
	}
	c.Broker(0).Restart(t)
	after := &ledger{err: map[string]error{}}
	testenv.Eventually(t, 20*time.Second, func() error { return after.produce(t, p, "tail", 0, "first") })
	for i := range 10 {
		if err := after.produce(t, p, "tail", 0, fmt.Sprint("late", i)); err != nil {
			t.Error(err)
		}
	}
	if e := p.partitions[partitionKey{"tail", 0}].epoch; e == 0 {
		t.Error("the epoch is still 0: the broker noticed nothing, the test proves nothing")
	}
	settleAll(t, p)
	after.check(t, c, "tail")
}

// TestRealThreeBrokers moves leaders and kills a broker under load.
func TestRealThreeBrokers(t *testing.T) {
	c := testenv.Kafka(t, testenv.WithBrokers(3), testenv.WithConfig("min.insync.replicas", "2"),
		testenv.WithConfig("default.replication.factor", "3"))
	c.CreateTopic(t, "three", 6, nil)
	p := connect(t, c.Bootstrap(), nil)
	watch(t, p, "three")
	l := &ledger{err: map[string]error{}}
	load(t, p, l, 1000, func() {
		for i := range 2 { // a clean stop moves its leaders
			c.Broker(i).Terminate(t)
			c.Broker(i).Restart(t)
		}
		c.Broker(2).Kill(t)
		pause(t, 3*time.Second)
		c.Broker(2).Restart(t)
	}, func(i int) (string, int32) { return "three", int32(i % 6) })
	settleAll(t, p)
	l.check(t, c, "three")
}

// TestRealOneLeaderless kills the broker that has the only replica of some
// partitions: their records wait or leave unsent, the others flow.
func TestRealOneLeaderless(t *testing.T) {
	c := testenv.Kafka(t, testenv.WithBrokers(3))
	createUnreplicated(t, c, "lone", 6)
	p := connect(t, c.Bootstrap(), nil)
	watch(t, p, "lone")
	victim := c.Leader(t, "lone", 0)
	var well []int32
	for i := range int32(6) {
		if c.Leader(t, "lone", int(i)) != victim {
			well = append(well, i)
		}
	}
	if len(well) == 0 {
		t.Fatal("all partitions landed on one broker")
	}
	l := &ledger{err: map[string]error{}}
	victim.Kill(t)
	testenv.Eventually(t, 20*time.Second, func() error {
		if err := l.produce(t, p, "lone", well[0], fmt.Sprint("first", time.Now().UnixNano())); err != nil {
			return err
		}
		return leaderless(p, "lone", 0)
	})
	for i := range 60 {
		if err := l.produce(t, p, "lone", well[i%len(well)], fmt.Sprint("well", i)); err != nil {
			t.Errorf("record %d of a healthy partition: %v", i, err)
		}
		if i%20 == 0 {
			if err := l.produce(t, p, "lone", 0, fmt.Sprint("ill", i)); err == nil {
				t.Error("a partition without a leader took a record")
			}
		}
	}
	victim.Restart(t)
	testenv.Eventually(t, 30*time.Second, func() error {
		return l.produce(t, p, "lone", 0, fmt.Sprint("back", time.Now().UnixNano()))
	})
	settleAll(t, p)
	l.check(t, c, "lone")
}

// leaderless is nil when the producer knows that the partition has no leader.
func leaderless(p *Producer, topic string, id int32) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.partitions[partitionKey{topic, id}].leader; l >= 0 {
		return fmt.Errorf("broker %d still leads", l)
	}
	return nil
}

func createUnreplicated(t *testing.T, c *testenv.Cluster, topic string, partitions int) {
	t.Helper()
	tr := &kafka.Transport{}
	defer tr.CloseIdleConnections()
	cl := &kafka.Client{Addr: kafka.TCP(c.Bootstrap()...), Transport: tr}
	res, err := cl.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: partitions, ReplicationFactor: 1}},
	})
	if err == nil {
		err = res.Errors[topic]
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := range partitions {
		testenv.Eventually(t, 10*time.Second, func() error {
			md, err := cl.Metadata(t.Context(), &kafka.MetadataRequest{Topics: []string{topic}})
			if err != nil {
				return err
			}
			if ps := md.Topics[0].Partitions; len(ps) != partitions || ps[i].Leader.Host == "" {
				return errors.New("not created everywhere yet")
			}
			return nil
		})
	}
}
