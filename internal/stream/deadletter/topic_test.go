package deadletter

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"go.uber.org/zap/zaptest"

	"sluice/internal/stream"
	"sluice/internal/testenv"
)

func open(t *testing.T, fake *testenv.FakeCluster) *Topic {
	t.Helper()
	topic, err := New(Options{Brokers: fake.Bootstrap(), Topic: "dead", Log: zaptest.NewLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(topic.Close)
	return topic
}

func TestKeep(t *testing.T) {
	fake := testenv.Kfake(t)
	fake.CreateTopic(t, "dead", 3, nil)
	topic := open(t, fake)
	headers := []stream.Header{{Key: "a", Value: []byte{0, 255}}, {Key: "none"}, {Key: "a", Value: []byte("again")}}
	var callers sync.WaitGroup
	for i := range 20 {
		callers.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			r := &stream.Record{Key: fmt.Append(nil, "k", i%4), Value: fmt.Append(nil, i)}
			if err := topic.Keep(ctx, r, headers); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	records := fake.Consume(t, "dead")
	partitions := make(map[string]int32)
	var values []string
	for _, r := range records {
		values = append(values, string(r.Value))
		want := []testenv.Header{{Name: "a", Value: []byte{0, 255}}, {Name: "none"}, {Name: "a", Value: []byte("again")}}
		if !reflect.DeepEqual(r.Headers, want) {
			t.Fatalf("headers %q", r.Headers)
		}
		if at, seen := partitions[string(r.Key)]; seen && at != r.Partition {
			t.Errorf("key %s is in two partitions", r.Key)
		}
		partitions[string(r.Key)] = r.Partition
	}
	if slices.Sort(values); len(slices.Compact(values)) != 20 || len(records) != 20 {
		t.Errorf("%d records: %q", len(records), values)
	}
}

// A topic that isn't there is waited for, until the caller has enough.
func TestKeepWaits(t *testing.T) {
	fake := testenv.Kfake(t)
	topic := open(t, fake)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := topic.Keep(ctx, &stream.Record{}, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without the topic: %v", err)
	}
	fake.CreateTopic(t, "dead", 1, nil)
	if err := topic.Keep(t.Context(), &stream.Record{}, nil); err != nil {
		t.Error(err)
	}
}

// What the topic refuses for good is an error: the record must not count as kept.
func TestKeepRefused(t *testing.T) {
	fake := testenv.Kfake(t)
	fake.CreateTopic(t, "dead", 1, nil)
	fake.RefuseProduce(func(string) int16 { return kerr.MessageTooLarge.Code })
	err := open(t, fake).Keep(t.Context(), &stream.Record{Value: []byte("large")}, nil)
	if err == nil || !strings.Contains(err.Error(), "keeping it on dead: ") {
		t.Errorf("kept: %v", err)
	}
}
