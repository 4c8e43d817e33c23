package stream

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"sluice/publisher/connect"
)

// Options say what a [Reader] reads. Where it begins is Last, Since or FromStart; with none of them it gives out only
// what arrives from now on.
type Options struct {
	Brokers []string // required, host:port
	Connect connect.Options

	// Topics are read as soon as they exist. Match chooses further ones among all topics of the cluster; nil chooses
	// none, and then the cluster isn't asked for its topics.
	Topics []string
	Match  func(topic string) bool
	// Assigned are the only partitions that are read, if it isn't nil, and the offsets to begin at: [Begin], [Oldest] or the
	// next one wanted. It needs Follow; records come as they are fetched, without the merge.
	Assigned map[Partition]int64
	// Keep leaves out records for which it returns false; nil keeps all.
	Keep func(*Record) bool

	// FromStart begins with the oldest record that there is.
	FromStart bool
	// Since begins in each partition with the first record of this time or later.
	Since time.Time
	// Last begins with the last records that are kept, so many over all partitions together; with Since, at most those
	// since then. They are held in memory. 0 = no such limit.
	Last int

	// Until ends in each partition before the first record later than this. It excludes Follow.
	Until time.Time
	// Follow goes on with what arrives until the context ends, also in topics that are new. Without it the reader stops
	// at what was the end of each partition when it began.
	Follow bool

	// Placed is called for each partition of Assigned when it is known where reading begins. nil = not wanted.
	Placed func(p Partition, next int64)
	// Ready is called once, when it is known where to begin in every topic that exists. nil = not wanted.
	Ready func(topics int)
	// Idle is called when all records at hand have been given out and the reader is about to wait. An error ends Run.
	Idle func() error

	// Ahead is how many bytes of records are fetched in advance, with at least 64 KiB of each partition (default 16 MiB).
	// Twice as much is held.
	Ahead int
	Log   *zap.Logger // required; what a follower overcomes is said here

	// Patience is how long a failure may last at the start, and later unless Follow (default 5 s).
	Patience time.Duration
}

// Offsets of Options.Assigned that stand for places.
const (
	Begin  = -1 // where FromStart or Since say; with neither, what arrives from now on
	Oldest = -2
)

func (o Options) validate() (Options, error) {
	fromNow := !o.FromStart && o.Since.IsZero() && o.Last == 0
	switch {
	case len(o.Brokers) == 0:
		return o, errors.New("stream: Options.Brokers is empty")
	case len(o.Topics) == 0 && o.Match == nil:
		return o, errors.New("stream: Options.Topics and Options.Match are both empty")
	case o.Log == nil:
		return o, errors.New("stream: Options.Log is nil")
	case o.Last < 0:
		return o, fmt.Errorf("stream: Options.Last is %d", o.Last)
	case o.FromStart && !o.Since.IsZero():
		return o, errors.New("stream: Options.FromStart and Options.Since exclude each other")
	case o.Follow && !o.Until.IsZero():
		return o, errors.New("stream: Options.Follow and Options.Until exclude each other")
	case fromNow && !o.Follow:
		return o, errors.New("stream: nothing to read: Options.Follow or a place to begin is needed")
	case o.Assigned != nil && (!o.Follow || o.Last > 0):
		return o, errors.New("stream: Options.Assigned needs Follow and excludes Last")
	case o.Patience < 0:
		return o, fmt.Errorf("stream: Options.Patience is %s", o.Patience)
	case o.Ahead < 0:
		return o, fmt.Errorf("stream: Options.Ahead is %d", o.Ahead)
	}
	if o.Ahead == 0 {
		o.Ahead = 16 << 20
	}
	if o.Patience == 0 {
		o.Patience = 5 * time.Second
	}
	return o, nil
}
