package config

import (
	"fmt"
	"strings"
)

// InvalidError says all that is wrong with the configuration. Nothing should be started with it: the user has to
// change something first. Its texts hold no secrets.
type InvalidError struct {
	// Problems has one line for each, naming the setting as the user gave it and saying what would be right.
	Problems []string
}

// Error lists the problems, one a line when there are several.
func (e *InvalidError) Error() string {
	if len(e.Problems) == 1 {
		return "invalid configuration: " + e.Problems[0]
	}
	return fmt.Sprintf("invalid configuration, %d problems:\n  - %s", len(e.Problems), strings.Join(e.Problems, "\n  - "))
}

// problemList is several problems of one value.
type problemList []error

func (l problemList) Error() string {
	texts := make([]string, len(l))
	for i, err := range l {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (l problemList) Unwrap() []error { return l }

// joinProblems returns nil for none, and one error for all otherwise.
func joinProblems(problems []error) error {
	if len(problems) == 0 {
		return nil
	}
	return problemList(problems)
}
