package main

import (
	"github.com/alecthomas/kong"
	kongcompletion "github.com/jotaen/kong-completion"
	"github.com/posener/complete"

	"sluice/event"
)

// completionCmd is "sluice completion".
type completionCmd struct {
	kongcompletion.Completion
}

// Help says what it is for and shows how it is used.
func (completionCmd) Help() string {
	return `It prints what to put into the shell's startup file; with --code, what that line loads. Without a shell it takes the login shell.

Examples:

    # What do I put into ~/.zshrc?
    sluice completion zsh

    # For this session of bash:
    eval "$(sluice completion --code bash)"`
}

// completed answers a shell that asks for the rest of a command line, and reports whether one did.
func completed(parser *kong.Kong) (asked bool) {
	names := []string{"dead-letter"}
	for _, t := range event.Known() {
		names = append(names, t.Name)
	}
	kongcompletion.Register(parser, kongcompletion.WithPredictor("event-type", complete.PredictSet(names...)),
		kongcompletion.WithExitFunc(func(int) { asked = true }))
	return asked
}
