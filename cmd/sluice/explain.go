package main

import (
	"errors"

	"sluice/config"
)

// explainCmd is "sluice explain".
type explainCmd struct {
	config.Config `groups:"Signature,Topics,Dedupe"`
}

// Run is not there yet.
func (explainCmd) Run() error { return errors.New("not there yet") }
