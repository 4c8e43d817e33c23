package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"go.uber.org/zap"

	"sluice/config"
	"sluice/dedupe"
)

// explainCmd is "sluice explain".
type explainCmd struct {
	config.Config `groups:"Signature,Topics,Dedupe"`

	From    string   `arg:"" name:"file" help:"The body, byte for byte, or what --curl and --http say; - for standard input."`
	Header  []string `short:"H" sep:"none" placeholder:"NAME:VALUE" help:"A header of the request. May be given several times."`
	Curl    bool     `xor:"form" help:"FILE holds a curl command line."`
	RawHTTP bool     `name:"http" xor:"form" help:"FILE holds a raw HTTP request."`
	At      string   `placeholder:"TIME" help:"Judge the timestamp as of this time, in RFC 3339 or Unix seconds, not as of now."`
	Offline bool     `help:"Don't ask Redis whether the event is known."`
	Output  string   `short:"o" enum:"text,json" default:"text" placeholder:"text|json" help:"Format: text for people, or JSON for programs."`
}

// Help says what it is for and shows how it is used.
func (explainCmd) Help() string {
	return `It takes a request apart as serve would, and says what its signature lacks, which event it is, where its record would go and whether Redis knows it. Nothing is written anywhere, and Kafka isn't asked. The exit code is 0 if the request would be answered 200, and 1 if it would be refused.

Examples:

    # Why is this request refused? Paste the command that sends it:
    pbpaste | sluice explain --curl -

    # A body kept in a file, with its headers, as of the time it was sent:
    sluice explain body.json -H "X-CIO-Timestamp: 1767225600" -H "X-CIO-Signature: d075…" --at 2026-01-01T00:00:05Z`
}

// Validate refuses flags that can't be read.
func (c *explainCmd) Validate() error {
	for _, text := range c.Header {
		if name, _, found := strings.Cut(text, ":"); !found || strings.TrimSpace(name) == "" {
			return errors.New("--header must be \"Name: value\"")
		}
	}
	_, err := c.now()
	return err
}

// now is the time to judge by.
func (c *explainCmd) now() (time.Time, error) {
	if c.At == "" {
		return time.Now(), nil
	}
	if seconds, err := strconv.ParseInt(c.At, 10, 64); err == nil {
		return time.Unix(seconds, 0), nil
	}
	at, err := time.Parse(time.RFC3339Nano, c.At)
	if err != nil {
		return time.Time{}, errors.New("--at must be a time such as 2026-01-01T00:00:00Z, or Unix seconds")
	}
	return at, nil
}

// errRefused is how a request that wouldn't be answered 200 becomes the exit code.
var errRefused = errors.New("the request would be refused")

// Run explains one request.
func (c *explainCmd) Run(ctx context.Context, parsed *kong.Context, p *process) error {
	if _, err := config.Load(&c.Config, config.SourcesOf(parsed, p.environ)); err != nil {
		return err
	}
	dedupe.RouteClientLog(zap.NewNop()) // what matters of it is in the error
	r, err := c.readRequest(p)
	if err != nil {
		return err
	}
	e, err := c.explain(ctx, r)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		err = writeExplanationJSON(p.stdout, e)
	} else {
		err = writeExplanation(p.stdout, e, explainPaint(p.stdout, p.environ))
	}
	if err != nil {
		return fmt.Errorf("writing the explanation: %w", err)
	}
	if e.Verdict.Code != http.StatusOK {
		return fmt.Errorf("%w: %d", errRefused, e.Verdict.Code)
	}
	return nil
}
