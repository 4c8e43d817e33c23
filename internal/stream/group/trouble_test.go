package group

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"sluice/internal/testenv"
)

// What brokers refuse for good ends the member, and names the right that is missing.
func TestRefused(t *testing.T) {
	for name, x := range map[string]struct {
		key  kmsg.Key
		code *kerr.Error
		want string
	}{
		"group":         {kmsg.JoinGroup, kerr.GroupAuthorizationFailed, "the login needs the right Read on the group "},
		"other members": {kmsg.JoinGroup, kerr.InconsistentGroupProtocol, "use another group"},
		"session":       {kmsg.JoinGroup, kerr.InvalidSessionTimeout, "don't allow 6s"},
		"topic":         {kmsg.Metadata, kerr.TopicAuthorizationFailed, "the login needs the rights Describe and Read on the topics"},
	} {
		t.Run(name, func(t *testing.T) {
			env := testenv.Fake(t)
			w := newWorld(t, env)
			topic := w.topic("a", 1)
			env.Kafka.(*testenv.FakeCluster).ControlKey(int16(x.key), func(req kmsg.Request) (kmsg.Response, error, bool) {
				env.Kafka.(*testenv.FakeCluster).KeepControl()
				switch res := req.ResponseKind().(type) {
				case *kmsg.JoinGroupResponse:
					res.ErrorCode = x.code.Code
					return res, nil, true
				case *kmsg.MetadataResponse:
					asked := req.(*kmsg.MetadataRequest).Topics
					if len(asked) == 0 {
						return nil, nil, false // about brokers
					}
					refused := kmsg.NewMetadataResponseTopic()
					refused.Topic, refused.ErrorCode = asked[0].Topic, x.code.Code
					res.Topics = append(res.Topics, refused)
					return res, nil, true
				}
				return nil, nil, false
			})
			err := w.start(w.options(&kept{}, topic)).wait()
			if err == nil || !strings.Contains(err.Error(), x.want) {
				t.Errorf("Run: %v", err)
			}
		})
	}
}

// A member whose commit is refused because the group has gone on joins again, and what it hadn't committed comes again.
func TestExpelled(t *testing.T) {
	env := testenv.Fake(t)
	w := newWorld(t, env)
	topic := w.topic("a", 1)
	want := w.write(topic, 1, "a", 0, 2)
	var refusals atomic.Int32
	fake := env.Kafka.(*testenv.FakeCluster)
	fake.ControlKey(int16(kmsg.OffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		if refusals.Add(1) > 1 {
			return nil, nil, false
		}
		res := req.ResponseKind().(*kmsg.OffsetCommitResponse)
		for _, x := range req.(*kmsg.OffsetCommitRequest).Topics {
			topic := kmsg.NewOffsetCommitResponseTopic()
			topic.Topic = x.Topic
			for _, p := range x.Partitions {
				partition := kmsg.NewOffsetCommitResponseTopicPartition()
				partition.Partition, partition.ErrorCode = p.Partition, kerr.IllegalGeneration.Code
				topic.Partitions = append(topic.Partitions, partition)
			}
			res.Topics = append(res.Topics, topic)
		}
		return res, nil, true
	})
	k := &kept{}
	o := w.options(k, topic)
	core, logged := observer.New(zapcore.WarnLevel)
	o.Log = zap.New(core)
	w.start(o)
	w.expect(append(want, want...), k)
	testenv.Eventually(t, testWait, func() error {
		if at := w.committed(topic)[0]; at != 2 {
			return fmt.Errorf("committed %d", at)
		}
		return nil
	})
	if logged.FilterMessageSnippet("the group has gone on without this member").Len() != 1 {
		t.Errorf("logged %v", logged.All())
	}
}

// Brokers that don't answer are waited for, and that is said.
func TestUnreachable(t *testing.T) {
	env := testenv.Fake(t)
	w := newWorld(t, env)
	topic := w.topic("a", 1)
	want := w.write(topic, 1, "a", 0, 2)
	var away atomic.Bool
	fake := env.Kafka.(*testenv.FakeCluster)
	fake.ControlKey(int16(kmsg.JoinGroup), func(req kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		if !away.Load() {
			return nil, nil, false
		}
		res := req.ResponseKind().(*kmsg.JoinGroupResponse)
		res.ErrorCode = kerr.CoordinatorNotAvailable.Code
		return res, nil, true
	})
	away.Store(true)
	k := &kept{}
	o := w.options(k, topic)
	core, logged := observer.New(zapcore.InfoLevel)
	o.Log = zap.New(core)
	w.start(o)
	told := func(text string) {
		t.Helper()
		testenv.Eventually(t, testWait, func() error {
			if logged.FilterMessageSnippet(text).Len() != 1 {
				return fmt.Errorf("logged %v", logged.All())
			}
			return nil
		})
	}
	told("can't take part in the group; trying on")
	away.Store(false)
	w.expect(want, k)
	told("Kafka answers again")
}

// Where retention has deleted what the group hasn't read, reading goes on with the oldest record, and how many are missing
// is said.
func TestRetention(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		w := newWorld(t, env)
		topic := w.topic("a", 1)
		all := w.write(topic, 1, "a", 0, 7)
		o := w.options(&kept{}, topic)
		o.Count = 2
		if err := w.start(o).wait(); err != nil {
			t.Fatal(err)
		}
		w.eventually(func(ctx context.Context) error {
			offsets := make(kadm.Offsets)
			offsets.Add(kadm.Offset{Topic: topic, Partition: 0, At: 5})
			_, err := w.admin.DeleteRecords(ctx, offsets)
			return err
		})
		k := &kept{}
		o = w.options(k, topic)
		core, logged := observer.New(zapcore.WarnLevel)
		o.Log, o.CaughtUp = zap.New(core), true
		if err := w.start(o).wait(); err != nil {
			t.Fatal(err)
		}
		w.expect(all[5:], k)
		said := logged.FilterMessageSnippet("records were deleted before they could be read").All()
		if len(said) != 1 || said[0].ContextMap()["missed"] != int64(3) {
			t.Errorf("logged %v", logged.All())
		}
	})
}

// A topic that is deleted and created again is read from its beginning, and what is committed follows.
func TestTopicAnew(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		w := newWorld(t, env)
		topic := w.topic("a", 1)
		want := w.write(topic, 1, "old", 0, 5)
		k := &kept{}
		w.start(w.options(k, topic))
		w.expect(append([]string(nil), want...), k)
		w.eventually(func(ctx context.Context) error {
			_, err := w.admin.DeleteTopics(ctx, topic)
			return err
		})
		w.topic("a", 1)
		want = append(want, newWorld(t, env).write(topic, 1, "new", 0, 2)...) // a client that doesn't remember the former topic
		w.expect(want, k)
		testenv.Eventually(t, testWait, func() error {
			if at := w.committed(topic)[0]; at != 2 {
				return fmt.Errorf("committed %d", at)
			}
			return nil
		})
	})
}

// A sink that keeps nothing doesn't hold a rebalance up for longer than it may.
func TestSinkStandsStill(t *testing.T) {
	w := newWorld(t, testenv.Fake(t))
	topic := w.topic("a", 2)
	want := w.write(topic, 2, "a", 0, 4)
	k := &kept{hold: true}
	o := w.options(k, topic)
	o.Settle = time.Second
	first := w.start(o)
	w.expect(append([]string(nil), want...), k)
	other := &kept{}
	w.start(w.options(other, topic))
	testenv.Eventually(t, testWait, func() error {
		if len(other.sorted()) != 2 {
			return fmt.Errorf("the other member got %q", other.sorted())
		}
		return nil
	})
	if n := first.Counts().Rebalances; n != 2 {
		t.Errorf("%d rebalances", n)
	}
}
