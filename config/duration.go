package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// errDuration says what a duration has to look like. It is worded to follow the refused text.
var errDuration = errors.New("want a duration such as 720h or 30d")

// parseDuration reads what [time.ParseDuration] reads, and days: "30d", "1d12h", "1.5d". Days come first and are 24
// hours each. Negative durations are refused: no setting has a use for one.
func parseDuration(text string) (time.Duration, error) {
	days, rest, found := strings.Cut(text, "d")
	if !found {
		return parseClock(text)
	}
	n, err := strconv.ParseFloat(days, 64)
	if err != nil || !plainNumber(days) {
		return 0, errDuration
	}
	nanos := n * float64(24*time.Hour)
	if nanos >= math.MaxInt64 {
		return 0, errors.New("want at most 106751d")
	}
	whole := time.Duration(nanos)
	if rest == "" {
		return whole, nil
	}
	clock, err := parseClock(rest)
	if err != nil {
		return 0, err
	}
	if whole > math.MaxInt64-clock {
		return 0, errors.New("want at most 106751d")
	}
	return whole + clock, nil
}

func parseClock(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, errDuration
	}
	if d < 0 {
		return 0, errors.New("want a duration that isn't negative, such as 720h or 30d")
	}
	return d, nil
}

// plainNumber keeps out what ParseFloat reads beside decimal numbers: signs, exponents, hexadecimal, "inf".
func plainNumber(text string) bool {
	return text != "" && strings.Trim(text, "0123456789.") == ""
}

// formatDuration writes d so that parseDuration reads it back: below two minutes in seconds, as settings usually have
// them ("90s"), and without the zero units that Duration.String appends ("720h").
func formatDuration(d time.Duration) string {
	if d >= time.Second && d < 2*time.Minute && d%time.Second == 0 {
		return strconv.Itoa(int(d/time.Second)) + "s"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	if text == "0s" {
		return "0"
	}
	return text
}

// Retention is how long a topic keeps records; [Unlimited] is for ever.
type Retention time.Duration

// Unlimited is the retention of a topic whose records are never deleted for their age. As Kafka's own retention.ms
// (topic configuration reference), for ever is -1.
const Unlimited Retention = -1

// minRetention keeps out the slip of a bare unit ("30s" for "30d"), which would have Kafka delete events unread.
const minRetention = time.Minute

// UnmarshalText reads a duration of at least a minute, or "unlimited", or "-1".
func (r *Retention) UnmarshalText(text []byte) error {
	if s := string(text); s == "unlimited" || s == "-1" {
		*r = Unlimited
		return nil
	}
	d, err := parseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%w, or unlimited", err)
	}
	if d < minRetention {
		return fmt.Errorf("want at least %s, or unlimited", formatDuration(minRetention))
	}
	*r = Retention(d)
	return nil
}

// String writes the retention so that UnmarshalText reads it back.
func (r Retention) String() string {
	if r == Unlimited {
		return "unlimited"
	}
	return formatDuration(time.Duration(r))
}

// shorterThan compares with a duration; for ever is longer than any.
func (r Retention) shorterThan(d time.Duration) bool {
	return r != Unlimited && time.Duration(r) < d
}
