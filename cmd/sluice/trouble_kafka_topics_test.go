package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"sluice/internal/testenv"
)

// TestKafkaTopicTroubles are the troubles of a topic or a user: they share a broker.
func TestKafkaTopicTroubles(t *testing.T) {
	t.Parallel()
	root, limited, throttled := testenv.User{Name: "root", Password: "r"}, testenv.User{Name: "limited", Password: "l"}, testenv.User{Name: "throttled", Password: "t"}
	kafka := testenv.Kafka(t, testenv.WithSASL(root, limited, throttled), testenv.WithACLs(),
		testenv.WithConfig("super.users", "User:ANONYMOUS;User:root;User:throttled"), testenv.WithConfig("auto.create.topics.enable", "true"))
	for name, test := range map[string]struct {
		user  testenv.User
		fixed bool // topics aren't created by sluice
		run   func(t *testing.T, x *trouble, admin *kadm.Client)
	}{
		"deleted":                       {user: root, run: deletedTopic},
		"deleted and created by others": {user: root, run: deletedTopicElsewhere},
		"deleted for good":              {user: root, fixed: true, run: deletedForGood},
		"too large for its topic":       {user: root, fixed: true, run: tooLarge},
		"too large for all":             {user: root, run: tooLargeForAll},
		"partitions raised":             {user: root, run: partitionsRaised},
		"one topic forbidden":           {user: limited, run: oneForbidden},
		"all topics forbidden":          {user: limited, run: allForbidden},
		"throttled":                     {user: throttled, run: throttledUser},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			admin := kafka.Admin(t)
			env := testenv.RealOn(t, kafka)
			allow(t, admin, env)
			extra := append(login(test.user), "SLUICE_SPOOL_DIR="+t.TempDir())
			if test.fixed {
				for _, typ := range append(loadTypes(), "dead_letter", "other") {
					kafka.CreateTopic(t, env.Topic(typ), 2, nil)
				}
				extra = append(extra, "SLUICE_CREATE_TOPICS=false")
			}
			x := &trouble{instance: startProcess(t, env, extra...), env: env, kafka: kafka}
			testenv.Eventually(t, time.Minute, func() error {
				if there := kafka.Topics(t, env.Prefix); !slices.Contains(there, env.Topic("dead_letter")) || !slices.Contains(there, env.Topic("other")) {
					return fmt.Errorf("there are only %v", there)
				}
				return nil
			})
			test.run(t, x, admin)
			x.ended(t)
		})
	}
}

// allowing is the right of the user "limited" to the test's topics.
func allowing(env *testenv.Env) *kadm.ACLBuilder {
	return kadm.NewACLs().Topics(env.Prefix).ResourcePatternType(kadm.ACLPatternPrefixed).Allow("User:limited").
		AllowHosts("*").Operations(kadm.OpWrite, kadm.OpCreate, kadm.OpDescribe)
}

func allow(t *testing.T, admin *kadm.Client, env *testenv.Env) {
	t.Helper()
	res, err := admin.CreateACLs(t.Context(), allowing(env))
	for _, r := range res {
		err = errors.Join(err, r.Err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// erase deletes a topic and returns when its log is gone.
func erase(t *testing.T, x *trouble, admin *kadm.Client, topic string) (gone time.Time) {
	t.Helper()
	folder := filepath.Join(x.kafka.Broker(0).DataDir(), topic+"-0")
	before, err := os.Stat(folder)
	if err == nil {
		_, err = admin.DeleteTopic(t.Context(), topic)
	}
	if err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, 30*time.Second, func() error {
		if now, err := os.Stat(folder); err == nil && os.SameFile(before, now) {
			return fmt.Errorf("%s is there", folder)
		}
		return nil
	})
	return time.Now()
}

// lostWith are the events that went with a topic: those that were posted before it was gone.
func lostWith(l *posts, gone time.Time) func(string) bool {
	return func(id string) bool { return l.eventType(id) == "email_sent" && l.began(id).Before(gone) }
}

// takes waits until something is in the topic.
func (x *trouble) takes(t *testing.T, topic string) {
	t.Helper()
	testenv.Eventually(t, 30*time.Second, func() error {
		if !slices.Contains(x.kafka.Topics(t, topic), topic) || len(x.kafka.ConsumeBulk(t, topic)) == 0 {
			return fmt.Errorf("nothing is in %s", topic)
		}
		return nil
	})
}

func deletedTopic(t *testing.T, x *trouble, admin *kadm.Client) {
	var gone time.Time
	l := x.during(t, func(*posts) {
		gone = erase(t, x, admin, x.env.Topic("email_sent"))
		x.takes(t, x.env.Topic("email_sent"))
	})
	l.check(t, false, lostWith(l, gone))
}

// deletedTopicElsewhere: brokers that create topics when a client asks for one give it their own settings.
func deletedTopicElsewhere(t *testing.T, x *trouble, admin *kadm.Client) {
	topic := x.env.Topic("email_sent")
	var gone time.Time
	l := x.during(t, func(*posts) {
		gone = erase(t, x, admin, topic)
		x.kafka.AutoCreate(t, topic)
		x.takes(t, topic)
	})
	l.check(t, false, lostWith(l, gone))
}

// deletedForGood: with the topic, and then with the overflow topic as well.
func deletedForGood(t *testing.T, x *trouble, admin *kadm.Client) {
	var gone time.Time
	l := x.during(t, func(l *posts) {
		erase(t, x, admin, x.env.Topic("email_sent"))
		x.logged(t, "creating topics is switched off", x.env.Topic("email_sent"))
		x.takes(t, x.env.Topic("other"))
		gone = erase(t, x, admin, x.env.Topic("other"))
		l.await(t, "spooled", 20)
		x.grown(t, "sluice_spool_events")
		l.await(t, "published", 20) // its neighbours
		x.kafka.CreateTopic(t, x.env.Topic("email_sent"), 2, nil)
		x.kafka.CreateTopic(t, x.env.Topic("other"), 2, nil)
	})
	l.check(t, false, lostWith(l, gone))
}

// tooLarge: the topics have the broker's limit, which is lowered, and then one of their own.
func tooLarge(t *testing.T, x *trouble, admin *kadm.Client) {
	limits := map[string]func(value string){
		"broker": func(value string) { alterCluster(t, admin, "message.max.bytes", value) },
		"topic":  func(value string) { alter(t, admin, "max.message.bytes", value, x.env.Topic("email_sent")) },
	}
	last := map[string]string{}
	l := x.during(t, func(l *posts) {
		alter(t, admin, "max.message.bytes", "2000000", x.env.Topic("dead_letter"))
		for name, limit := range limits {
			limit("20000")
			tries := 0
			testenv.Eventually(t, 30*time.Second, func() error { // it takes a moment until it holds
				tries++
				last[name] = fmt.Sprintf("large-by-the-%s-%d", name, tries)
				if a := l.send(t.Context(), http.DefaultClient, last[name], "email_sent", "big", padding(40_000)); a.Status != "dead_lettered" {
					return fmt.Errorf("%+v", a)
				}
				return nil
			})
			limit("")
		}
	})
	found := l.check(t, true, nil)
	for _, id := range last {
		if r := found[id]; len(r) != 1 || r[0].Topic != x.env.Topic("dead_letter") {
			t.Errorf("%s isn't a dead letter", id)
		}
	}
	x.grown(t, produceError(10))
}

// tooLargeForAll: an event that neither its topic nor the dead-letter topic takes waits, and nothing waits for it.
func tooLargeForAll(t *testing.T, x *trouble, admin *kadm.Client) {
	topics := []string{x.env.Topic("email_sent"), x.env.Topic("dead_letter")}
	l := x.during(t, func(l *posts) {
		alter(t, admin, "max.message.bytes", "20000", topics...)
		tries := 0
		testenv.Eventually(t, 30*time.Second, func() error { // it takes a moment until it holds
			tries++
			if a := l.send(t.Context(), http.DefaultClient, fmt.Sprint("early-", tries), "email_sent", "big", padding(40_000)); a.Status != "spooled" {
				return fmt.Errorf("%+v", a)
			}
			return nil
		})
		for i := range 5 {
			if a := l.send(t.Context(), http.DefaultClient, fmt.Sprint("large-", i), "email_sent", "big", padding(40_000)); a.Status != "spooled" {
				t.Errorf("%+v", a)
			}
		}
		l.await(t, "published", 100)
		x.grown(t, "sluice_spool_events")
		x.logged(t, "the dead-letter topic refuses it too")
		alter(t, admin, "max.message.bytes", "1000000", topics[1])
	})
	found := l.check(t, true, nil)
	for i := range 5 {
		if r := found[fmt.Sprint("large-", i)]; len(r) != 1 || r[0].Topic != topics[1] {
			t.Errorf("event %d isn't a dead letter", i)
		}
	}
}

func partitionsRaised(t *testing.T, x *trouble, admin *kadm.Client) {
	topic := x.env.Topic("email_sent")
	l := x.during(t, func(*posts) {
		if _, err := admin.UpdatePartitions(t.Context(), 6, topic); err != nil {
			t.Fatal(err)
		}
		testenv.Eventually(t, 30*time.Second, func() error {
			for _, r := range x.kafka.ConsumeBulk(t, topic) {
				if r.Partition > 1 {
					return nil
				}
			}
			return errors.New("nothing in the new partitions")
		})
	})
	l.check(t, true, nil)
}

// oneForbidden takes the right to write to one topic, and then to see it.
func oneForbidden(t *testing.T, x *trouble, admin *kadm.Client) {
	topic := x.env.Topic("email_sent")
	deny := func(op kadm.ACLOperation) *kadm.ACLBuilder {
		return kadm.NewACLs().Topics(topic).ResourcePatternType(kadm.ACLPatternLiteral).Deny("User:limited").DenyHosts("*").Operations(op)
	}
	l := x.during(t, func(l *posts) {
		for _, op := range []kadm.ACLOperation{kadm.OpWrite, kadm.OpDescribe} {
			if _, err := admin.CreateACLs(t.Context(), deny(op)); err != nil {
				t.Fatal(err)
			}
			if op == kadm.OpWrite {
				x.grown(t, produceError(29))
				l.await(t, "spooled", 20)
			} else {
				x.takes(t, x.env.Topic("other")) // what can't be seen counts as missing
			}
			l.await(t, "published", 50) // its neighbours
		}
		for _, op := range []kadm.ACLOperation{kadm.OpWrite, kadm.OpDescribe} {
			if _, err := admin.DeleteACLs(t.Context(), deny(op)); err != nil {
				t.Fatal(err)
			}
		}
	})
	l.check(t, false, nil)
}

func allForbidden(t *testing.T, x *trouble, admin *kadm.Client) {
	l := x.during(t, func(l *posts) {
		if _, err := admin.DeleteACLs(t.Context(), allowing(x.env)); err != nil {
			t.Fatal(err)
		}
		x.logged(t, "Topic Authorization Failed") // to a produce request, or, if it is quicker, to a look at the topics
		l.await(t, "spooled", 100)
		allow(t, admin, x.env)
	})
	l.check(t, true, nil)
}

func throttledUser(t *testing.T, x *trouble, admin *kadm.Client) {
	quota := func(remove bool) {
		user := "throttled"
		res, err := admin.AlterClientQuotas(t.Context(), []kadm.AlterClientQuotaEntry{{
			Entity: kadm.ClientQuotaEntity{{Type: "user", Name: &user}},
			Ops:    []kadm.AlterClientQuotaOp{{Key: "producer_byte_rate", Value: 60_000, Remove: remove}},
		}})
		for _, r := range res {
			err = errors.Join(err, r.Err)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	l := x.during(t, func(l *posts) {
		quota(false)
		x.grown(t, "sluice_kafka_throttled_seconds_total")
		l.await(t, "spooled", 30)
		quota(true)
	})
	l.check(t, true, nil)
}
