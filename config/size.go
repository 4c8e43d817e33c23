package config

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes.
type Size int64

// unit is one way to write a power of 1024.
type unit struct {
	suffix string
	bytes  Size
}

// sizeUnits lists the largest first, and for each power the suffix that String writes first. There is no MB: half of
// the readers take it for 1,000,000 bytes and the other half for 1,048,576.
func sizeUnits() []unit {
	return []unit{
		{"GiB", 1 << 30},
		{"G", 1 << 30},
		{"MiB", 1 << 20},
		{"M", 1 << 20},
		{"KiB", 1 << 10},
		{"K", 1 << 10},
		{"k", 1 << 10},
		{"B", 1},
	}
}

var errSize = errors.New("want a size such as 8MiB, 8M or 8388608 (bytes); units are K, M, G and KiB, MiB, GiB, all powers of 1024")

// UnmarshalText reads a whole number of bytes, or of a unit: "8388608", "8MiB", "8M".
func (s *Size) UnmarshalText(text []byte) error {
	digits, factor := string(text), Size(1)
	for _, u := range sizeUnits() {
		if number, found := strings.CutSuffix(digits, u.suffix); found {
			digits, factor = strings.TrimSpace(number), u.bytes
			break
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || Size(n) > math.MaxInt64/factor {
		return errSize
	}
	*s = Size(n) * factor
	return nil
}

// String writes the size in the largest unit that divides it, so that UnmarshalText reads the same size back.
func (s Size) String() string {
	for _, u := range sizeUnits() {
		if s != 0 && s%u.bytes == 0 && u.bytes > 1 {
			return strconv.FormatInt(int64(s/u.bytes), 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(s), 10)
}
