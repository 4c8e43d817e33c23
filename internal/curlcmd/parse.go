package curlcmd

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Options are what a command line may need from outside.
type Options struct {
	// ReadFile reads a file that the command line names; required only if it
	// names one.
	ReadFile func(name string) ([]byte, error)
}

var errNoFiles = errors.New("files aren't read here")

func (o Options) readFile(name string) ([]byte, error) {
	if o.ReadFile == nil {
		return nil, fmt.Errorf("reading %q: %w", name, errNoFiles)
	}
	data, err := o.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading a file of the command: %w", err)
	}
	return data, nil
}

// Parse reads the one curl command in text. What stands before it may set
// variables; what else the script does is ignored.
func Parse(text string, o Options) (*Request, error) {
	if strings.Contains(text, `^"`) || strings.Contains(text, "Invoke-WebRequest") || strings.Contains(text, "Invoke-RestMethod") {
		return nil, ErrForeignShell
	}
	command, err := readScript(text, o)
	if err != nil {
		return nil, err
	}
	l := &line{options: o, words: command.words[1:], stdin: command.stdin, header: make(http.Header)}
	if err := l.read(); err != nil {
		return nil, err
	}
	return l.request()
}
