package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"sluice/internal/testenv"
)

// TestKafkaBrokerTroubles are the troubles of a whole broker, one after another, on one broker and one sluice.
func TestKafkaBrokerTroubles(t *testing.T) {
	user := testenv.User{Name: "sluice", Password: "before"}
	kafka := testenv.Kafka(t, testenv.WithSASL(user), testenv.WithProxies(), testenv.WithConfig("producer.id.expiration.check.interval.ms", "200"))
	x := troubled(t, kafka, login(user)...)
	for _, test := range []struct {
		name string
		run  func(t *testing.T, x *trouble)
	}{
		{"stuck or dead", stuckOrDead},
		{"slow", slowKafka},
		{"producer id expired", producerExpired},
		{"log tail lost", logTailLost},
		{"requests too large", requestsTooLarge},
		{"password changed", passwordChanged},
		{"everything wiped", everythingWiped},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, x) })
	}
	x.ended(t)
}

// stuckOrDead: what is stuck costs no more than what is dead.
func stuckOrDead(t *testing.T, x *trouble) {
	broker := x.kafka.Broker(0)
	for _, fault := range []struct {
		name        string
		begin, heal func()
	}{
		{"killed", func() { broker.Kill(t) }, func() { broker.Restart(t) }},
		{"frozen", func() { broker.Stop(t) }, func() { broker.Cont(t) }},
		{"black hole", func() { broker.Proxy().Set(t, testenv.BlackHole) }, func() { broker.Proxy().Set(t, testenv.Pass) }},
	} {
		t.Run(fault.name, func(t *testing.T) {
			l := x.during(t, func(l *posts) {
				fault.begin()
				l.await(t, "spooled", 300)
				if err := x.metricIs(t, "sluice_spool_events", 0); err == nil {
					t.Error("nothing is in the spool")
				}
				fault.heal()
			})
			l.check(t, true, nil)
			if l.worst > 2500*time.Millisecond {
				t.Errorf("an answer took %v", l.worst)
			}
		})
	}
}

// slowKafka answers after longer than spool-after: most goes by way of the disk, and Kafka gets all of it.
func slowKafka(t *testing.T, x *trouble) {
	proxy := x.kafka.Broker(0).Proxy()
	x.during(t, func(l *posts) {
		proxy.SetDelay(600 * time.Millisecond)
		l.await(t, "spooled", 500)
		before := x.records(t)
		l.await(t, "spooled", 300)
		testenv.Eventually(t, 30*time.Second, func() error { // it is sent although Kafka remains slow
			if now := x.records(t); now < before+300 {
				return fmt.Errorf("%d records, then %d", before, now)
			}
			return nil
		})
		proxy.SetDelay(0)
	}).check(t, true, nil)
}

// records is how many the topics hold.
func (x *trouble) records(t *testing.T) int {
	t.Helper()
	return len(x.kafka.ConsumeBulk(t, x.topics()...))
}

func (x *trouble) topics() (names []string) {
	for _, typ := range loadTypes() {
		names = append(names, x.env.Topic(typ))
	}
	return names
}

// producerExpired: the broker forgets producers that have been idle, and sluice doesn't notice.
func producerExpired(t *testing.T, x *trouble) {
	admin := x.kafka.Admin(t)
	alterCluster(t, admin, "producer.id.expiration.ms", "500")
	testenv.Eventually(t, time.Minute, func() error {
		set := kadm.TopicsSet{}
		for _, topic := range x.topics() {
			set.Add(topic, 0, 1)
		}
		known, err := admin.DescribeProducers(t.Context(), set)
		if err != nil {
			return err
		}
		if all := known.SortedProducers(); len(all) > 0 {
			return fmt.Errorf("%d producers are remembered", len(all))
		}
		return nil
	})
	x.during(t, func(*posts) {}).check(t, true, nil)
	alterCluster(t, admin, "producer.id.expiration.ms", "")
}

// logTailLost cuts what was acknowledged off a log while the broker is down, as a disk does that has lied.
func logTailLost(t *testing.T, x *trouble) {
	dir := filepath.Join(x.kafka.Broker(0).DataDir(), x.env.Topic("email_sent")+"-0")
	log := filepath.Join(dir, "00000000000000000000.log")
	var cut time.Time
	var before []testenv.Record
	l := x.during(t, func(l *posts) {
		whole, err := os.Stat(log)
		if err != nil {
			t.Fatal(err)
		}
		l.await(t, "published", 50)
		before = x.kafka.ConsumeBulk(t, x.topics()...)
		x.kafka.Broker(0).Kill(t)
		snapshots, err := filepath.Glob(filepath.Join(dir, "*.snapshot"))
		for _, s := range snapshots {
			err = errors.Join(err, os.Remove(s))
		}
		if err := errors.Join(err, os.Truncate(log, whole.Size())); err != nil {
			t.Fatal(err)
		}
		cut = time.Now()
		x.kafka.Broker(0).Restart(t)
		x.grown(t, "sluice_kafka_epoch_bumps_total")
		x.logged(t, "broker has lost data or producer state", x.env.Topic("email_sent"))
	})
	l.check(t, true, func(id string) bool { // only what was in that log
		return l.eventType(id) == "email_sent" && l.began(id).Before(cut)
	})
	if len(before) == 0 {
		t.Error("nothing was there to be lost")
	}
}

// requestsTooLarge: the broker hangs up on a request that is larger than it takes, without a word. What fits goes on;
// what doesn't waits until the broker takes it.
func requestsTooLarge(t *testing.T, x *trouble) {
	broker := x.kafka.Broker(0)
	limit := func(bytes string) {
		broker.Kill(t)
		broker.Configure(t, "socket.request.max.bytes", bytes)
		broker.Restart(t)
	}
	large := func(l *posts, name, customer string, size int) {
		if a := l.send(t.Context(), http.DefaultClient, name, "email_sent", customer, padding(size)); a.code != http.StatusOK {
			t.Errorf("%s: %+v", name, a)
		}
	}
	x.during(t, func(l *posts) {
		limit("1000000")
		var wg sync.WaitGroup
		for i := range 12 { // each fits, and together they don't
			wg.Go(func() { large(l, fmt.Sprint("fits-", i), fmt.Sprint("customer", i), 400_000) })
		}
		wg.Wait()
		testenv.Eventually(t, 30*time.Second, func() error {
			for i := range 12 {
				if !slices.ContainsFunc(x.kafka.ConsumeBulk(t, x.env.Topic("email_sent")), func(r testenv.Record) bool {
					id, _ := r.Header("ce_id")
					return id == fmt.Sprint("fits-", i)
				}) {
					return fmt.Errorf("event %d isn't there", i)
				}
			}
			return nil
		})
		large(l, "doesn't fit", "customer", 1_500_000)
		x.grown(t, `sluice_kafka_produce_errors_total{code="transport"}`)
		l.awaitType(t, "email_opened", "published", 100) // its neighbours
		limit("104857600")
		l.awaitType(t, "email_sent", "published", 20)
	}).check(t, true, nil)
}

// passwordChanged: Kafka takes the password of another user from now on, which sluice gets with its next start.
func passwordChanged(t *testing.T, x *trouble) {
	admin := x.kafka.Admin(t)
	change := func(password string) {
		res, err := admin.AlterUserSCRAMs(t.Context(), nil, []kadm.UpsertSCRAM{
			{User: "sluice", Mechanism: kadm.ScramSha256, Iterations: 4096, Password: password},
		})
		if err := errors.Join(err, res.Error()); err != nil {
			t.Fatal(err)
		}
		x.kafka.Broker(0).Proxy().Cut()
	}
	x.during(t, func(l *posts) {
		change("after")
		l.await(t, "spooled", 100)
		x.logged(t, "Kafka doesn't answer", "SASL Authentication Failed")
		if err := x.metricIs(t, "sluice_kafka_up", 0); err != nil {
			t.Error(err)
		}
		change("before")
	}).check(t, true, nil)
}

// everythingWiped starts Kafka anew, as another cluster: what it held is gone, and what is kept on disk gets there.
func everythingWiped(t *testing.T, x *trouble) {
	var killed time.Time
	l := x.during(t, func(l *posts) {
		x.kafka.Broker(0).Kill(t)
		killed = time.Now()
		l.await(t, "spooled", 100)
		x.kafka.Wipe(t)
	})
	l.check(t, true, func(id string) bool { return l.began(id).Before(killed) })
	if !strings.Contains(x.Logs(), "another cluster") {
		t.Error("the log doesn't say that the cluster is another one")
	}
}
