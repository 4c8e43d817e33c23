package main

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"sluice/internal/testenv"
)

// TestKafkaThreeBrokers moves leaders, and then takes one of three brokers away: what becomes of a topic depends on the
// replicas that it has left.
func TestKafkaThreeBrokers(t *testing.T) { //nolint:tparallel // its parts share the brokers, one after another
	t.Parallel() // it mostly waits
	kafka := testenv.Kafka(t, testenv.WithBrokers(3), testenv.WithConfig("unclean.leader.election.enable", "false"))
	env := testenv.RealOn(t, kafka)
	admin := kafka.Admin(t)
	for _, typ := range append(loadTypes(), "dead_letter", "other") {
		kafka.CreateTopic(t, env.Topic(typ), 1, map[string]string{"min.insync.replicas": "2"})
	}
	alter(t, admin, "min.insync.replicas", "1", env.Topic("email_clicked"))
	place(t, admin, env.Topic("email_opened"), 1, 3)
	place(t, admin, env.Topic("email_clicked"), 3)
	x := &trouble{instance: startProcess(t, env, "SLUICE_SPOOL_DIR="+t.TempDir(), "SLUICE_CREATE_TOPICS=false"), env: env, kafka: kafka}

	t.Run("leaders move", func(t *testing.T) {
		x.during(t, func(l *posts) {
			for i := range 6 {
				lead(t, kafka, admin, env.Topic("email_sent"), 1+i%3)
				l.await(t, "published", 20)
			}
		}).check(t, true, nil)
	})
	t.Run("broker gone", func(t *testing.T) {
		lead(t, kafka, admin, env.Topic("email_sent"), 3)
		x.during(t, func(l *posts) {
			kafka.Broker(2).Kill(t)
			// Three replicas: another leads. Two: the one that is left isn't enough. One: there is no leader.
			for _, typ := range loadTypes()[1:] {
				l.awaitType(t, typ, "spooled", 20)
			}
			l.awaitType(t, "email_sent", "published", 20)
			x.grown(t, produceError(19))
			kafka.Broker(2).Restart(t)
			for _, typ := range loadTypes() {
				l.awaitType(t, typ, "published", 10)
			}
		}).check(t, true, nil)
	})
	t.Run("replica frozen", func(t *testing.T) {
		lead(t, kafka, admin, env.Topic("email_opened"), 1)
		x.during(t, func(l *posts) {
			kafka.Broker(2).Stop(t)
			l.awaitType(t, "email_opened", "spooled", 20)
			l.awaitType(t, "email_sent", "published", 20)
			testenv.Eventually(t, 30*time.Second, func() error {
				if x.metric(t, produceError(7))+x.metric(t, produceError(20)) == 0 {
					return errors.New("no batch was left half replicated")
				}
				return nil
			})
			kafka.Broker(2).Cont(t)
			l.awaitType(t, "email_opened", "published", 10)
		}).check(t, true, nil)
		t.Logf("request timed out: %v, not enough replicas before: %v, and after the append: %v",
			x.metric(t, produceError(7)), x.metric(t, produceError(19)), x.metric(t, produceError(20)))
	})
	x.ended(t)
}

// place puts a topic's only partition on these brokers.
func place(t *testing.T, admin *kadm.Client, topic string, brokers ...int32) {
	t.Helper()
	var req kadm.AlterPartitionAssignmentsReq
	req.Assign(topic, 0, brokers)
	res, err := admin.AlterPartitionAssignments(t.Context(), req)
	if err := errors.Join(err, res.Error()); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, time.Minute, func() error {
		topics, err := admin.ListTopics(t.Context(), topic)
		if err != nil {
			return err
		}
		if p := topics[topic].Partitions[0]; !slices.Equal(p.Replicas, brokers) || len(p.ISR) != len(brokers) {
			return fmt.Errorf("%s is on %v, in sync %v; want %v", topic, p.Replicas, p.ISR, brokers)
		}
		return nil
	})
}

// lead makes a broker the leader of a topic's only partition, among those that have it.
func lead(t *testing.T, kafka *testenv.Cluster, admin *kadm.Client, topic string, broker int) {
	t.Helper()
	topics, err := admin.ListTopics(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	others := slices.DeleteFunc(slices.Clone(topics[topic].Partitions[0].Replicas), func(id int32) bool { return id == int32(broker) })
	place(t, admin, topic, append([]int32{int32(broker)}, others...)...)
	testenv.Eventually(t, time.Minute, func() error {
		set := kadm.TopicsSet{}
		set.Add(topic, 0)
		if _, err := admin.ElectLeaders(t.Context(), kadm.ElectPreferredReplica, set); err != nil {
			return err
		}
		if leader := kafka.Leader(t, topic, 0).ID(); leader != int32(broker) {
			return fmt.Errorf("broker %d leads, want %d", leader, broker)
		}
		return nil
	})
}
