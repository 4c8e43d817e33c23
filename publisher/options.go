package publisher

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"sluice/publisher/balance"
	"sluice/publisher/connect"
)

// EventTypePlaceholder stands for the event type in [TopicOptions.Template].
const EventTypePlaceholder = "{event_type}"

// KeyMode says what a record's key is.
type KeyMode string

const (
	// KeyCustomer keys records by customer, so that one customer's events of
	// one type stay in order. Events that name nobody have no key.
	KeyCustomer KeyMode = "customer"
	// KeyEventType keys records by event type, for a single topic.
	KeyEventType KeyMode = "event_type"
)

// Options configure a [Publisher].
type Options struct {
	Brokers []string // required, host:port
	Connect connect.Options
	Topics  TopicOptions
	Key     KeyMode // default KeyCustomer
	// Spool is where batches are written down before they are sent; nil: nowhere.
	Spool *SpoolOptions
	// Kept, if not nil, is told of each message that an earlier process has left in the spool, when it is sent: it may not
	// have been marked as kept yet. It must not block.
	Kept func(Kept)
	// Book is told where messages go that are kept, and what the spool held; it has them in flight when they are given to
	// Publish. What Publish or [Message.Late] tells to be NotKept is their caller's to account for.
	Book     *balance.Book
	Log      *zap.Logger
	Registry prometheus.Registerer

	// RequestTimeout is how long a broker may wait for its replicas (default 1 s).
	RequestTimeout time.Duration
}

// TopicOptions say which topics there are and how they are created.
type TopicOptions struct {
	// Template names an event type's topic, such as "customerio_{event_type}".
	// Without the placeholder all events go to one topic.
	Template   string
	DeadLetter string
	Overflow   string // takes types whose own topic can't or mustn't be created
	// Types are those whose topics are created at the start.
	Types []string
	// Max bounds the topics that the template may lead to, counted in the cluster.
	Max int

	Create      bool          // false: never create a topic
	Partitions  int           // -1 = the broker's default
	Replication int           // -1 = the broker's default
	Retention   time.Duration // negative = for ever
	// MaxMessageBytes is the max.message.bytes of created topics. It has to
	// exceed the body limit by the record's headers.
	MaxMessageBytes int
	// Overrides replace settings for single event types.
	Overrides map[string]TopicOverride
	// DedupeTTL is only compared with the topics' retention, for a warning.
	DedupeTTL time.Duration
}

// TopicOverride replaces the settings of one event type's topic; zero values
// leave the general setting in place.
type TopicOverride struct {
	Partitions, Replication int
	Retention               time.Duration
}

func (o Options) validate() (Options, error) {
	if len(o.Brokers) == 0 {
		return o, errors.New("publisher: Options.Brokers is empty")
	}
	t := o.Topics
	for field, name := range map[string]string{"Template": t.Template, "DeadLetter": t.DeadLetter, "Overflow": t.Overflow} {
		if name == "" {
			return o, fmt.Errorf("publisher: TopicOptions.%s is empty", field)
		}
	}
	if strings.Count(t.Template, EventTypePlaceholder) > 1 {
		return o, fmt.Errorf("publisher: TopicOptions.Template %q names %s more than once", t.Template, EventTypePlaceholder)
	}
	if o.Spool != nil {
		given := *o.Spool
		o.Spool = &given
		if given.After == 0 {
			o.Spool.After = 500 * time.Millisecond
		}
		if given.MaxBytes == 0 {
			o.Spool.MaxBytes = 1 << 30
		}
	}
	if o.Key == "" {
		o.Key = KeyCustomer
	}
	if o.Book == nil {
		o.Book = new(balance.Book)
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return o, nil
}
