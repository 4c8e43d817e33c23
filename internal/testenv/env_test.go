package testenv

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestEnv(t *testing.T) {
	for name, start := range map[string]func(testing.TB) *Env{"fake": Fake, "real": Real} {
		t.Run(name, func(t *testing.T) {
			env := start(t)
			if env.IsFake() != (name == "fake") {
				t.Errorf("IsFake() = %t", env.IsFake())
			}
			addr, ok := strings.CutPrefix(env.RedisURL(), "redis://")
			if !ok {
				t.Fatalf("RedisURL() = %q", env.RedisURL())
			}
			if err := pingRedis(t.Context(), strings.TrimSuffix(addr, "/0")); err != nil {
				t.Error(err)
			}
			wantRecords(t, env.Records(t), nil)
			topic := env.Topic("email_sent")
			if !strings.HasPrefix(topic, env.Prefix+"_") {
				t.Errorf("topic %q with prefix %q", topic, env.Prefix)
			}
			admin := client{bootstrap: env.Brokers()}
			if err := admin.createTopic(t.Context(), topic, 1, -1, nil); err != nil {
				t.Fatal(err)
			}
			var rs []Record
			Eventually(t, testWait, func() error { // a topic's leader may come a moment after the topic
				_, err := admin.leaders(t.Context(), topic)
				return err
			})
			rs = numbered(topic, 5)
			produceWith(t, env.Brokers(), []kgo.Opt{kgo.RecordPartitioner(kgo.ManualPartitioner())}, rs...)
			wantRecords(t, env.Records(t), rs)
			wantRecords(t, env.Records(t, topic), rs)
		})
	}
}

func TestElapse(t *testing.T) {
	fake := Fake(t)
	if err := fake.mini.Set("k", "v"); err != nil {
		t.Fatal(err)
	}
	fake.mini.SetTTL("k", time.Hour)
	fake.Elapse(t, time.Hour)
	if fake.mini.Exists("k") {
		t.Error("an hour has passed for miniredis, and the key lives on")
	}
	begun := time.Now()
	(&Env{}).Elapse(t, 20*time.Millisecond)
	if waited := time.Since(begun); waited < 20*time.Millisecond {
		t.Errorf("with a real Redis 20 ms took %s", waited)
	}
}
