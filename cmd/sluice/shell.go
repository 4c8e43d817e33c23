package main

import (
	"net/url"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// commandLine quotes arguments for a shell, but for the values of flags that name a secret, and passwords in URLs.
func commandLine(args []string) string {
	line := []string{"sluice"}
	secret := false
	for _, arg := range args {
		name, value, joined := strings.Cut(arg, "=")
		switch names := strings.HasSuffix(name, "password") || strings.HasPrefix(name, "--signing-key"); {
		case secret:
			arg, secret = "...", false
		case names && joined:
			arg = name + "=..."
		case names:
			secret = true
		case joined && strings.HasPrefix(name, "-"):
			arg = name + "=" + withoutPassword(value)
		default:
			arg = withoutPassword(arg)
		}
		line = append(line, shellWord(arg))
	}
	return strings.Join(line, " ")
}

// withoutPassword makes the password in a URL unreadable; other text stays as it is.
func withoutPassword(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	if _, has := u.User.Password(); !has {
		return text
	}
	return u.Redacted()
}

// shellWord quotes a word for a shell, if it needs that.
func shellWord(word string) string {
	quoted, err := syntax.Quote(word, syntax.LangBash)
	if err != nil {
		return word // a NUL, which no shell takes
	}
	return quoted
}

// fileName makes a text fit for a part of a file's name.
func fileName(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r == '-' || r == '.' || r == '_' {
			return r
		}
		return '_'
	}, headOf(text, 100))
}
