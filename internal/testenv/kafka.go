package testenv

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"
)

// Cluster is a real Kafka cluster in KRaft mode, its brokers processes of this machine.
type Cluster struct {
	home    kafkaHome
	opts    kafkaOptions
	brokers []*Broker
	tls     *TLSFiles // nil without TLS
}

var _ Source = (*Cluster)(nil)

// Kafka starts a cluster for this test alone and waits until every broker answers and is part of the cluster. The
// test is skipped, or fails, where there is no Kafka (see Need). The cluster ends with the test, without grace; the
// brokers' last log lines are shown if the test has failed.
func Kafka(t testing.TB, opts ...Option) *Cluster {
	t.Helper()
	Need(t, ServerKafka)
	c, err := newCluster(t.TempDir(), opts...)
	if err != nil {
		t.Fatalf("starting Kafka: %v", err)
	}
	t.Cleanup(func() {
		if err := c.close(); err != nil {
			t.Errorf("ending Kafka: %v", err)
		}
		for _, b := range c.brokers {
			showLog(t, fmt.Sprintf("Kafka broker %d", b.id), b.logFile())
		}
	})
	if err := c.start(context.WithoutCancel(t.Context())); err != nil {
		t.Fatalf("starting Kafka: %v", err)
	}
	return c
}

// newCluster gives a cluster its ports, proxies and certificates; it starts nothing but the proxies.
func newCluster(dir string, opts ...Option) (*Cluster, error) {
	home, err := findKafka()
	if err != nil {
		return nil, err
	}
	o, err := newKafkaOptions(opts)
	if err != nil {
		return nil, err
	}
	c := &Cluster{home: home, opts: o}
	if o.tls {
		if c.tls, err = newTLSFiles(dir); err != nil {
			return nil, err
		}
	}
	for i := range o.brokers {
		b := &Broker{cluster: c, id: int32(i + 1), dir: filepath.Join(dir, fmt.Sprintf("broker-%d", i+1))}
		c.brokers = append(c.brokers, b)
		for _, p := range []**port{&b.client, &b.internal, &b.controller} {
			if *p, err = reservePort(); err != nil {
				return nil, errors.Join(err, c.close())
			}
		}
		b.advertised = b.client.addr()
		if addr, ok := o.advertised[i]; ok {
			b.advertised = addr
		}
		if o.proxies {
			if b.proxy, err = newProxy(b.client.addr(), proxyOptions{frames: !o.tls}); err != nil {
				return nil, errors.Join(err, c.close())
			}
			b.advertised = b.proxy.Addr()
		}
	}
	return c, nil
}

// start formats the storage and starts all brokers side by side.
func (c *Cluster) start(ctx context.Context) error {
	if err := c.format(ctx); err != nil {
		return err
	}
	for _, b := range c.brokers {
		if err := b.start(ctx); err != nil {
			return err
		}
	}
	for _, b := range c.brokers {
		if err := b.waitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// close kills what still runs and gives the ports back.
func (c *Cluster) close() error {
	var errs []error
	for _, b := range c.brokers {
		errs = append(errs, b.kill())
		if b.proxy != nil {
			b.proxy.close()
		}
		for _, p := range []*port{b.client, b.internal, b.controller} {
			if p != nil {
				p.release()
			}
		}
	}
	return errors.Join(errs...)
}

// Bootstrap is the advertised addresses of the clients' listeners, those of dead brokers too.
func (c *Cluster) Bootstrap() []string {
	var addrs []string
	for _, b := range c.brokers {
		addrs = append(addrs, b.advertised)
	}
	return addrs
}

// Broker is the i-th broker, from 0; its node id is i+1.
func (c *Cluster) Broker(i int) *Broker { return c.brokers[i] }

// Brokers is all brokers.
func (c *Cluster) Brokers() []*Broker { return slices.Clone(c.brokers) }

// TLS is the cluster's certificates, nil unless it was started WithTLS or WithClientCerts.
func (c *Cluster) TLS() *TLSFiles { return c.tls }

// direct is a client of the internal listeners of the brokers that run.
func (c *Cluster) direct() client {
	var cl client
	for _, b := range c.brokers {
		if b.Running() {
			cl.bootstrap = append(cl.bootstrap, b.internal.addr())
		}
	}
	return cl
}

// CreateTopic creates a topic with as many partitions as asked for, replicated to every broker, and waits until each
// partition has a leader.
func (c *Cluster) CreateTopic(t testing.TB, name string, partitions int, config map[string]string) {
	t.Helper()
	cl := c.direct()
	if err := cl.createTopic(t.Context(), name, int32(partitions), int16(len(c.brokers)), config); err != nil {
		t.Fatal(err)
	}
	Eventually(t, brokerWait, func() error {
		_, err := cl.leaders(t.Context(), name)
		return err
	})
}

// Leader is the broker that leads a partition now. The test fails when there is none.
func (c *Cluster) Leader(t testing.TB, topic string, partition int) *Broker {
	t.Helper()
	leaders, err := c.direct().leaders(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	if partition >= len(leaders) {
		t.Fatalf("topic %s has %d partitions, no number %d", topic, len(leaders), partition)
	}
	return c.brokers[leaders[partition]-1]
}

// Topics is the names of the topics that begin with prefix.
func (c *Cluster) Topics(t testing.TB, prefix string) []string {
	t.Helper()
	found, err := c.direct().topics(t.Context(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(maps.Keys(found))
}

// Consume reads the topics through kcat. The test is skipped, or fails, where there is none (see Need).
func (c *Cluster) Consume(t testing.TB, topics ...string) []Record {
	t.Helper()
	Need(t, ServerKcat)
	var records []Record
	for _, topic := range topics {
		found, err := kcatTopic(t.Context(), c.direct().bootstrap, topic)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, found...)
	}
	sortRecords(records)
	return records
}

// ConsumeAll is Consume for the topics that begin with prefix.
func (c *Cluster) ConsumeAll(t testing.TB, prefix string) []Record {
	t.Helper()
	return c.Consume(t, c.Topics(t, prefix)...)
}

// ConsumeBulk is Consume through franz-go, all topics in one go: for tests with very many records or topics.
func (c *Cluster) ConsumeBulk(t testing.TB, topics ...string) []Record {
	t.Helper()
	records, err := c.direct().readAll(t.Context(), topics)
	if err != nil {
		t.Fatal(err)
	}
	return records
}
