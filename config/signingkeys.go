package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// SigningKey is one webhook signing key and the name it goes by in metrics and record headers.
type SigningKey struct {
	Name string
	Key  Secret
}

// SigningKeys are the accepted keys in the order given. They print as names with masked keys: "main=****,old=****".
type SigningKeys []SigningKey

// String returns the names, each with ****.
func (k SigningKeys) String() string {
	parts := make([]string, len(k))
	for i, key := range k {
		parts[i] = key.Name + "=" + mask
	}
	return strings.Join(parts, ",")
}

// errAmbiguousKey refuses what could be read in two ways; a key misread in silence would have every request refused.
// It says nothing of the entry's text, any part of which may be secret.
var errAmbiguousKey = errors.New("what stands before '=' isn't a name (1 to 40 of A-Z a-z 0-9 . _ -); if the '=' belongs to the key, write NAME=KEY")

// UnmarshalText reads entries separated by commas or line breaks, with white space around them dropped.
//
// The first '=' of an entry ends the key's name, unless nothing but '=' follows it: that is the padding of a base64
// key. So a key may contain '=' anywhere if a name is given, and at its end in any case. A key without a name is called
// key1, key2 and so on, after its place among the entries. A key consists of printable ASCII without spaces.
//
// Errors name an entry by its place and never repeat its text.
func (k *SigningKeys) UnmarshalText(text []byte) error {
	var keys SigningKeys
	var problems []error
	places := make(map[string]int)
	place := 0
	for entry := range strings.FieldsFuncSeq(string(text), func(r rune) bool { return r == ',' || r == '\n' || r == '\r' }) {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		place++
		key, err := parseSigningKey(entry, place)
		if err != nil {
			problems = append(problems, fmt.Errorf("entry %d: %w", place, err))
			continue
		}
		if first, taken := places[key.Name]; taken {
			problems = append(problems, fmt.Errorf("entries %d and %d are both named %s", first, place, key.Name))
			continue
		}
		places[key.Name] = place
		keys = append(keys, key)
	}
	if err := joinProblems(problems); err != nil {
		return err
	}
	*k = keys
	return nil
}

// keyNamePattern bounds what may become a metric label and a part of ce_source.
var keyNamePattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,40}$`)

func parseSigningKey(entry string, place int) (SigningKey, error) {
	name, key := fmt.Sprintf("key%d", place), entry
	if before, after, found := strings.Cut(entry, "="); found && strings.Trim(after, "=") != "" {
		name, key = strings.TrimSpace(before), strings.TrimSpace(after)
		if !keyNamePattern.MatchString(name) {
			return SigningKey{}, errAmbiguousKey
		}
	} else if found && keyNamePattern.MatchString(before) && after == "" && len(before) < minPaddedKey {
		return SigningKey{}, errors.New("no key follows the name")
	}
	for _, r := range key {
		if r <= ' ' || r > '~' {
			return SigningKey{}, errors.New("the key has a space, a control character or a character outside ASCII in it")
		}
	}
	return SigningKey{Name: name, Key: NewSecret(key)}, nil
}

// minPaddedKey tells "main=", a name whose key is missing, from a base64 key with its padding: no key is that short.
const minPaddedKey = 16
