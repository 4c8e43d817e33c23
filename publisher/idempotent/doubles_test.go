package idempotent

import (
	"net"

	kafka "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/produce"
)

type netAddr = net.Addr

func producedTopics(res kafka.Response) (topics []string) {
	if r, ok := res.(*produce.Response); ok {
		for _, t := range r.Topics {
			topics = append(topics, t.Topic)
		}
	}
	return topics
}

func setCode(res kafka.Response, topic string, code kafka.Error) {
	r := res.(*produce.Response)
	for i := range r.Topics {
		if r.Topics[i].Topic == topic {
			r.Topics[i].Partitions[0].ErrorCode = int16(code)
		}
	}
}
