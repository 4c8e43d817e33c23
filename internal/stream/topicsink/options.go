package topicsink

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	kafka "github.com/segmentio/kafka-go"
	"go.uber.org/zap"

	"sluice/internal/stream"
	"sluice/publisher/connect"
)

// Options configure a [Sink].
type Options struct {
	Brokers []string // required, host:port
	Connect connect.Options

	// Journal is the folder of the journal, which belongs to one checkpoint; "": none, and then what a kill interrupts
	// can't be gone on with.
	Journal string
	// State is what [Sink.State] of an earlier process has returned, and was saved; nil begins anew, in place of what the
	// folder may hold.
	State json.RawMessage

	// Topic names the topic that a record goes to; required. Its errors end the flow.
	Topic func(*stream.Record) (string, error)
	// Headers replaces a record's headers; nil: they stay as they are.
	Headers func(*stream.Record) []stream.Header
	// Ensure returns when the topic exists, or says why it can't; nil: it has to be there. It is asked once a topic, and
	// tells the topic's max.message.bytes, 0 if that isn't known.
	Ensure func(ctx context.Context, topic string) (maxMessageBytes int, err error)

	Log      *zap.Logger // required
	Registry prometheus.Registerer

	// Patience is how long brokers may take to answer at the start, and to show a topic (default 5 s). Later they are
	// waited for without end.
	Patience time.Duration
	// MaxRecords and MaxBytes bound what is under way (default 32768 and 8 MiB); a single larger record is let through.
	MaxRecords int
	MaxBytes   int

	// transport stands between the producer and Kafka, for tests.
	transport func(kafka.RoundTripper) kafka.RoundTripper
}

func (o Options) withDefaults() (Options, error) {
	switch {
	case len(o.Brokers) == 0:
		return o, errors.New("topicsink: Options.Brokers is empty")
	case o.Topic == nil:
		return o, errors.New("topicsink: Options.Topic is nil")
	case o.Log == nil:
		return o, errors.New("topicsink: Options.Log is nil")
	case o.State != nil && o.Journal == "":
		return o, errors.New("topicsink: Options.State needs Options.Journal")
	}
	if o.Headers == nil {
		o.Headers = func(r *stream.Record) []stream.Header { return r.Headers }
	}
	if o.Patience == 0 {
		o.Patience = 5 * time.Second
	}
	if o.MaxRecords == 0 {
		o.MaxRecords = 32 << 10
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 8 << 20
	}
	return o, nil
}
