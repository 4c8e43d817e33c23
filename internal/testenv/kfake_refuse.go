package testenv

import (
	"cmp"
	"slices"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// notEnoughReplicas is a refusal that may pass.
const notEnoughReplicas = 19

// RefuseProduce answers produce requests with the error codes that code tells of their topics; one whose topics all get 0
// goes on to the cluster, and in the others those that get 0 are refused in a way that may pass.
func (c *FakeCluster) RefuseProduce(code func(topic string) int16) {
	c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		topics := req.(*kmsg.ProduceRequest).Topics
		if !slices.ContainsFunc(topics, func(t kmsg.ProduceRequestTopic) bool { return code(t.Topic) != 0 }) {
			return nil, nil, false
		}
		res := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, t := range topics {
			topic := kmsg.NewProduceResponseTopic()
			topic.Topic = t.Topic
			for _, p := range t.Partitions {
				partition := kmsg.NewProduceResponseTopicPartition()
				partition.Partition, partition.ErrorCode = p.Partition, cmp.Or(code(t.Topic), notEnoughReplicas)
				topic.Partitions = append(topic.Partitions, partition)
			}
			res.Topics = append(res.Topics, topic)
		}
		return res, nil, true
	})
}

// Outage makes the cluster refuse every batch while it is on, in a way that may pass.
func (c *FakeCluster) Outage() (on *atomic.Bool) {
	on = &atomic.Bool{}
	c.RefuseProduce(func(string) int16 {
		if on.Load() {
			return notEnoughReplicas
		}
		return 0
	})
	return on
}
