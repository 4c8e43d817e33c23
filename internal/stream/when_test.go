package stream

import (
	"errors"
	"testing"
	"time"
)

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.FixedZone("east", 3*60*60))
	for text, want := range map[string]string{
		"2026-01-31T15:04:05Z":          "2026-01-31T15:04:05Z",
		"2026-01-31T15:04:05.678+02:00": "2026-01-31T13:04:05.678Z",
		"2026-01-31":                    "2026-01-31T00:00:00Z",
		"10m":                           "2026-03-10T08:50:00Z",
		"2h":                            "2026-03-10T07:00:00Z",
		"1h30m":                         "2026-03-10T07:30:00Z",
		"7d":                            "2026-03-03T09:00:00Z",
		"1d12h":                         "2026-03-08T21:00:00Z",
		"0s":                            "2026-03-10T09:00:00Z",
	} {
		got, err := ParseTime(text, now)
		if err != nil || got.Format(time.RFC3339Nano) != want {
			t.Errorf("%q: %s, %v; want %s", text, got.Format(time.RFC3339Nano), err, want)
		}
	}
	for _, text := range []string{
		"", "yesterday", "-10m", "+1h", "10", "d", "-7d", "7d-1h", "1.5d", "2026-01-31T15:04:05", "2026-02-30", "2026-01-31 15:04:05Z",
		"99999999d", "2562047h48m", "1e3s",
	} {
		if got, err := ParseTime(text, now); !errors.Is(err, ErrTime) {
			t.Errorf("%q: %s, %v; want ErrTime", text, got, err)
		}
	}
}
