package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// URL is the address of a server, perhaps with a password in it. It prints with the password masked, by every way that
// [Secret] does; [URL.Reveal] has the whole. The zero value is empty.
type URL struct {
	text Secret
}

// Reveal returns the URL with its password, for the one call that needs it.
func (u URL) Reveal() string { return u.text.Reveal() }

// String returns the URL with passwords as ****.
func (u URL) String() string { return maskURL(u.Reveal()) }

// GoString keeps the password out of %#v.
func (u URL) GoString() string { return fmt.Sprintf("config.URL(%q)", u.String()) }

// Format keeps the password out of every verb.
func (u URL) Format(f fmt.State, verb rune) { formatMasked(f, verb, u.String(), u.GoString()) }

// MarshalText keeps the password out of encoders that ask for text.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// MarshalJSON keeps the password out of JSON.
func (u URL) MarshalJSON() ([]byte, error) { return json.Marshal(u.String()) }

// redisSchemes are the schemes of redis-url; package dedupe gives them their meaning.
func redisSchemes() []string {
	return []string{"redis", "rediss", "unix", "redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel"}
}

// UnmarshalText checks the scheme and that something follows it. It doesn't use net/url: that refuses the several
// hosts of a cluster, and its errors repeat the password.
func (u *URL) UnmarshalText(text []byte) error {
	const want = "want a URL such as redis://user:password@host:6379/0, with one of the schemes "
	scheme, rest, found := strings.Cut(string(text), "://")
	if !found || !slices.Contains(redisSchemes(), scheme) {
		return errors.New(want + strings.Join(redisSchemes(), ", "))
	}
	if hosts := rest[strings.LastIndexByte(rest, '@')+1:]; strings.Trim(hosts, "/") == "" || strings.ContainsAny(rest, " \t\r\n") {
		return errors.New(want + strings.Join(redisSchemes(), ", ") + "; no host follows the scheme, or a space is in it")
	}
	*u = URL{text: NewSecret(string(text))}
	return nil
}

// hasPassword reports whether the URL itself brings a password for its user.
func (u URL) hasPassword() bool {
	_, rest, _ := strings.Cut(u.Reveal(), "://")
	at := strings.LastIndexByte(rest, '@')
	if at < 0 {
		return false
	}
	_, password, _ := strings.Cut(rest[:at], ":")
	return password != ""
}

// maskURL replaces what may be a password: what follows the colon before the last @ (all before it, if there is no
// colon: some write a password as the user's name), and query parameters named like one. It works on the text, so that
// it also covers what isn't a URL, and where the parts can't be told apart it masks too much rather than too little.
func maskURL(text string) string {
	if text == "" {
		return ""
	}
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		return mask
	}
	hosts, query, hasQuery := strings.Cut(rest, "?")
	if strings.Contains(query, "@") {
		// Either the password has a bare ? in it or a parameter has a bare @: both may be secret on either side.
		return scheme + "://" + mask
	}
	if at := strings.LastIndexByte(hosts, '@'); at >= 0 {
		user := mask
		if name, _, hasPassword := strings.Cut(hosts[:at], ":"); hasPassword {
			user = name + ":" + mask
		}
		hosts = user + hosts[at:]
	}
	if hasQuery {
		hosts += "?" + maskQuery(query)
	}
	return scheme + "://" + hosts
}

func maskQuery(query string) string {
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		name, _, found := strings.Cut(pair, "=")
		lower := strings.ToLower(name)
		if found && (strings.Contains(lower, "pass") || strings.Contains(lower, "secret") || strings.Contains(lower, "token")) {
			pairs[i] = name + "=" + mask
		}
	}
	return strings.Join(pairs, "&")
}
