// Package curlcmd reads an HTTP request as people write it down or copy it: a
// curl command line, or the raw text of a request.
//
// A command line is read as a POSIX shell and curl would read it, as far as
// that is needed to know the request's method, URL, headers and body byte for
// byte. Nothing is run and nothing is sent: a command substitution is an error,
// as is a variable that the text itself doesn't set, since guessing would
// change the bytes. Files are read only through [Options.ReadFile].
//
// It doesn't read the syntax of cmd.exe and PowerShell, multipart forms, or
// curl's configuration files, and knows nothing of webhooks.
package curlcmd

import (
	"errors"
	"net/http"
)

// Request is what would be sent.
type Request struct {
	Method string
	URL    string // as written, "" if there is none
	Header http.Header
	Body   []byte
	// Original is the body as its files hold it, if curl would strip line breaks
	// and zero bytes from them (-d @file does); else nil.
	Original []byte
	// Ignored are flags that aren't known, and so may matter.
	Ignored []string
	// Notes are sentences about what is odd in the text.
	Notes []string
}

// Errors of [Parse] and [ParseHTTP], beside those of the shell's syntax and of
// reading files. The texts that wrap them name the place.
var (
	// ErrNoCommand: the text holds no curl command.
	ErrNoCommand = errors.New("no curl command in the text")
	// ErrSeveral: there is more than one, and one body is wanted.
	ErrSeveral = errors.New("several requests in the text: keep one")
	// ErrForeignShell: the text is for cmd.exe or PowerShell.
	ErrForeignShell = errors.New(`the command is written for another shell: choose "Copy as cURL (bash)"`)
	// ErrSubstitution: only running something would give a part of the text.
	ErrSubstitution = errors.New("a command substitution isn't run: put its output in its place")
	// ErrUnset: a variable has no value in the text.
	ErrUnset = errors.New("the variable isn't set in the text: put its value in its place, or NAME=VALUE on a line before")
	// ErrExpansion: an expansion that is more than a variable's value.
	ErrExpansion = errors.New("this kind of expansion isn't read: put its result in its place")
	// ErrUnsupported: a flag makes a body that can't be told from the text.
	ErrUnsupported = errors.New("the body can't be told from this flag")
	// ErrNoValue: a flag stands at the end without its value.
	ErrNoValue = errors.New("the flag has no value")
	// ErrNoInput: the body is read from standard input, and the text doesn't say what that is.
	ErrNoInput = errors.New("the body comes from standard input: give it as a file or a here-document")
	// ErrNotHTTP: the text doesn't begin as an HTTP/1 request does.
	ErrNotHTTP = errors.New("no HTTP request: want a line such as POST /webhook HTTP/1.1, headers, an empty line and the body")
)
