package dedupe

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Status is what Redis knows of an ID.
type Status string

// What Redis may know.
const (
	StatusUnknown      Status = "unknown"       // nobody has claimed it, or it has been forgotten
	StatusPending      Status = "pending"       // an instance holds a lease on it
	StatusDone         Status = "done"          // kept on its topic
	StatusDeadLettered Status = "dead_lettered" // kept on the dead-letter topic
	StatusForeign      Status = "foreign"       // the key holds what no version of sluice writes; claims ignore it
)

// Entry is the answer of [Lookup].
type Entry struct {
	Status Status
	// Instance is who holds the lease, as far as a pending value tells; else "".
	Instance string
	// Remaining is how long the key has left: of the lease while it is pending, else of the memory. 0 means that
	// Redis didn't tell, for want of permission, or that the key never expires.
	Remaining time.Duration
	// Forever tells that the key never expires. Sluice writes none such.
	Forever bool
}

// Lookup asks Redis what it knows of an ID, with commands that only read: GET and PTTL. It changes nothing, not even a
// lease, and probes nothing. Of the options it uses URL, Password, Prefix and Timeout; it takes at most four times the
// Timeout, with a connection of its own.
//
// The error wraps [ErrMisconfigured] if Redis refuses in a way that waiting doesn't cure, and [ErrUnavailable] if it
// can't be asked now. An Options.URL that can't be used is an error of neither kind.
func Lookup(ctx context.Context, options Options, id string) (Entry, error) {
	o, err := Options{
		URL: options.URL, Password: options.Password, Prefix: options.Prefix, Timeout: options.Timeout, Instance: "lookup",
	}.withDefaults()
	if err != nil {
		return Entry{}, err
	}
	client, err := newClient(o, nil)
	if err != nil {
		return Entry{}, err
	}
	defer func() { _ = client.Close() }() // whatever was asked has been answered
	ctx, cancel := context.WithTimeout(ctx, 4*o.Timeout)
	defer cancel()
	entry, err := lookup(ctx, client, Key(o.Prefix, id))
	switch why := classify(err); {
	case why == faultNone:
		return entry, nil
	case why.permanent():
		return Entry{}, fmt.Errorf("looking up an id: %w: %w", ErrMisconfigured, err)
	default:
		return Entry{}, fmt.Errorf("looking up an id: %w: %w", ErrUnavailable, err)
	}
}

func lookup(ctx context.Context, client redis.UniversalClient, key string) (Entry, error) {
	value, err := client.Get(ctx, key).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return notKnown(ctx, client)
	case classify(err) == faultWrongType:
		return Entry{Status: StatusForeign}, nil
	case err != nil:
		return Entry{}, err
	}
	entry := entryOf(value)
	switch left, err := client.PTTL(ctx, key).Result(); {
	case classify(err) == faultPermission: // sluice itself never asks, so its user needn't be allowed to
	case err != nil:
		return Entry{}, err
	case left == -2: // in units of nanoseconds, as go-redis leaves the reply's two special values
		return Entry{Status: StatusUnknown}, nil // it ended in between
	case left == -1:
		entry.Forever = true
	default:
		entry.Remaining = left
	}
	return entry, nil
}

// notKnown tells a key that isn't there from a Sentinel's nil for a master that it doesn't watch: go-redis hands both
// out as the same error, but the latter comes again with any other command.
func notKnown(ctx context.Context, client redis.UniversalClient) (Entry, error) {
	if err := client.Ping(ctx).Err(); errors.Is(err, redis.Nil) {
		return Entry{}, errNoMaster
	}
	return Entry{Status: StatusUnknown}, nil
}

// entryOf reads a key's value as a claim would that holds no lease.
func entryOf(value string) Entry {
	switch readValue(value, "") {
	case holdPending:
		return Entry{Status: StatusPending, Instance: holder(value)}
	case holdDone:
		return Entry{Status: StatusDone}
	case holdDoneDead:
		return Entry{Status: StatusDeadLettered}
	default:
		return Entry{Status: StatusForeign}
	}
}

// holder is the instance of pending:<instance>.<life>.<counter>, or "" if the value is built otherwise.
func holder(value string) string {
	rest := strings.TrimPrefix(value, valuePending)
	for range 2 { // from the end, since an instance may have dots in its name
		dot := strings.LastIndexByte(rest, '.')
		if dot < 0 {
			return ""
		}
		rest = rest[:dot]
	}
	if !instanceName.MatchString(rest) {
		return ""
	}
	return rest
}
