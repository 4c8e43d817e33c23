package dedupe

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// WhenDown says what a claim is worth while Redis can't be asked.
type WhenDown int

const (
	// Open publishes anyway: such a claim is [Skipped]. Another instance may publish the same delivery.
	Open WhenDown = iota
	// Closed refuses with [ErrUnavailable].
	Closed
)

// ParseWhenDown reads "open" or "closed".
func ParseWhenDown(s string) (WhenDown, error) {
	switch s {
	case "open":
		return Open, nil
	case "closed":
		return Closed, nil
	}
	return 0, fmt.Errorf("behaviour %q while redis is away is unknown: use open or closed", s)
}

// String is the inverse of [ParseWhenDown].
func (w WhenDown) String() string {
	if w == Closed {
		return "closed"
	}
	return "open"
}

// Options is what [New] needs. Zero durations and counts mean the default.
type Options struct {
	// URL says where Redis is, in the syntax of the package comment. Required.
	URL string
	// Password, if not empty, replaces the URL's password of the Redis servers (not the Sentinels').
	Password string
	// Instance names this instance among those that share the Redis, and is the same after a restart. Required: up
	// to 64 letters, digits, dots, dashes and underscores.
	Instance string
	// Succeeds says that no other process goes by this instance's name, and that whatever its earlier processes have
	// sent is told to [Deduper.Remember]. Then their other claims are nobody's and needn't be waited for.
	Succeeds bool
	// Prefix begins every key; default "slu:". Every byte is paid for per key.
	Prefix string

	// Lease is how long a claim keeps others away if its holder dies; default 60 s. It is renewed past the half
	// until the claim is settled.
	Lease time.Duration
	// LeaseMargin is how long before its end [Claim.Live] stops trusting a lease; default a quarter of Lease. It has
	// to cover the time between that question and the broker's append.
	LeaseMargin time.Duration
	// TTL is how long a kept delivery is remembered; default 192 h, longer than the sender's 7 days of retries.
	TTL time.Duration
	// Timeout bounds one round trip to Redis, connecting included; default 150 ms.
	Timeout time.Duration
	// ClaimTimeout bounds [Deduper.Claim]; default 200 ms.
	ClaimTimeout time.Duration
	// BusyTimeout bounds it instead while Redis isn't known to be away and another one has the ID, or this process hasn't
	// come to asking yet; at least ClaimTimeout, which is the default. While Kafka is away that other one takes the time
	// until it is kept on disk.
	BusyTimeout time.Duration

	// MaxPending bounds the unsettled claims, and again the confirms and releases that wait for Redis (each master's,
	// in a cluster); default 100,000, some 70 MB when full.
	MaxPending int
	// Recent bounds the kept IDs that this process remembers itself, for when Redis is away or has lost them: the newest
	// half of it certainly. Default 100,000, about 5 MB.
	Recent int
	// WhenDown chooses between publishing twice and not accepting while Redis is away; default [Open].
	WhenDown WhenDown

	// Log may be nil.
	Log *zap.Logger
	// Registerer gets the metrics; nil leaves them unregistered.
	Registerer prometheus.Registerer
}

var instanceName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// withDefaults returns o with every zero replaced, or an error that names the field.
func (o Options) withDefaults() (Options, error) {
	if !instanceName.MatchString(o.Instance) {
		return o, fmt.Errorf("dedupe: Options.Instance %q is not 1 to 64 letters, digits, dots, dashes or underscores", o.Instance)
	}
	if o.Prefix == "" {
		o.Prefix = "slu:"
	}
	// Braces are Redis Cluster's hash tags: all keys would share one slot.
	if !plain(o.Prefix) || strings.ContainsAny(o.Prefix, "{}") {
		return o, fmt.Errorf("dedupe: Options.Prefix %q is not plain ASCII without spaces and braces", o.Prefix)
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		or    time.Duration
	}{
		{"Lease", &o.Lease, time.Minute},
		{"TTL", &o.TTL, 192 * time.Hour},
		{"Timeout", &o.Timeout, 150 * time.Millisecond},
		{"ClaimTimeout", &o.ClaimTimeout, 200 * time.Millisecond},
	} {
		if *d.value == 0 {
			*d.value = d.or
		}
		if *d.value < time.Millisecond {
			return o, fmt.Errorf("dedupe: Options.%s %v is under 1ms, the unit of Redis' expiry", d.name, *d.value)
		}
	}
	o.BusyTimeout = max(o.BusyTimeout, o.ClaimTimeout)
	if o.LeaseMargin == 0 {
		o.LeaseMargin = o.Lease / 4
	}
	switch {
	case o.LeaseMargin < 0 || o.LeaseMargin > o.Lease/2-o.Timeout:
		return o, fmt.Errorf("dedupe: Options.LeaseMargin %v leaves no time for a renewal (Timeout %v) in the second half of Lease %v",
			o.LeaseMargin, o.Timeout, o.Lease)
	case o.TTL < o.Lease:
		return o, fmt.Errorf("dedupe: Options.TTL %v is shorter than Lease %v", o.TTL, o.Lease)
	case o.MaxPending < 0 || o.Recent < 0:
		return o, fmt.Errorf("dedupe: Options.MaxPending %d and Recent %d must not be negative", o.MaxPending, o.Recent)
	case o.WhenDown != Open && o.WhenDown != Closed:
		return o, fmt.Errorf("dedupe: Options.WhenDown %d is unknown", o.WhenDown)
	}
	if o.MaxPending == 0 {
		o.MaxPending = 100_000
	}
	if o.Recent == 0 {
		o.Recent = 100_000
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return o, nil
}
