package group

import (
	"context"
	"fmt"
	"testing"
	"time"

	kafka "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/testenv"
)

// Members of other programs share the partitions with this one, whoever of them leads.
func TestForeignMembers(t *testing.T) {
	foreign := map[string]func(w *world, topic string){
		"franz-go": func(w *world, topic string) {
			cl, err := kgo.NewClient(kgo.SeedBrokers(w.env.Brokers()...), kgo.ConsumerGroup(w.group), kgo.ConsumeTopics(topic),
				kgo.Balancers(kgo.RoundRobinBalancer()), kgo.HeartbeatInterval(500*time.Millisecond))
			if err != nil {
				w.Fatal(err)
			}
			w.Cleanup(cl.Close)
			go func() {
				for w.Context().Err() == nil {
					cl.PollFetches(w.Context())
				}
			}()
		},
		"kafka-go": func(w *world, topic string) {
			g, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
				ID: w.group, Brokers: w.env.Brokers(), Topics: []string{topic}, HeartbeatInterval: 500 * time.Millisecond,
			})
			if err != nil {
				w.Fatal(err)
			}
			w.Cleanup(func() { _ = g.Close() })
			go func() {
				for w.Context().Err() == nil {
					if gen, err := g.Next(w.Context()); err == nil {
						gen.Start(func(ctx context.Context) { <-ctx.Done() })
					}
				}
			}()
		},
	}
	for name, join := range foreign {
		for _, first := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/first=%t", name, first), func(t *testing.T) {
				w := newWorld(t, testenv.Fake(t))
				topic := w.topic("a", 4)
				members := func(n int) {
					t.Helper()
					w.eventually(func(ctx context.Context) error {
						found, err := w.admin.DescribeGroups(ctx, w.group)
						if got := len(found[w.group].Members); err == nil && (got != n || found[w.group].State != "Stable") {
							err = fmt.Errorf("%d members, %s", got, found[w.group].State)
						}
						return err
					})
				}
				if first {
					join(w, topic)
					members(1)
				}
				k := &kept{}
				m := w.start(w.options(k, topic))
				if !first {
					members(1)
					join(w, topic)
				}
				members(2)
				w.write(topic, 4, "a", 0, 8)
				testenv.Eventually(t, testWait, func() error {
					if n := len(k.sorted()); n != 4 {
						return fmt.Errorf("got %d of 8 records", n)
					}
					return nil
				})
				m.stop()
			})
		}
	}
}
