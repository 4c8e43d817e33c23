package extent

import (
	"errors"
	"slices"
	"testing"
	"time"

	kafka "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/internal/testenv"
	"sluice/publisher/connect"
)

// server is a cluster to fill.
type server interface {
	Bootstrap() []string
	CreateTopic(t testing.TB, name string, partitions int, config map[string]string)
}

func TestOf(t *testing.T) {
	for name, open := range map[string]func(*testing.T) (server, string){
		"fake": func(t *testing.T) (server, string) { return testenv.Kfake(t, kfake.NumBrokers(3)), "t" },
		"real": func(t *testing.T) (server, string) {
			env := testenv.Real(t)
			return env.Kafka.(server), env.Prefix
		},
	} {
		t.Run(name, func(t *testing.T) {
			cluster, topic := open(t)
			cluster.CreateTopic(t, topic, 6, nil)
			client, err := kgo.NewClient(kgo.SeedBrokers(cluster.Bootstrap()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			base := time.Now().Add(-time.Hour).Truncate(time.Second)
			for partition, records := range []int{0, 3, 5, 5, 5, 5} {
				for i := range records {
					r := &kgo.Record{Topic: topic, Partition: int32(partition), Timestamp: base.Add(time.Duration(i) * time.Second), Value: []byte("x")}
					if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
						t.Fatal(err)
					}
				}
			}
			for partition, before := range map[int32]int64{3: 2, 4: 4, 5: 5} {
				deleteRecords(t, client, topic, partition, before)
			}
			got, err := Of(t.Context(), cluster.Bootstrap(), connect.Options{}, []string{topic}, base.Add(3*time.Second-time.Microsecond))
			want := []Extent{
				{topic, 0, 0, 0, 0},
				{topic, 1, 0, 3, 3}, // all of it is older
				{topic, 2, 0, 3, 5},
				{topic, 3, 2, 3, 5},
				{topic, 4, 4, 4, 5},
				{topic, 5, 5, 5, 5},
			}
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("got %+v, %v; want %+v", got, err, want)
			}
			for i, cut := range []bool{false, false, false, false, true, true} {
				if got[i].Cut() != cut {
					t.Errorf("%+v: cut %t", got[i], got[i].Cut())
				}
			}
		})
	}
}

func TestOfNothing(t *testing.T) {
	if got, err := Of(t.Context(), nil, connect.Options{}, nil, time.Now()); got != nil || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}

// TestOfRefused: what can't pass isn't asked again.
func TestOfRefused(t *testing.T) {
	cluster := testenv.Kfake(t)
	cluster.CreateTopic(t, "t", 1, nil)
	asked := 0
	cluster.ControlKey(int16(kmsg.ListOffsets), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		asked++
		res := req.ResponseKind().(*kmsg.ListOffsetsResponse)
		topic, partition := kmsg.NewListOffsetsResponseTopic(), kmsg.NewListOffsetsResponseTopicPartition()
		topic.Topic, partition.ErrorCode = "t", kerr.TopicAuthorizationFailed.Code
		if asked == 1 {
			partition.ErrorCode = kerr.NotLeaderForPartition.Code // this passes
		}
		topic.Partitions = append(topic.Partitions, partition)
		res.Topics = append(res.Topics, topic)
		return res, nil, true
	})
	if got, err := Of(t.Context(), cluster.Bootstrap(), connect.Options{}, []string{"t"}, time.Now()); !errors.Is(err, kafka.TopicAuthorizationFailed) || asked != 2 {
		t.Errorf("%v, %v after %d questions", got, err, asked)
	}
}

func deleteRecords(t *testing.T, client *kgo.Client, topic string, partition int32, before int64) {
	t.Helper()
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 10_000
	rt, rp := kmsg.NewDeleteRecordsRequestTopic(), kmsg.NewDeleteRecordsRequestTopicPartition()
	rt.Topic, rp.Partition, rp.Offset = topic, partition, before
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	for _, shard := range client.RequestSharded(t.Context(), req) {
		if shard.Err != nil {
			t.Fatal(shard.Err)
		}
		for _, answered := range shard.Resp.(*kmsg.DeleteRecordsResponse).Topics {
			if err := kerr.ErrorForCode(answered.Partitions[0].ErrorCode); err != nil {
				t.Fatal(err)
			}
		}
	}
}
