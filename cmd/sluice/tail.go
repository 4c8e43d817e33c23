package main

import (
	"errors"

	"sluice/config"
)

// tailCmd is "sluice tail".
type tailCmd struct {
	config.Config `groups:"Kafka,Topics"`
}

// Run is not there yet.
func (tailCmd) Run() error { return errors.New("not there yet") }
