package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/testenv"
)

// TestGroups holds the figures against what another client has committed and read.
func TestGroups(t *testing.T) {
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		g := newGroupWorld(t, env, 30)
		client := g.member("email_sent", "push_sent")
		for seen := map[string]bool{}; len(seen) < 2; {
			fetches := client.PollRecords(t.Context(), 3)
			if err := fetches.Err0(); err != nil {
				t.Fatal(err)
			}
			fetches.EachRecord(func(r *kgo.Record) { seen[r.Topic] = true })
		}
		if err := client.CommitUncommittedOffsets(t.Context()); err != nil {
			t.Fatal(err)
		}
		var want groupReport
		oldest := time.Now()
		committed := g.committed()
		records := env.Records(t)
		for place, at := range committed {
			for _, r := range records {
				if fmt.Sprint(r.Topic, "/", r.Partition) == place && r.Offset >= at {
					want.Lag++
					if r.Time.Before(oldest) {
						oldest = r.Time
					}
				}
			}
		}
		if want.Lag == 0 || len(committed) == 0 {
			t.Fatalf("lag %d with %v", want.Lag, committed)
		}
		code, out, errs := g.sluice("groups", "-o", "json")
		var report groupsReport
		if err := json.Unmarshal([]byte(out), &report); code != exitOK || err != nil || len(report.Groups) != 1 {
			t.Fatalf("code %d, %v: %s%s", code, err, out, errs)
		}
		r := report.Groups[0]
		if r.Group != g.group || r.Lag != want.Lag || r.Oldest == nil || !r.Oldest.Equal(oldest) || len(r.Members) != 1 || r.Members[0].ClientID != "reader-7" {
			t.Errorf("%s: want lag %d, oldest %v", out, want.Lag, oldest)
		}
		if *r.Behind < time.Since(oldest).Seconds()-30 || *r.Behind > time.Since(oldest).Seconds() {
			t.Errorf("behind %v, oldest %v", *r.Behind, oldest)
		}
		for _, p := range r.Partitions {
			if at, is := committed[placeName(p.Topic, p.Partition)]; is != (p.Committed != nil) || is && at != *p.Committed || p.Member != "reader-7" {
				t.Errorf("%+v, committed %d, %t", p, at, is)
			}
		}
		if code, out, errs = g.sluice("groups", "dead-letter"); code != exitOK || !strings.Contains(out, "No group has committed offsets") {
			t.Errorf("on dead letters: %d, %s%s", code, out, errs)
		}
		if code, out, errs = g.sluice("groups", "-g", g.group, "email_*"); code != exitOK || strings.Contains(out, "push_sent") || !strings.Contains(out, "reader-7") {
			t.Errorf("one: %d, %s%s", code, out, errs)
		}
	})
}

// TestGroupRights says which right is missing, and does what the others allow.
func TestGroupRights(t *testing.T) {
	user := testenv.User{Name: "limited", Password: "a-secret"}
	kafka := testenv.Kafka(t, testenv.WithSASL(user), testenv.WithACLs())
	t.Chdir(t.TempDir())
	env := testenv.RealOn(t, kafka)
	inner := *env
	inner.Kafka = plainKafka{kafka}
	g := newGroupWorld(t, &inner, 10)
	g.rewind(exitOK, "--to=earliest", "--execute", "email_sent")
	admin := kafka.Admin(t)
	allow := func(group bool, operations ...kadm.ACLOperation) {
		t.Helper()
		acl := kadm.NewACLs().Allow("User:limited").AllowHosts().ResourcePatternType(kadm.ACLPatternPrefixed).Operations(operations...)
		if acl = acl.Topics(env.Prefix); group {
			acl = acl.Groups(env.Prefix)
		}
		if _, err := admin.CreateACLs(t.Context(), acl); err != nil {
			t.Fatal(err)
		}
	}
	limited := *g
	limited.extra = []string{
		"SLUICE_KAFKA_BROKERS=" + kafka.Bootstrap()[0], "SLUICE_KAFKA_SASL_MECHANISM=plain", "SLUICE_KAFKA_SASL_USERNAME=" + user.Name,
		"SLUICE_KAFKA_SASL_PASSWORD=" + user.Password,
	}
	wants := func(code int, want string, args ...string) {
		t.Helper()
		testenv.Eventually(t, 20*time.Second, func() error { // rules take a moment
			if got, out, errs := limited.sluice(args...); got != code || !strings.Contains(out+errs, want) {
				return fmt.Errorf("%q: code %d, want %d and %q: %s%s", args, got, code, want, out, errs)
			}
			return nil
		})
	}
	allow(false, kadm.OpDescribe)
	wants(exitOK, "or none that this login may describe", "groups")
	wants(exitFailure, "needs the right to Describe on the group", "groups", "-g", g.group)
	wants(exitFailure, "needs the right to Describe on the group", "rewind", "-g", g.group, "--to=latest")
	allow(true, kadm.OpDescribe)
	wants(exitOK, "needs the right to Read on the topics", "groups", "-g", g.group)
	wants(exitOK, "--execute does it", "rewind", "-g", g.group, "--to=latest")
	wants(exitFailure, "needs the right to Read on the group and on the topics", "rewind", "-g", g.group, "--to=latest", "--execute")
	allow(true, kadm.OpRead)
	wants(exitOK, "Done.", "rewind", "-g", g.group, "--to=latest", "--execute", "--save", "before.json", "email_sent", "push_sent")
	wants(exitFailure, "needs the right to Delete on the group and Read on the topics", "rewind", "-g", g.group, "--restore", "before.json", "--execute")
	// Of a group of KIP-848 that reads something else too, Kafka tells nothing.
	kafka.CreateTopic(t, "hidden", 1, nil)
	optedIn := context.WithValue(context.Background(), "opt_in_kafka_next_gen_balancer_beta", true) //nolint:revive,staticcheck // the key that kgo looks for
	mixed, err := kgo.NewClient(kgo.SeedBrokers(kafka.Internal()...), kgo.WithContext(optedIn), kgo.ConsumerGroup(g.group+"-mixed"),
		kgo.ConsumeTopics(env.Topic("email_sent"), "hidden"), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer mixed.Close()
	if n := mixed.PollRecords(t.Context(), 1).NumRecords(); n != 1 {
		t.Fatalf("%d records", n)
	}
	if err := mixed.CommitUncommittedOffsets(t.Context()); err != nil {
		t.Fatal(err)
	}
	const untold = "this login needs the right to Describe on all topics that it reads"
	wants(exitOK, untold, "groups")
	wants(exitFailure, untold, "rewind", "-g", g.group+"-mixed", "--to=latest", "--execute")
	allow(true, kadm.OpDelete)
	wants(exitOK, "Done.", "rewind", "-g", g.group, "--restore", "before.json", "--execute")
}

// plainKafka is a cluster by its listeners without a login.
type plainKafka struct{ *testenv.Cluster }

func (p plainKafka) Bootstrap() []string { return p.Internal() }
