package config

import (
	"encoding/json"
	"fmt"
)

// mask stands wherever a secret would be printed. Its length says nothing about the secret's.
const mask = "****"

// Secret is a text that is never printed. Only [Secret.Reveal] gives it away: fmt, encoding/json, YAML, slog and zap
// all show **** instead, or nothing for an empty secret. The zero value is the empty secret.
type Secret struct {
	// text is a pointer so that fmt, which can't call the methods of a secret in another struct's unexported field,
	// prints an address there and not the secret.
	text *string
}

// NewSecret wraps text.
func NewSecret(text string) Secret { return Secret{text: &text} }

// Reveal returns the secret itself, for the one call that needs it.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsSet reports whether the secret isn't empty.
func (s Secret) IsSet() bool { return s.Reveal() != "" }

// String returns **** for a secret that is set, else "".
func (s Secret) String() string {
	if !s.IsSet() {
		return ""
	}
	return mask
}

// GoString keeps the secret out of %#v.
func (s Secret) GoString() string { return fmt.Sprintf("config.Secret(%q)", s.String()) }

// Format keeps the secret out of every verb, also those that don't ask String, such as %d.
func (s Secret) Format(f fmt.State, verb rune) { formatMasked(f, verb, s.String(), s.GoString()) }

// MarshalText keeps the secret out of encoders that ask for text, such as YAML and slog.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalJSON keeps the secret out of JSON, which is also how zap writes structs.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// UnmarshalText takes the text as the secret. It never fails.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}

// formatMasked implements fmt.Formatter for types whose content must not be printed.
func formatMasked(f fmt.State, verb rune, text, goText string) {
	if verb == 'v' && f.Flag('#') {
		text = goText
	}
	if verb == 'q' {
		text = fmt.Sprintf("%q", text)
	}
	// A failing writer is fmt's caller's to notice; Format has no way to say so.
	_, _ = f.Write([]byte(text))
}
