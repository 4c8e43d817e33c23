package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/testenv"
)

// groupWorld has topics with events, and consumers of another client.
type groupWorld struct {
	*testing.T
	env   *testenv.Env
	admin *kadm.Client
	group string
	ends  kadm.ListedOffsets
	begin time.Time
	extra []string // settings
}

// at is a time so many events after the first, as an argument.
func (g *groupWorld) at(events int) string {
	return g.begin.Add(time.Duration(events) * time.Second).UTC().Format(time.RFC3339)
}

// newGroupWorld writes as many events to email_sent and half as many to push_sent, a second apart.
func newGroupWorld(t *testing.T, env *testenv.Env, events int) *groupWorld {
	t.Helper()
	w := newTailWriter(t, env, "email_sent", "push_sent", "dead_letter")
	begin := w.time
	for i := range events {
		w.write(env.Topic("email_sent"), "email_sent", fmt.Sprint("e", i))
		if i%2 == 0 {
			w.write(env.Topic("push_sent"), "push_sent", fmt.Sprint("p", i))
		}
	}
	g := &groupWorld{T: t, env: env, admin: kadm.NewClient(w.client), group: env.Prefix + "-analytics", begin: begin}
	var err error
	if g.ends, err = g.admin.ListEndOffsets(t.Context(), env.Topic("email_sent"), env.Topic("push_sent"), env.Topic("dead_letter")); err != nil {
		t.Fatal(err)
	}
	return g
}

// member joins the group, and has read something when it returns.
func (g *groupWorld) member(topics ...string) *kgo.Client {
	g.Helper()
	for i, topic := range topics {
		topics[i] = g.env.Topic(topic)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(g.env.Brokers()...), kgo.ClientID("reader-7"), kgo.ConsumerGroup(g.group),
		kgo.ConsumeTopics(topics...), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		g.Fatal(err)
	}
	g.Cleanup(client.Close)
	return client
}

// drain has a member read the topics up to their ends, commit, and leave. It returns how many records it has read.
func (g *groupWorld) drain(topics ...string) (read int) {
	g.Helper()
	ctx, cancel := context.WithTimeout(g.Context(), 30*time.Second)
	defer cancel()
	left, committed := make(map[string]map[int32]int64), g.committed()
	for _, topic := range topics {
		topic = g.env.Topic(topic)
		left[topic] = make(map[int32]int64)
		for partition, end := range g.ends[topic] {
			if at := committed[fmt.Sprint(topic, "/", partition)]; at < end.Offset {
				left[topic][partition] = end.Offset
			}
		}
		maps.DeleteFunc(left, func(_ string, p map[int32]int64) bool { return len(p) == 0 })
	}
	client := g.member(topics...)
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			g.Fatalf("%v; left to read: %v", err, left)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			read++
			if r.Offset+1 == left[r.Topic][r.Partition] {
				delete(left[r.Topic], r.Partition)
			}
		})
		maps.DeleteFunc(left, func(_ string, p map[int32]int64) bool { return len(p) == 0 })
	}
	if err := client.CommitUncommittedOffsets(ctx); err != nil {
		g.Fatal(err)
	}
	client.Close()
	return read
}

// committed is what Kafka has, by topic/partition.
func (g *groupWorld) committed() map[string]int64 {
	g.Helper()
	found := make(map[string]int64)
	var offsets kadm.OffsetResponses
	testenv.Eventually(g, 30*time.Second, func() (err error) { // the first question of all has Kafka make a topic
		offsets, err = g.admin.FetchOffsets(g.Context(), g.group)
		if errors.Is(err, kerr.GroupIDNotFound) { // as kfake says of a group that isn't there
			return nil
		}
		return err
	})
	offsets.Each(func(o kadm.OffsetResponse) {
		if o.At >= 0 {
			found[fmt.Sprint(o.Topic, "/", o.Partition)] = o.At
		}
	})
	return found
}

// awaitEmpty waits until the group has no member.
func (g *groupWorld) awaitEmpty() {
	g.Helper()
	testenv.Eventually(g, 30*time.Second, func() error {
		if code, out, errs := g.sluice("groups", "--group", g.group); code != exitOK || !strings.Contains(out, "Empty, 0 members") {
			return fmt.Errorf("%d: %s%s", code, out, errs)
		}
		return nil
	})
}

// sluice runs a command.
func (g *groupWorld) sluice(args ...string) (code int, stdout, stderr string) {
	g.Helper()
	ctx, cancel := context.WithTimeout(g.Context(), 60*time.Second)
	defer cancel()
	var out, complaints bytes.Buffer
	code = run(ctx, args, &process{environ: tailSettings(g.env, g.extra...), stdout: &out, stderr: &complaints})
	return code, out.String(), complaints.String()
}

// rewind runs the command for the group and wants an exit code.
func (g *groupWorld) rewind(want int, args ...string) (*rewindPlan, string) {
	g.Helper()
	code, out, complaints := g.sluice(append([]string{"rewind", "--group", g.group, "-o", "json"}, args...)...)
	plan := &rewindPlan{}
	if out != "" {
		if err := json.Unmarshal([]byte(out), plan); err != nil {
			g.Fatalf("%v in %s", err, out)
		}
	}
	if code != want {
		g.Fatalf("%q: code %d, want %d: %s%s", args, code, want, out, complaints)
	}
	return plan, complaints
}

// TestRewind goes back, reads what was planned, and undoes it.
func TestRewind(t *testing.T) {
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		t.Chdir(t.TempDir())
		g := newGroupWorld(t, env, 40)
		if n := g.drain("email_sent"); n != 40 {
			t.Fatalf("%d records read", n)
		}
		g.awaitEmpty()
		before := g.committed()

		for _, test := range []struct {
			to     string
			types  []string
			events int64
		}{
			{"earliest", nil, 40},
			{"earliest", []string{"email_sent", "push_sent"}, 60},
			{"earliest", []string{"*_sent"}, 60},
			{"latest", nil, 0},
			{"-2h", nil, 40},
			{"2h", []string{"email_*"}, 40},
			{"10m", nil, 0},
			{g.at(31), nil, 20}, // two of three events are to email_sent
		} {
			plan, _ := g.rewind(exitOK, append([]string{"--to=" + test.to}, test.types...)...)
			if plan.Executed || plan.Events != test.events {
				t.Errorf("--to %s %q: %d events, want %d: %+v", test.to, test.types, plan.Events, test.events, plan)
			}
		}
		if now := g.committed(); !maps.Equal(now, before) {
			t.Fatalf("a plan has changed %v to %v", before, now)
		}

		plan, _ := g.rewind(exitOK, "--to=2h", "--execute", "--save", "before.json", "email_sent", "push_sent")
		if !plan.Executed || plan.Events != 60 || plan.Saved != "before.json" {
			t.Fatalf("executed: %+v", plan)
		}
		for _, p := range plan.Partitions {
			if p.Now == nil || *p.Now != *p.To || (p.From == nil) != (p.Topic == env.Topic("push_sent")) {
				t.Errorf("%+v", p)
			}
		}
		if n := g.drain("email_sent", "push_sent"); n != 60 {
			t.Errorf("%d records come, want 60", n)
		}
		g.awaitEmpty()

		// push_sent had no offsets, and has none again.
		if plan, _ = g.rewind(exitOK, "--restore", "before.json"); plan.Executed || plan.Events != 0 || len(plan.Partitions) != 4 {
			t.Errorf("plan of --restore: %+v", plan)
		}
		g.rewind(exitOK, "--restore", "before.json", "--execute")
		if now := g.committed(); !maps.Equal(now, before) {
			t.Errorf("restored %v, before %v", now, before)
		}
		saved, err := filepath.Glob("rewind-" + g.group + "-*.json")
		if err != nil || len(saved) != 1 {
			t.Fatalf("saved by --restore: %v, %v", saved, err)
		}
		g.rewind(exitOK, "--restore", saved[0], "--execute")
		if now := g.committed(); len(now) != 4 {
			t.Errorf("restored from what --restore has saved: %v", now)
		}
	})
}

// TestRewindRefuses changes nothing where it mustn't.
func TestRewindRefuses(t *testing.T) {
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		t.Chdir(t.TempDir())
		g := newGroupWorld(t, env, 4)
		if _, said := g.rewind(exitFailure, "--to=earliest"); !strings.Contains(said, "there is no group") || !strings.Contains(said, "name the event types") {
			t.Errorf("no group: %s", said)
		}
		g.drain("email_sent")
		g.awaitEmpty()
		g.rewind(exitOK, "--to=earliest", "--execute", "--save", "first.json")
		before := g.committed()

		client := g.member("email_sent")
		if n := client.PollRecords(t.Context(), 1).NumRecords(); n != 1 {
			t.Fatalf("%d records", n)
		}
		plan, said := g.rewind(exitFailure, "--to=latest", "--execute")
		if plan.Executed || !strings.Contains(said, "nothing was changed") || !strings.Contains(said, "has 1 member: reader-7 at 127.0.0.1") {
			t.Errorf("with a member: %+v, %s", plan, said)
		}
		if plan, _ = g.rewind(exitOK, "--to=latest"); !strings.Contains(strings.Join(plan.Notes, "\n"), "--execute would refuse") {
			t.Errorf("plan with a member: %q", plan.Notes)
		}
		client.Close()
		g.awaitEmpty()
		if now := g.committed(); !maps.Equal(now, before) {
			t.Errorf("before %v, now %v", before, now)
		}

		text, err := os.ReadFile("first.json")
		if err != nil {
			t.Fatal(err)
		}
		for name, change := range map[string]string{
			"is of another Kafka cluster": `"cluster_id": "`, "has the offsets of group": `"group": "`, "isn't a file of sluice rewind": `"offsets": [`,
		} {
			if err := os.WriteFile("changed.json", bytes.Replace(text, []byte(change), []byte(change+"x"), 1), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, said := g.rewind(exitFailure, "--restore", "changed.json", "--execute"); !strings.Contains(said, name) {
				t.Errorf("%s: %s", name, said)
			}
		}
		if _, said := g.rewind(exitFailure, "--to=latest", "--execute", "--save", "first.json"); !strings.Contains(said, "isn't overwritten") {
			t.Errorf("a file that is there: %s", said)
		}
		if _, said := g.rewind(exitFailure, "--to=latest", "--execute", "--save", "none/file.json"); !strings.Contains(said, "nothing was changed: saving the offsets") {
			t.Errorf("a folder that isn't there: %s", said)
		}
		if _, said := g.rewind(exitFailure, "--to=latest", "emial_sent"); !strings.Contains(said, "did you mean email_sent") {
			t.Errorf("a misspelt type: %s", said)
		}
		if now := g.committed(); !maps.Equal(now, before) {
			t.Errorf("before %v, now %v", before, now)
		}
		if plan, _ := g.rewind(exitOK, "--to=earliest", "--execute"); plan.Executed || !slices.Contains(plan.Notes, "nothing is to be changed") {
			t.Errorf("nothing to do: %+v", plan)
		}
	})
}

// TestRewindBeyondRetention goes to the oldest record that is left, and says so.
func TestRewindBeyondRetention(t *testing.T) {
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		t.Chdir(t.TempDir())
		g := newGroupWorld(t, env, 20)
		topic := env.Topic("email_sent")
		g.rewind(exitOK, "--to=earliest", "--execute", "--save", "start.json", "email_sent")
		ends := g.ends[topic]
		cut := kadm.Offsets{}
		for partition, end := range ends {
			cut.AddOffset(topic, partition, end.Offset/2, -1)
		}
		if _, err := g.admin.DeleteRecords(t.Context(), cut); err != nil {
			t.Fatal(err)
		}
		var left int64
		for _, end := range ends {
			left += end.Offset - end.Offset/2
		}
		code, out, errs := g.sluice("groups", "--group", g.group, "-o", "json")
		var report groupsReport
		if err := json.Unmarshal([]byte(out), &report); code != exitOK || err != nil || len(report.Groups) != 1 {
			t.Fatalf("code %d, %v: %s%s", code, err, out, errs)
		}
		if r := report.Groups[0]; r.Lag != left || r.Deleted != 20-left || r.Behind == nil || *r.Behind < 3000 {
			t.Errorf("lag %d, want %d: %s", r.Lag, left, out)
		}
		plan, _ := g.rewind(exitOK, "--to=2h")
		if plan.Events != left || !strings.Contains(strings.Join(plan.Notes, "\n"), "older records were deleted") {
			t.Errorf("%+v, want %d events", plan, left)
		}
		g.rewind(exitOK, "--to=2h", "--execute")
		if n := g.drain("email_sent"); int64(n) != left {
			t.Errorf("%d records come, want %d", n, left)
		}
	})
}

// TestRewindJava has Kafka's own consumer, with the protocol of KIP-848, read what was planned. It is a member that
// sluice sees.
func TestRewindJava(t *testing.T) {
	env := testenv.Real(t)
	t.Chdir(t.TempDir())
	g := newGroupWorld(t, env, 20)
	consumer := filepath.Join(env.Kafka.(*testenv.Cluster).Tools(t), "kafka-console-consumer.sh")
	command := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), consumer, append([]string{
			"--bootstrap-server", env.Brokers()[0], "--topic", env.Topic("email_sent"), "--group", g.group,
			"--command-property", "group.protocol=consumer", "--command-property", "client.id=java-1", "--command-property", "auto.offset.reset=earliest",
		}, args...)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		return cmd
	}
	if n := g.drain("email_sent"); n != 20 {
		t.Fatalf("%d records read", n)
	}
	g.awaitEmpty()
	plan, _ := g.rewind(exitOK, "--to="+g.at(15), "--execute", "--save", "before.json")
	if plan.Events == 0 || plan.Events == 20 {
		t.Errorf("%+v", plan)
	}
	var said bytes.Buffer
	cmd := command("--timeout-ms", "4000") // it ends once nothing has come for so long
	cmd.Stderr = &said
	out, err := cmd.Output()
	if n := int64(bytes.Count(out, []byte("\n"))); n != plan.Events {
		t.Errorf("Java reads %d events, want %d: %v, %s", n, plan.Events, err, said.String())
	}

	cmd = command()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, 30*time.Second, func() error {
		if code, out, errs := g.sluice("groups", "--group", g.group); code != exitOK || !strings.Contains(out, "1 member") || !strings.Contains(out, "java-1") {
			return fmt.Errorf("%d: %s%s", code, out, errs)
		}
		return nil
	})
	if _, said := g.rewind(exitFailure, "--to=earliest", "--execute"); !strings.Contains(said, "java-1 at 127.0.0.1") {
		t.Errorf("with a Java consumer: %s", said)
	}
	if err := cmd.Cancel(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // killed
}
