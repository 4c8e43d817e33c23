package main

import (
	"errors"
	"strconv"
	"strings"
)

// share is a part of a whole, from 0 to 1.
type share float64

var errShare = errors.New("want a share such as 0.1 or 10%, from 0 to 1")

// UnmarshalText reads "0.1" and "10%".
func (s *share) UnmarshalText(text []byte) error {
	number, percent := strings.CutSuffix(string(text), "%")
	n, err := strconv.ParseFloat(number, 64)
	if percent {
		n /= 100
	}
	if err != nil || !(n >= 0 && n <= 1) { // not a number neither
		return errShare
	}
	*s = share(n)
	return nil
}
