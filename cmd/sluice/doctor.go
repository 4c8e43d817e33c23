package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/alecthomas/kong"

	"sluice/config"
	"sluice/publisher/balance"
)

// doctorCmd is "sluice doctor".
type doctorCmd struct {
	config.Config `groups:"HTTP"`
	Ready         bool `help:"Say nothing; only exit with 0 if webhooks are answered, else 1. For health checks."`
}

// Help says what it is for and shows how it is used.
func (doctorCmd) Help() string {
	return `It asks the admin port of the instance that runs with the same settings. An instance is ready also while Kafka or Redis is away: it answers either way, and what it depends on is listed.

Examples:

    # How is the instance on this machine?
    sluice doctor

    # As a container's health check:
    sluice doctor --ready`
}

// doctorTimeout bounds a question to an instance.
const doctorTimeout = 2 * time.Second

// Run asks the instance and fails unless it is ready.
func (c *doctorCmd) Run(ctx context.Context, parsed *kong.Context, p *process) error {
	if _, err := config.Load(&c.Config, config.SourcesOf(parsed, p.environ)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	health, err := askHealth(ctx, c.AdminListen)
	if err != nil {
		return fmt.Errorf("no answer from an instance at %s: %w\nIs it running, with this SLUICE_ADMIN_LISTEN?", c.AdminListen, err)
	}
	if !c.Ready {
		health.print(p.stdout)
	}
	if health.State != "ready" {
		return fmt.Errorf("the instance is %s and answers no webhooks", health.State)
	}
	return nil
}

// instanceHealth is what /readyz says.
type instanceHealth struct {
	State        string `json:"state"`
	Dependencies []struct {
		Name   string     `json:"name"`
		Up     bool       `json:"up"`
		Since  *time.Time `json:"since"`
		Detail string     `json:"detail"`
	} `json:"dependencies"`
	Balance *balance.Balance `json:"balance"` // nil: a version that doesn't tell
}

// askHealth asks the instance whose admin port listens at address, which may be that of every interface.
func askHealth(ctx context.Context, address string) (h instanceHealth, err error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return h, err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", http.NoBody)
	if err != nil {
		return h, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return h, err
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&h); err != nil || h.State == "" {
		return h, fmt.Errorf("HTTP %d, and not the answer of sluice", res.StatusCode)
	}
	return h, nil
}

func (h instanceHealth) print(w io.Writer) {
	fmt.Fprintf(w, "sluice  %s\n", h.State)
	for _, d := range h.Dependencies {
		word := "up"
		if !d.Up {
			word = "away"
		}
		if d.Since != nil {
			word += " since " + d.Since.Format(time.RFC3339)
		}
		if d.Detail != "" {
			word += ": " + d.Detail
		}
		fmt.Fprintf(w, "%-6s  %s\n", d.Name, word)
	}
	if h.Balance != nil {
		fmt.Fprintf(w, "events  %s\n", h.Balance)
	}
}
