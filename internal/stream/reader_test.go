package stream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"sluice/internal/testenv"
)

func TestBacklog(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		w := newWorld(t, env)
		a, b := w.topic("a", 3), w.topic("b", 1)
		w.topic("empty", 2)
		for i := range 12 { // round and round, so that order within partitions isn't order over all
			switch i % 4 {
			case 3:
				w.write(b, 0, i*10, fmt.Sprintf("x %d", i))
			default:
				w.write(a, i%4, i*10, fmt.Sprintf("x %d", i))
			}
		}
		at := func(ms int) time.Time { return w.base.Add(time.Duration(ms) * time.Millisecond) }
		odd := func(r *Record) bool { return (r.Value[len(r.Value)-1]-'0')%2 == 1 }
		tests := []struct {
			name string
			opts Options
			want []string
		}{
			{"all", Options{FromStart: true}, numbered("x", 0, 12)},
			{"all, little ahead", Options{FromStart: true, Ahead: 1}, numbered("x", 0, 12)},
			{"since", Options{Since: at(50)}, numbered("x", 5, 12)},
			{"since between two", Options{Since: at(51)}, numbered("x", 6, 12)},
			{"since after all", Options{Since: at(1000)}, nil},
			{"until", Options{FromStart: true, Until: at(50)}, numbered("x", 0, 6)},
			{"until before all", Options{FromStart: true, Until: at(-1)}, nil},
			{"until the future", Options{FromStart: true, Until: time.Now().Add(time.Hour)}, numbered("x", 0, 12)},
			{"since and until", Options{Since: at(30), Until: at(60)}, numbered("x", 3, 7)},
			{"last", Options{Last: 5}, numbered("x", 7, 12)},
			{"last of few", Options{Last: 100}, numbered("x", 0, 12)},
			{"last until", Options{Last: 2, Until: at(45)}, numbered("x", 3, 5)},
			{"last since", Options{Last: 100, Since: at(90)}, numbered("x", 9, 12)},
			{"kept", Options{FromStart: true, Keep: odd}, []string{"x 1", "x 3", "x 5", "x 7", "x 9", "x 11"}},
			{"last kept", Options{Last: 4, Keep: odd}, []string{"x 5", "x 7", "x 9", "x 11"}},
			{"one topic", Options{FromStart: true, Topics: []string{b}}, []string{"x 3", "x 7", "x 11"}},
			{"no topic", Options{FromStart: true, Topics: []string{env.Topic("none")}}, nil},
			{"empty", Options{FromStart: true, Topics: []string{env.Topic("empty")}}, nil},
		}
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				w := &world{T: t, env: w.env, kafka: w.kafka, base: w.base}
				w.want("records", w.read(test.opts), test.want...)
			})
		}
	})
}

// TestLastKeptIsFarBack: the search has to go back beyond what it guessed.
func TestLastKeptIsFarBack(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		w := newWorld(t, env)
		a := w.topic("a", 1)
		w.write(a, 0, 0, "rare 0")
		w.write(a, 0, 1, "rare 1")
		for i := range 40 {
			w.write(a, 0, 2+i, fmt.Sprintf("x %d", i))
		}
		rare := func(r *Record) bool { return r.Header("event-type") == "rare" }
		w.want("last kept", w.read(Options{Last: 1, Keep: rare}), "rare 1")
		w.want("all kept", w.read(Options{Last: 9, Keep: rare}), "rare 0", "rare 1")
		f := w.follow(Options{Last: 1, Keep: rare})
		f.expect("rare 1")
		w.write(a, 0, 100, "rare 2")
		f.expect("rare 2")
	})
}

func TestRecordComesWhole(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		for i, codec := range []kgo.CompressionCodec{
			kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
		} {
			w := newWorld(t, env)
			cl, err := kgo.NewClient(kgo.SeedBrokers(env.Brokers()...), kgo.ProducerBatchCompression(codec))
			if err != nil {
				t.Fatal(err)
			}
			a := w.topic(fmt.Sprintf("a%d", i), 1)
			err = cl.ProduceSync(t.Context(),
				&kgo.Record{
					Topic: a, Timestamp: w.base, Key: []byte{}, Value: []byte(strings.Repeat("\x00\xff<", 1000)),
					Headers: []kgo.RecordHeader{{Key: "n", Value: nil}, {Key: "n", Value: []byte("1")}, {Key: "e", Value: []byte{}}},
				},
				&kgo.Record{Topic: a, Timestamp: w.base}).FirstErr()
			cl.Close()
			if err != nil {
				t.Fatal(err)
			}
			r, err := NewReader(w.options(Options{FromStart: true, Topics: []string{a}}))
			if err != nil {
				t.Fatal(err)
			}
			var got []Record
			if err := r.Run(t.Context(), func(x Record) error { got = append(got, x); return nil }); err != nil {
				t.Fatal(err)
			}
			if len(got) != 2 {
				t.Fatalf("%d records, want 2", len(got))
			}
			x, y := got[0], got[1]
			if x.Topic != a || x.Partition != 0 || x.Offset != 0 || !x.Time.Equal(w.base) || x.Key == nil || len(x.Key) != 0 ||
				string(x.Value) != strings.Repeat("\x00\xff<", 1000) || len(x.Headers) != 3 || x.Headers[0].Value != nil || x.Header("n") != "1" || x.Headers[2].Value == nil {
				t.Errorf("first record: %.200q", fmt.Sprintf("%+v", x))
			}
			if y.Offset != 1 || y.Key != nil || y.Value != nil || y.Headers != nil {
				t.Errorf("second record: %+v", y)
			}
		}
	})
}

// TestManyBytes reads more than several fetches hold.
func TestManyBytes(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		w := newWorld(t, env)
		a := w.topic("a", 2)
		var batch []*kgo.Record
		padding := strings.Repeat("x", 10_000)
		for i := range 1500 {
			batch = append(batch, &kgo.Record{
				Topic: a, Partition: int32(i / 3 % 2), Timestamp: w.base.Add(time.Duration(i) * time.Millisecond),
				Value: fmt.Appendf(nil, "%06d%s", i, padding),
			})
		}
		if err := w.kafka.ProduceSync(t.Context(), batch...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		got := w.read(Options{FromStart: true})
		if len(got) != len(batch) {
			t.Fatalf("%d records, want %d", len(got), len(batch))
		}
		for i, value := range got {
			if value[:6] != fmt.Sprintf("%06d", i) {
				t.Fatalf("record %d is %q", i, value[:6])
			}
		}
	})
}

func TestFollow(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		w := newWorld(t, env)
		a := w.topic("a", 2)
		w.write(a, 0, 0, "old 0")
		w.write(a, 1, 1, "old 1")

		fromNow, all := w.follow(Options{}), w.follow(Options{FromStart: true})
		last := w.follow(Options{Last: 1})
		named := w.follow(Options{Topics: []string{env.Topic("b")}})
		w.write(a, 0, 2, "new 0")
		w.write(a, 1, 3, "new 1")
		fromNow.expect("new 0", "new 1")
		all.expect("old 0", "old 1", "new 0", "new 1")
		last.expect("old 1", "new 0", "new 1")

		b := w.topic("b", 2) // while following
		w.write(b, 1, 4, "b 0")
		w.write(b, 1, 5, "b 1")
		for _, f := range []*follower{fromNow, all, last, named} {
			f.expect("b 0", "b 1")
			if err := f.stop(); err != nil {
				t.Errorf("Run after its context's end: %v", err)
			}
		}
	})
}

func TestTopicIsCreatedAgain(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		w := newWorld(t, env)
		a := w.topic("a", 1)
		for i := range 3 {
			w.write(a, 0, i, fmt.Sprintf("x %d", i))
		}
		f := w.follow(Options{FromStart: true})
		f.expect("x 0", "x 1", "x 2")
		w.deleteTopic(a)
		w.topic("a", 1)
		w.kafka.PurgeTopicsFromClient(a)
		for i := range 2 {
			w.write(a, 0, i, fmt.Sprintf("y %d", i))
		}
		f.expect("y 0", "y 1")
	})
}

func TestRetentionHasMovedOn(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		w := newWorld(t, env)
		a := w.topic("a", 1)
		for i := range 10 {
			w.write(a, 0, i, fmt.Sprintf("x %d", i))
		}
		trim := func(before int64) {
			req := kmsg.NewPtrDeleteRecordsRequest()
			req.TimeoutMillis = 10_000
			topic := kmsg.NewDeleteRecordsRequestTopic()
			topic.Topic = a
			topic.Partitions = append(topic.Partitions, kmsg.DeleteRecordsRequestTopicPartition{Partition: 0, Offset: before})
			req.Topics = append(req.Topics, topic)
			w.ask(req)
		}
		trim(4)
		w.want("oldest", w.read(Options{FromStart: true}), numbered("x", 4, 10)...)

		// While the reader stands still at the first record, what it would fetch next is deleted.
		core, logs := observer.New(zapcore.InfoLevel)
		o := w.options(Options{FromStart: true, Follow: true})
		o.Log = zap.New(core)
		r, err := NewReader(o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), testWait)
		defer cancel()
		var got []string
		err = r.Run(ctx, func(x Record) error {
			if len(got) == 0 {
				for i := 10; i < 16; i++ {
					w.write(a, 0, i, fmt.Sprintf("x %d", i))
				}
				trim(14)
			}
			if got = append(got, string(x.Value)); string(x.Value) == "x 15" {
				cancel()
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		w.want("around the gap", got, append(numbered("x", 4, 10), "x 14", "x 15")...)
		if n := logs.FilterMessageSnippet("records were deleted").Len(); n != 1 {
			t.Errorf("told %d times, want once: %v", n, logs.All())
		}
	})
}

// TestTransactions: what isn't committed doesn't show, and a partition that ends with a marker has an end.
func TestTransactions(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		w := newWorld(t, env)
		a := w.topic("a", 1)
		cl, err := kgo.NewClient(kgo.SeedBrokers(env.Brokers()...), kgo.TransactionalID(env.Prefix), kgo.DefaultProduceTopic(a))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		for i, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit} {
			if err := cl.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			for j := range 2 {
				if err := cl.ProduceSync(t.Context(), kgo.StringRecord(fmt.Sprintf("tx %d %d", i, j))).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
			if err := cl.EndTransaction(t.Context(), end); err != nil {
				t.Fatal(err)
			}
		}
		want := []string{"tx 0 0", "tx 0 1", "tx 2 0", "tx 2 1"}
		w.want("committed", w.read(Options{FromStart: true}), want...)
		w.want("last", w.read(Options{Last: 3}), want[1:]...)

		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := cl.ProduceSync(t.Context(), kgo.StringRecord("open")).FirstErr(); err != nil {
			t.Fatal(err)
		}
		w.want("beside an open one", w.read(Options{FromStart: true}), want...)
		f := w.follow(Options{})
		if err := cl.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
		f.expect("open")
	})
}

func TestNoBroker(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(Options{
		Brokers: []string{addr}, Topics: []string{"a"}, Follow: true, Log: zap.NewNop(), Patience: 500 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	err = r.Run(t.Context(), func(Record) error { return nil })
	if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), addr) {
		t.Errorf("got %v, want ErrUnreachable that names %s", err, addr)
	}
	if _, ok := errors.AsType[*net.OpError](err); !ok {
		t.Errorf("%v doesn't say why", err)
	}
}

func TestGiveFails(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		w := newWorld(t, env)
		w.write(w.topic("a", 1), 0, 0, "x")
		mine := errors.New("mine")
		for _, o := range []Options{{FromStart: true}, {FromStart: true, Follow: true}, {Last: 1}} {
			r, err := NewReader(w.options(o))
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Run(t.Context(), func(Record) error { return mine }); !errors.Is(err, mine) {
				t.Errorf("got %v", err)
			}
		}
	})
}

func TestBrokerComesBack(t *testing.T) {
	c := testenv.Kafka(t)
	env := testenv.RealOn(t, c)
	w := newWorld(t, env)
	a := w.topic("a", 2)
	core, logs := observer.New(zapcore.InfoLevel)
	o := Options{Patience: 500 * time.Millisecond}
	records := make(chan string, 100)
	ready := make(chan int, 1)
	o.Ready, o.Follow = func(n int) { ready <- n }, true
	o = w.options(o)
	o.Log = zap.New(core)
	r, err := NewReader(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx, func(x Record) error { records <- string(x.Value); return nil }) }()
	<-ready
	w.write(a, 0, 0, "before")
	if got := <-records; got != "before" {
		t.Fatalf("got %q", got)
	}
	c.Broker(0).Kill(t)
	testenv.Eventually(t, testWait, func() error {
		if logs.FilterMessageSnippet("trying on").Len() == 0 {
			return errors.New("not told yet")
		}
		return nil
	})
	c.Broker(0).Restart(t)
	w.write(a, 1, 1, "after")
	select {
	case got := <-records:
		if got != "after" {
			t.Errorf("got %q", got)
		}
	case <-time.After(testWait):
		t.Error("nothing arrives")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n := logs.FilterMessageSnippet("trying on").Len(); n != 1 {
		t.Errorf("told %d times: %v", n, logs.All())
	}
}

func TestLeaderMoves(t *testing.T) {
	fake := testenv.Fake(t)
	cluster := testenv.Kfake(t, threeBrokers()...)
	fake.Kafka = cluster
	w := newWorld(t, fake)
	a := w.topic("a", 3)
	f := w.follow(Options{FromStart: true})
	for i := range 6 {
		w.write(a, i%3, i, fmt.Sprintf("x %d", i))
		f.expect(fmt.Sprintf("x %d", i))
		for p := range int32(3) {
			if err := cluster.MoveTopicPartition(a, p, (p+int32(i))%3); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.want("again", w.read(Options{FromStart: true}), numbered("x", 0, 6)...)
}

func TestTopics(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		w := newWorld(t, env)
		want := []string{w.topic("a", 1), w.topic("b", 2)}
		got, err := Topics(t.Context(), env.Brokers(), w.options(Options{}).Connect)
		if err != nil {
			t.Fatal(err)
		}
		got = slices.DeleteFunc(got, func(name string) bool { return !strings.HasPrefix(name, env.Prefix) })
		w.want("topics", got, want...)
	})
}

func TestOptionsAreChecked(t *testing.T) {
	good := Options{Brokers: []string{"a:1"}, Topics: []string{"t"}, Log: zap.NewNop(), FromStart: true}
	if _, err := NewReader(good); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*Options){
		"Brokers":  func(o *Options) { o.Brokers = nil },
		"Topics":   func(o *Options) { o.Topics = nil },
		"Log":      func(o *Options) { o.Log = nil },
		"Last":     func(o *Options) { o.Last = -1 },
		"Since":    func(o *Options) { o.Since = time.Now() },
		"Until":    func(o *Options) { o.Until, o.Follow = time.Now(), true },
		"Follow":   func(o *Options) { o.FromStart = false },
		"Patience": func(o *Options) { o.Patience = -1 },
		"Ahead":    func(o *Options) { o.Ahead = -1 },
	} {
		o := good
		spoil(&o)
		if _, err := NewReader(o); err == nil || !strings.Contains(err.Error(), "Options."+name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
