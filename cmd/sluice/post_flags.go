package main

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"sluice/internal/stream/httpsink"
)

// postFlags say how to post to a webhook handler.
type postFlags struct {
	SignWith    string        `placeholder:"NAME" help:"Which of the signing keys to sign posts with. The first, unless given."`
	Concurrency int           `default:"8" placeholder:"N" help:"Most posts under way; 8, unless given. Events with the same topic and key are never posted side by side."`
	Timeout     time.Duration `default:"10s" help:"How long a post waits for its answer."`
	Attempts    int           `default:"20" placeholder:"N" help:"How often an event is posted before it is given up; 20, unless given; 0: without end."`
	MaxWait     time.Duration `default:"1m" help:"Longest pause between two attempts. The first pause is half a second at most, and each next one may be twice as long."`
}

// maxPostTimeout bounds what waits for posts under way.
const maxPostTimeout = 5 * time.Minute

// check refuses what can't be meant.
func (f *postFlags) check() error {
	switch {
	case f.Concurrency < 1:
		return fmt.Errorf("--concurrency: want at least 1, got %d", f.Concurrency)
	case f.Timeout <= 0 || f.Timeout > maxPostTimeout:
		return fmt.Errorf("--timeout: want more than 0 and at most %s, got %s", maxPostTimeout, f.Timeout)
	case f.MaxWait <= 0:
		return errors.New("--max-wait: want more than 0")
	case f.Attempts < 0:
		return fmt.Errorf("--attempts: want 0 or more, got %d", f.Attempts)
	}
	return nil
}

func (f *postFlags) options(url string, log *zap.Logger) httpsink.Options {
	return httpsink.Options{
		URL: url, Concurrency: f.Concurrency, Timeout: f.Timeout, Attempts: f.Attempts, MaxWait: f.MaxWait, Log: log,
	}
}

// checkURL refuses an address that can't be posted to.
func (f *postFlags) checkURL(flag, url string) error {
	if err := f.options(url, zap.NewNop()).Check(); err != nil {
		return fmt.Errorf("%s: %w", flag, err)
	}
	return nil
}
