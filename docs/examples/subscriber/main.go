// Command subscriber is a consumer to start from: it reads the events of some types in a consumer group of its own,
// prints a line for each, and commits only what it has handled.
//
//	KAFKA_BROKERS   host:port, separated by commas (default 127.0.0.1:9092)
//	GROUP           consumer group (default example); members with the same name share the work
//	TOPIC_PREFIX    what the topics begin with (default customerio_)
//	EVENT_TYPES     event types, separated by commas (default: all that Customer.io describes)
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	kafka "github.com/segmentio/kafka-go"

	"sluice/event"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := consume(ctx, os.Getenv, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "subscriber: %v\n", err)
		os.Exit(1)
	}
}

// consume handles events until ctx ends.
func consume(ctx context.Context, getenv func(string) string, out io.Writer) (err error) {
	setting := func(name, byDefault string) string {
		if value := getenv(name); value != "" {
			return value
		}
		return byDefault
	}
	var types []string
	for _, t := range event.Described() {
		types = append(types, t.Name)
	}
	var topics []string
	for t := range strings.SplitSeq(setting("EVENT_TYPES", strings.Join(types, ",")), ",") {
		topics = append(topics, setting("TOPIC_PREFIX", "customerio_")+t)
	}
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers:     strings.Split(setting("KAFKA_BROKERS", "127.0.0.1:9092"), ","),
		GroupID:     setting("GROUP", "example"),
		GroupTopics: topics,
		// A group that is new begins with what the topics hold already.
		StartOffset: kafka.FirstOffset,
		// Topics and partitions that come later are noticed.
		WatchPartitionChanges: true,
		MaxWait:               500 * time.Millisecond,
		ErrorLogger: kafka.LoggerFunc(func(format string, args ...any) {
			fmt.Fprintf(os.Stderr, "subscriber: "+format+"\n", args...)
		}),
	})
	defer func() { err = errors.Join(err, reader.Close()) }()

	var handled recent
	for {
		record, err := reader.FetchMessage(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading: %w", err)
		}
		// Kafka delivers at least once: after a crash, or when the group's
		// members change, a record may come again. ce_id tells. A record
		// without one isn't Sluice's; it is always handled.
		if id := header(record, "ce_id"); id == "" || handled.add(id) {
			if err := handle(record, out); err != nil {
				return fmt.Errorf("handling %s: %w", id, err)
			}
		}
		// Only what has been handled is committed, so a crash loses nothing.
		if err := reader.CommitMessages(ctx, record); err != nil && ctx.Err() == nil {
			return fmt.Errorf("committing: %w", err)
		}
	}
}

// handle is where your work goes. The record's value is the body as Customer.io sent it.
func handle(record kafka.Message, out io.Writer) error {
	// A body that can't be read has no fields. It is no reason for an error, which would stop the whole group at it.
	body, _ := event.Decode(record.Value)
	_, err := fmt.Fprintf(out, "%s  %-16s  customer %-12q  campaign %-6s  %s  %s[%d]@%d\n",
		record.Time.UTC().Format(time.TimeOnly), header(record, "event-type"), record.Key,
		cmp.Or(body.Data.CampaignID, "-"), header(record, "ce_id"), record.Topic, record.Partition, record.Offset)
	return err
}

func header(record kafka.Message, name string) string {
	for _, h := range record.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

// recent remembers the last ids of this process. A unique key in the database that handle writes to does it better: it
// outlives the process.
type recent struct {
	ids  map[string]bool
	ring [10_000]string
	next int
}

// add reports whether the id is new.
func (r *recent) add(id string) bool {
	if r.ids == nil {
		r.ids = make(map[string]bool)
	}
	if r.ids[id] {
		return false
	}
	delete(r.ids, r.ring[r.next])
	r.ring[r.next], r.ids[id] = id, true
	r.next = (r.next + 1) % len(r.ring)
	return true
}
