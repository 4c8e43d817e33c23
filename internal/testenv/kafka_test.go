package testenv

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// TestKafkaReaders reads records of every kind of byte back through kcat and through franz-go.
func TestKafkaReaders(t *testing.T) {
	begun := time.Now()
	c := SharedKafka(t)
	t.Logf("the shared broker answered after %s", time.Since(begun))
	p := prefix()
	c.CreateTopic(t, p+"_awkward", 1, map[string]string{"max.message.bytes": "2000000"})
	c.CreateTopic(t, p+"_wide", 4, nil)
	c.CreateTopic(t, p+"_empty", 1, nil)
	wide := []Record{{Topic: p + "_wide", Partition: 0}, {Topic: p + "_wide", Partition: 3}, {Topic: p + "_wide", Partition: 3, Offset: 1}}
	want := append(awkward(p+"_awkward"), wide...)
	produce(t, c.Bootstrap(), nil, want...)
	topics := c.Topics(t, p)
	if names := []string{p + "_awkward", p + "_empty", p + "_wide"}; !slices.Equal(topics, names) {
		t.Fatalf("topics %q, want %q", topics, names)
	}
	begun = time.Now()
	wantRecords(t, c.ConsumeAll(t, p), want)
	t.Logf("kcat read three topics within %s", time.Since(begun))
	wantRecords(t, c.ConsumeBulk(t, topics...), want)
}

// TestKafkaUnknownTopic wants readers to say that a topic is missing, not that it is empty.
func TestKafkaUnknownTopic(t *testing.T) {
	c := SharedKafka(t)
	Need(t, ServerKcat)
	for name, read := range map[string]func(string) ([]Record, error){
		"kcat":     func(topic string) ([]Record, error) { return kcatTopic(t.Context(), c.Bootstrap(), topic) },
		"franz-go": func(topic string) ([]Record, error) { return c.direct().readAll(t.Context(), []string{topic}) },
	} {
		t.Run(name, func(t *testing.T) {
			if records, err := read(prefix() + "_missing"); err == nil {
				t.Errorf("%d records and no error", len(records))
			}
		})
	}
}

// TestKafkaLife takes one broker through everything that can be done to its process, and wants no record lost.
func TestKafkaLife(t *testing.T) {
	begun := time.Now()
	c := Kafka(t, WithConfig("num.partitions", "2"))
	t.Logf("one broker answered after %s", time.Since(begun))
	b := c.Broker(0)
	admin := c.direct()
	if err := admin.createTopic(t.Context(), "life", -1, -1, nil); err != nil {
		t.Fatal(err)
	}
	Eventually(t, brokerWait, func() error {
		leaders, err := admin.leaders(t.Context(), "life")
		if err == nil && len(leaders) != 2 {
			t.Fatalf("%d partitions, want the 2 of WithConfig", len(leaders))
		}
		return err
	})
	produce(t, c.Bootstrap(), nil, numbered("life", 3)...)

	b.Stop(t)
	if b.Running() {
		t.Error("a frozen broker is said to run")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := b.liveBrokers(ctx); err == nil {
		t.Error("a frozen broker has answered")
	}
	b.Cont(t)
	wantRecords(t, c.Consume(t, "life"), numbered("life", 3))

	pid := b.Pid()
	b.Kill(t)
	if b.Running() {
		t.Error("a killed broker is said to run")
	}
	begun = time.Now()
	b.Restart(t)
	t.Logf("after kill -9 it answered again within %s", time.Since(begun))
	if b.Pid() == pid {
		t.Error("the restarted broker is the old process")
	}
	wantRecords(t, c.Consume(t, "life"), numbered("life", 3))

	begun = time.Now()
	b.Terminate(t)
	t.Logf("shut down within %s", time.Since(begun))
	begun = time.Now()
	b.Restart(t)
	t.Logf("after a shutdown it answered again within %s", time.Since(begun))
	wantRecords(t, c.ConsumeBulk(t, "life"), numbered("life", 3))
}

// TestKafkaThree kills the leader of a partition: another takes over with everything that was acknowledged.
func TestKafkaThree(t *testing.T) {
	begun := time.Now()
	c := Kafka(t, WithBrokers(3))
	t.Logf("three brokers answered after %s", time.Since(begun))
	c.CreateTopic(t, "three", 1, nil)
	produce(t, c.Bootstrap(), nil, numbered("three", 2)...)
	first := c.Leader(t, "three", 0)
	begun = time.Now()
	first.Kill(t)
	Eventually(t, brokerWait, func() error {
		leaders, err := c.direct().leaders(t.Context(), "three")
		if err == nil && leaders[0] == first.ID() {
			return errors.New("the dead broker still leads")
		}
		return err
	})
	t.Logf("another broker led %s after the leader's kill -9", time.Since(begun))
	more := numbered("three", 4)
	produce(t, c.Bootstrap(), nil, more[2:]...)
	wantRecords(t, c.Consume(t, "three"), more)
	begun = time.Now()
	first.Restart(t)
	t.Logf("the killed one was back within %s", time.Since(begun))
	wantRecords(t, c.Consume(t, "three"), more)
}

// TestKafkaProxies loses replies to produce requests on the way from a real broker; the readers aren't touched.
func TestKafkaProxies(t *testing.T) {
	c := Kafka(t, WithProxies())
	b := c.Broker(0)
	if got := c.Bootstrap(); !slices.Equal(got, []string{b.Proxy().Addr()}) {
		t.Fatalf("bootstrap %q, want the proxy's %s", got, b.Proxy().Addr())
	}
	c.CreateTopic(t, "lossy", 1, nil)
	b.Proxy().Inject(Fault{Match: KafkaRequest(APIProduce), Count: 2, Cut: true})
	produce(t, c.Bootstrap(), nil, numbered("lossy", 3)...)
	if got := b.Proxy().Lost(); got != 2 {
		t.Errorf("%d replies lost, want 2", got)
	}
	b.Proxy().Set(t, Refuse)
	wantRecords(t, c.Consume(t, "lossy"), numbered("lossy", 3))
}

// TestKafkaAuth logs in by every mechanism, over TLS with client certificates, and is refused without.
func TestKafkaAuth(t *testing.T) {
	c := Kafka(t, WithSASL(User{"alice", "wonder-land"}, User{"bob", "builder"}), WithClientCerts())
	c.CreateTopic(t, "auth", 1, nil)
	raw, err := os.ReadFile(c.TLS().CAFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(raw) {
		t.Fatal("no certificate in the CA file")
	}
	cert, err := tls.LoadX509KeyPair(c.TLS().ClientCertFile, c.TLS().ClientKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	full := &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	bare := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	for name, tc := range map[string]struct {
		tls  *tls.Config
		sasl sasl.Mechanism
		ok   bool
	}{
		"plain":                  {full, plain.Auth{User: "alice", Pass: "wonder-land"}.AsMechanism(), true},
		"scram-sha-256":          {full, scram.Auth{User: "alice", Pass: "wonder-land"}.AsSha256Mechanism(), true},
		"scram-sha-512":          {full, scram.Auth{User: "bob", Pass: "builder"}.AsSha512Mechanism(), true},
		"wrong password":         {full, plain.Auth{User: "alice", Pass: "builder"}.AsMechanism(), false},
		"wrong scram password":   {full, scram.Auth{User: "alice", Pass: "builder"}.AsSha256Mechanism(), false},
		"no login":               {full, nil, false},
		"no TLS":                 {nil, plain.Auth{User: "alice", Pass: "wonder-land"}.AsMechanism(), false},
		"no client certificate":  {bare, plain.Auth{User: "alice", Pass: "wonder-land"}.AsMechanism(), false},
		"a CA that isn't theirs": {&tls.Config{MinVersion: tls.VersionTLS12}, plain.Auth{User: "alice", Pass: "wonder-land"}.AsMechanism(), false},
	} {
		t.Run(name, func(t *testing.T) {
			opts := []kgo.Opt{kgo.RequestRetries(0), kgo.DialTimeout(5 * time.Second)}
			if tc.tls != nil {
				opts = append(opts, kgo.DialTLSConfig(tc.tls))
			}
			if tc.sasl != nil {
				opts = append(opts, kgo.SASL(tc.sasl))
			}
			cl, err := client{bootstrap: c.Bootstrap()}.open(opts...)
			if err != nil {
				t.Fatal(err)
			}
			defer cl.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := cl.Ping(ctx); (err == nil) != tc.ok {
				t.Errorf("ping: %v, want success %t", err, tc.ok)
			}
		})
	}
}

func TestKafkaOptions(t *testing.T) {
	for name, opts := range map[string][]Option{
		"two brokers":               {WithBrokers(2)},
		"a broker that isn't":       {WithAdvertised(1, "127.0.0.1:1")},
		"proxies and an advertised": {WithProxies(), WithAdvertised(0, "127.0.0.1:1")},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := newKafkaOptions(opts); err == nil {
				t.Error("no error")
			}
		})
	}
}
