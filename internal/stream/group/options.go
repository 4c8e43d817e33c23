package group

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"sluice/internal/stream"
	"sluice/publisher/connect"
)

// Options say what to read and where to. Brokers, Group, Sink, Log, and Topics or Match are required.
type Options struct {
	Brokers []string // host:port
	Connect connect.Options
	Group   string

	// Topics are read as soon as they exist. Match chooses further ones among all topics of the cluster; nil chooses none.
	Topics []string
	Match  func(topic string) bool

	// Since and Latest say where to begin in a topic of which the group has committed nothing: with the first record of
	// that time or later, or with what arrives from now on; with neither, with the oldest record. They are for topics that
	// exist when Run begins: in others, and in partitions that are added to a topic, all records are new.
	Since  time.Time
	Latest bool

	Filters []stream.Filter
	Limit   *rate.Limiter
	// Sink makes the sink for the time between two rebalances. It is closed at its end. A sink that has a method Drain is
	// told with it to begin nothing more when the time is over; one that has a method Idle is told when all records at
	// hand were written.
	Sink func() (stream.Sink, error)
	// Count ends Run after so many records that the filters want; 0: no limit.
	Count int64
	// CaughtUp ends Run when everything in the member's partitions has been read.
	CaughtUp bool

	// Session is how long the group waits for a sign of life before it gives the member's partitions to others (default
	// 15 s; brokers take 6 s to 30 min unless told otherwise).
	Session time.Duration
	// Settle is how long the sink may take to end what is under way when a rebalance begins (default 10 s).
	Settle time.Duration

	Log *zap.Logger
}

const (
	// commitEvery is how often positions are committed.
	commitEvery = time.Second
	// beatEvery is how often the coordinator gets a sign of life, and so how soon a rebalance is noticed.
	beatEvery = time.Second
	// lookEvery is how often new topics and partitions are looked for.
	lookEvery = 2 * time.Second
	// lagEvery is the least time between two words about how far the member is behind.
	lagEvery = 30 * time.Second
	// retryGap is the pause before the member tries again to join, and patience how long it does so in silence.
	retryGap = 500 * time.Millisecond
	patience = 3 * time.Second
	// ahead is the most records of a partition that may wait for one before them: see [stream.Flow].
	ahead = 100_000
)

func (o Options) validate() (Options, error) {
	switch {
	case len(o.Brokers) == 0:
		return o, errors.New("group: Options.Brokers is empty")
	case o.Group == "":
		return o, errors.New("group: Options.Group is empty")
	case len(o.Topics) == 0 && o.Match == nil:
		return o, errors.New("group: Options.Topics and Options.Match are both empty")
	case o.Sink == nil:
		return o, errors.New("group: Options.Sink is nil")
	case o.Log == nil:
		return o, errors.New("group: Options.Log is nil")
	case o.Latest && !o.Since.IsZero():
		return o, errors.New("group: Options.Since and Options.Latest exclude each other")
	case o.Session < 0 || o.Settle < 0 || o.Count < 0:
		return o, fmt.Errorf("group: a time or number is negative: %s, %s, %d", o.Session, o.Settle, o.Count)
	}
	if o.Session == 0 {
		o.Session = 15 * time.Second
	}
	if o.Settle == 0 {
		o.Settle = 10 * time.Second
	}
	return o, nil
}

// rebalance is how long the others wait for a member that has to come back: it has to settle what is under way before.
func (o *Options) rebalance() time.Duration { return max(time.Minute, 2*o.Settle+30*time.Second) }

// drainer is a sink that can be told to begin nothing more.
type drainer interface{ Drain() }

// idler is a sink that wants to know when no record is at hand.
type idler interface{ Idle() error }
