package main

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// commandLine quotes arguments for a shell, but for the values of flags that name a secret.
func commandLine(args []string) string {
	line := []string{"sluice"}
	secret := false
	for _, arg := range args {
		name, _, joined := strings.Cut(arg, "=")
		switch names := strings.HasSuffix(name, "password") || strings.HasPrefix(name, "--signing-key"); {
		case secret:
			arg, secret = "...", false
		case names && joined:
			arg = name + "=..."
		case names:
			secret = true
		}
		line = append(line, shellWord(arg))
	}
	return strings.Join(line, " ")
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
