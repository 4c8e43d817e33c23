package main

import (
	"errors"

	"sluice/config"
)

// sendCmd is "sluice send".
type sendCmd struct {
	config.Config `groups:"Signature"`
}

// Run is not there yet.
func (sendCmd) Run() error { return errors.New("not there yet") }
