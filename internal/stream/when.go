package stream

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ErrTime is wrapped by every error of [ParseTime].
var ErrTime = errors.New("want a time such as 2026-01-31T15:04:05Z, a date such as 2026-01-31 (its midnight in UTC), or how long ago, such as 10m, 2h or 7d")

const day = 24 * time.Hour

// ParseTime reads a time argument: RFC 3339 with a zone; a date, which is its midnight in UTC wherever the command runs,
// as record times are in UTC; or a duration, which is so long before now. Durations are those of [time.ParseDuration],
// and may begin with days: 7d, 1d12h. Errors wrap [ErrTime].
func ParseTime(text string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	ago, err := parseAgo(text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q: %w", text, ErrTime)
	}
	return now.Add(-ago).UTC(), nil
}

// errAgo says that a text is no duration; what is said to the user is [ErrTime].
var errAgo = errors.New("not a duration")

func parseAgo(text string) (ago time.Duration, err error) {
	if text == "" || strings.ContainsAny(text, "+-") {
		return 0, errAgo
	}
	if days, rest, found := strings.Cut(text, "d"); found {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil || time.Duration(n) > 100*365 {
			return 0, errAgo
		}
		ago, text = time.Duration(n)*day, rest
		if text == "" {
			return ago, nil
		}
	}
	rest, err := time.ParseDuration(text)
	if err != nil || rest > 100*365*day {
		return 0, errAgo
	}
	return ago + rest, nil
}
