package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"sluice/ingest"
	"sluice/internal/curlcmd"
)

// asked is the request to explain.
type asked struct {
	method, path   string // "" if only a body was given
	header         http.Header
	described      bool // headers were given, so that a missing one is missing
	body, original []byte
	notes          []string
}

// maxExplained is far above the largest body that can be let in.
const maxExplained = 64 << 20

var errExplainedTooLong = errors.New("longer than 64 MiB")

// readRequest reads FILE as the flags say.
func (c *explainCmd) readRequest(p *process) (*asked, error) {
	data, err := c.readInput(p)
	if err != nil {
		return nil, fmt.Errorf("reading the request: %w", err)
	}
	a := &asked{header: make(http.Header), body: data, described: c.Curl || c.RawHTTP || len(c.Header) > 0}
	var read *curlcmd.Request
	switch {
	case c.Curl:
		read, err = curlcmd.Parse(string(data), curlcmd.Options{ReadFile: os.ReadFile})
	case c.RawHTTP:
		read, err = curlcmd.ParseHTTP(data)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the request: %w", err)
	}
	if read != nil {
		a.take(read)
	}
	replaced := make(http.Header)
	for _, text := range c.Header {
		name, value, _ := strings.Cut(text, ":")
		replaced.Add(strings.TrimSpace(name), strings.Trim(value, " \t"))
	}
	maps.Copy(a.header, replaced)
	return a, nil
}

func (c *explainCmd) readInput(p *process) ([]byte, error) {
	from := p.stdin
	if c.From != "-" {
		file, err := os.Open(c.From)
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }() // only read
		from = file
	}
	data, err := io.ReadAll(io.LimitReader(from, maxExplained+1))
	if err == nil && len(data) > maxExplained {
		err = errExplainedTooLong
	}
	return data, err
}

// take has the request as it was written down, with notes on what serve would
// see otherwise.
func (a *asked) take(r *curlcmd.Request) {
	a.method, a.header, a.body, a.original, a.notes = r.Method, r.Header, r.Body, r.Original, r.Notes
	if len(r.Ignored) > 0 {
		a.notes = append(a.notes, "Flags that aren't known were ignored: "+legible(strings.Join(r.Ignored, " ")))
	}
	address := r.URL
	if address != "" && !strings.HasPrefix(address, "/") && !strings.Contains(address, "://") {
		address = "http://" + address
	}
	target, err := url.Parse(address)
	if err != nil || target.Host == "" && target.Path == "" {
		return
	}
	a.path = target.Path
	if !slices.Contains([]string{ingest.Path, ingest.Path + "/"}, a.path) {
		a.notes = append(a.notes, fmt.Sprintf("The path %s isn't %s: the answer is 404 unless something in front of Sluice rewrites it.", legible("/"+strings.TrimPrefix(a.path, "/")), ingest.Path))
	}
}
