package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// parse reads text into the field, whatever source it comes from, and checks the bounds of the field's tags. Errors are
// worded to follow the setting's name and text: "want …". After an error the value is not changed.
func (f *field) parse(text string) error {
	fresh := reflect.New(f.value.Type()).Elem()
	if err := parseValue(fresh, text); err != nil {
		return err
	}
	if f.OneOf != nil {
		// Kafka writes SCRAM-SHA-512 and many a logger INFO: letter case decides nothing.
		i := slices.IndexFunc(f.OneOf, func(word string) bool { return strings.EqualFold(word, text) })
		if i < 0 {
			return errors.New("want " + wordList(f.OneOf))
		}
		fresh.SetString(f.OneOf[i])
	}
	if below, err := compare(fresh, f.min); err != nil || below < 0 {
		return errors.New("want " + f.bounds())
	}
	if above, err := compare(fresh, f.max); err != nil || (f.max != "" && above > 0) {
		return errors.New("want " + f.bounds())
	}
	f.value.Set(fresh)
	return nil
}

// parseValue covers the types that fields of Config have. It panics on any other: a field of a new type needs a case
// here or an UnmarshalText, and every test of Load shows that at once.
func parseValue(into reflect.Value, text string) error {
	var err error
	switch p := into.Addr().Interface().(type) {
	case encoding.TextUnmarshaler:
		return p.UnmarshalText([]byte(text))
	case *string:
		*p = text
	case *bool:
		if *p, err = strconv.ParseBool(text); err != nil {
			return errors.New("want true or false")
		}
	case *int:
		if *p, err = strconv.Atoi(text); err != nil {
			return errors.New("want a whole number")
		}
	case *time.Duration:
		*p, err = parseDuration(text)
		return err
	case *[]string:
		for entry := range strings.SplitSeq(text, ",") {
			if entry = strings.TrimSpace(entry); entry != "" {
				*p = append(*p, entry)
			}
		}
	default:
		panic(fmt.Sprintf("config: no way to read a %s", into.Type()))
	}
	return nil
}

// compare returns the sign of value minus bound, and 0 without a bound.
func compare(value reflect.Value, bound string) (int, error) {
	if bound == "" {
		return 0, nil
	}
	limit := reflect.New(value.Type()).Elem()
	if err := parseValue(limit, bound); err != nil {
		return 0, fmt.Errorf("reading the bound %q: %w", bound, err)
	}
	switch a, b := value.Int(), limit.Int(); {
	case a < b:
		return -1, nil
	case a > b:
		return 1, nil
	}
	return 0, nil
}

// formatValue writes a field's value so that parse reads it back, except that secrets are masked.
func formatValue(v reflect.Value) string {
	switch value := v.Interface().(type) {
	case time.Duration:
		return formatDuration(value)
	case []string:
		return strings.Join(value, ",")
	default:
		return fmt.Sprint(value)
	}
}

// maskedText is how a text that was given for the setting may be repeated in a message: as it is, or masked where the
// setting may hold a secret.
func (f *field) maskedText(text string) string {
	switch f.pointer().(type) {
	case *Secret, *SigningKeys:
		if text != "" {
			return mask
		}
	case *URL:
		return maskURL(text)
	}
	return text
}

// wordList joins as English does: "a, b or c". The empty text is named last.
func wordList(words []string) string {
	var named []string
	for _, word := range words {
		if word != "" {
			named = append(named, word)
		}
	}
	if len(named) < len(words) {
		named = append(named, "nothing")
	}
	if len(named) == 1 {
		return named[0]
	}
	last := len(named) - 1
	return strings.Join(named[:last], ", ") + " or " + named[last]
}
