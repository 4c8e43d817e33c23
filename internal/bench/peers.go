package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	kafka "github.com/segmentio/kafka-go"

	"sluice/internal/testenv"
)

// Environment variables that name a peer which isn't built here: Redpanda Connect, and its configuration, which is to
// serve POST /webhook. That gets BENCH_LISTEN, BENCH_BROKERS, BENCH_REDIS, BENCH_PREFIX (of the topics, with "_" after
// it) and BENCH_KEY (of the signatures).
const (
	connectBinary = "BENCH_CONNECT"
	connectConfig = "BENCH_CONNECT_CONFIG"
)

// peers starts the services that sluice is compared with, each on topics of its own.
func (b *bed) peers(prefix string) []*contender {
	s := b.stage
	found := []*contender{b.naive("tuned", prefix, true), b.naive("default", prefix, false)}
	if binary, config := os.Getenv(connectBinary), os.Getenv(connectConfig); binary != "" && config != "" {
		found = append(found, b.connect(binary, config, prefix))
	} else {
		s.Log("Redpanda Connect isn't measured: " + connectBinary + " and " + connectConfig + " don't name a binary and its configuration")
	}
	return found
}

// topics creates what a peer expects to be there.
func (b *bed) topics(prefix string) {
	for _, t := range b.events.types {
		b.kafka.CreateTopic(b.stage, prefix+"_"+t.Name, max(b.options.partitions, 1), nil)
	}
}

// naive starts the naive service.
func (b *bed) naive(name, prefix string, tuned bool) *contender {
	s := b.stage
	self, err := os.Executable()
	s.must(err)
	prefix += name
	b.topics(prefix)
	proc := testenv.Process(s, self, nil, naiveMode, "-brokers", strings.Join(b.kafka.Bootstrap(), ","), "-redis", b.redis.URL(),
		"-prefix", prefix, fmt.Sprintf("-tuned=%v", tuned))
	line := proc.WaitLog(s, startWait, "naive listens on ")
	return &contender{
		server: &server{name: "naive, " + name, addr: line[strings.LastIndexByte(line, ' ')+1:], proc: proc},
		kept:   b.ledger(prefix),
	}
}

// connect starts Redpanda Connect.
func (b *bed) connect(binary, config, prefix string) *contender {
	s := b.stage
	prefix += "connect"
	b.topics(prefix)
	s.must(absolute(&config)(config))
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(testenv.FreePort(s)))
	proc := testenv.Process(s, binary, []string{
		"BENCH_LISTEN=" + addr, "BENCH_BROKERS=" + strings.Join(b.kafka.Bootstrap(), ","), "BENCH_REDIS=" + b.redis.URL(),
		"BENCH_PREFIX=" + prefix, "BENCH_KEY=" + signingKey,
	}, "run", config)
	testenv.Eventually(s, startWait, func() error {
		conn, err := new(net.Dialer).DialContext(s.ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	return &contender{server: &server{name: "Redpanda Connect", addr: addr, proc: proc, plain: true}, kept: b.ledger(prefix)}
}

// writerMode is the mode in which this command does nothing but write with kafka-go's Writer.
const writerMode = "writer"

// writerOptions are its flags.
type writerOptions struct {
	naiveOptions
	conns    int
	duration time.Duration
}

func (o *writerOptions) flags(set *flag.FlagSet) {
	o.naiveOptions.flags(set)
	set.IntVar(&o.conns, "conns", 1, "goroutines")
	set.DurationVar(&o.duration, "duration", time.Second, "how long")
}

// runWriter has as many goroutines as there are connections elsewhere write one event after the other, and tells how
// many a second that were.
func runWriter(ctx context.Context, o writerOptions, out io.Writer) error {
	w := naiveWriter(o.brokers, o.tuned)
	e := newEvents(allTypes)
	ctx, cancel := context.WithTimeout(ctx, o.duration)
	defer cancel()
	counts := make(chan int, o.conns)
	began := time.Now()
	for worker := range o.conns {
		go func() {
			n := 0
			for ; ; n++ {
				number := uint64(worker + n*o.conns)
				err := w.WriteMessages(ctx, kafka.Message{Topic: o.prefix + "_" + e.eventType(number), Value: e.appendBody(nil, number)})
				if err != nil {
					break
				}
			}
			counts <- n
		}()
	}
	total := 0
	for range o.conns {
		total += <-counts
	}
	fmt.Fprintf(out, "wrote %.0f/s\n", float64(total)/time.Since(began).Seconds())
	return w.Close()
}

// writer measures it.
func (b *bed) writer(conns int, duration time.Duration, tuned bool) string {
	s := b.stage
	self, err := os.Executable()
	s.must(err)
	prefix := fmt.Sprintf("writer%v%d", tuned, conns)
	b.topics(prefix)
	proc := testenv.Process(s, self, nil, writerMode, "-brokers", strings.Join(b.kafka.Bootstrap(), ","), "-prefix", prefix,
		fmt.Sprintf("-tuned=%v", tuned), "-conns", strconv.Itoa(conns), "-duration", duration.String())
	line := proc.WaitLog(s, duration+startWait, "wrote ")
	return strings.TrimPrefix(line, "wrote ")
}
