package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"sluice/internal/stream"
	"sluice/internal/stream/filesink"
)

// targets are the flags of which one says where the records go, and whether they are given.
func (c *replayCmd) targets() (given []string) {
	for _, t := range []struct {
		flag string
		is   bool
	}{
		{"--to-file", c.ToFile != ""}, {"--to-topic", c.ToTopic != ""}, {"--to-http", c.ToHTTP != ""}, {"--reroute", c.Reroute},
	} {
		if t.is {
			given = append(given, t.flag)
		}
	}
	return given
}

// checkTarget refuses none, several, and what a target has no use for.
func (c *replayCmd) checkTarget() error {
	given := c.targets()
	switch {
	case len(given) > 1:
		return fmt.Errorf("%s exclude each other: a replay has one target", strings.Join(given, " and "))
	case len(given) == 0 && !c.DryRun:
		return errors.New("where to? Give one of --to-file, --to-topic, --to-http and --reroute, or --dry-run")
	case c.ToHTTP == "" && c.Posts.SignWith != "":
		return errors.New("--sign-with is for --to-http")
	case c.ToFile != "" && c.ReplayID != "":
		return errors.New("--replay-id is for headers, which --to-file doesn't add")
	case c.Reroute && (len(c.types()) != 1 || c.types()[0] != deadLetterArgument || c.Unknown):
		return errors.New("--reroute is for dead letters: name no other types")
	}
	if c.ToHTTP != "" {
		return errors.Join(c.Posts.check(), c.Posts.checkURL("--to-http", c.ToHTTP))
	}
	return nil
}

// resumable reports whether there can be a checkpoint.
func (c *replayCmd) resumable() bool { return !c.DryRun && c.ToFile != "-" }

// defaultCheckpoint is beside the target, or named after it in the current folder.
func (c *replayCmd) defaultCheckpoint() string {
	const ending = ".checkpoint"
	switch {
	case c.Checkpoint != "":
		return c.Checkpoint
	case c.ToFile != "":
		return c.ToFile + ending
	case c.ToTopic != "":
		return "replay-to-" + fileName(c.ToTopic) + ending
	case c.ToHTTP != "":
		name := c.ToHTTP
		if u, err := url.Parse(c.ToHTTP); err == nil { // without what may be secret
			name = u.Host + u.Path
		}
		return "replay-to-" + fileName(name) + ending
	}
	return "replay-reroute" + ending
}

// fileName is a text as part of a file's name.
func fileName(text string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		if r < 0x80 && (r == '-' || r == '_' || r == '.' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z') {
			return r
		}
		return '-'
	}, text), "-")
}

// open opens the target: anew, or going on from the state.
func (r *replay) open(ctx context.Context) (stream.Sink, error) {
	switch {
	case r.c.ToFile == "-":
		return filesink.NewStream(r.p.stdout), nil
	case r.c.ToFile != "":
		return r.openFile()
	case r.c.ToTopic != "":
		return r.openTopic(ctx)
	case r.c.Reroute:
		return r.openReroute(ctx)
	case r.c.ToHTTP != "":
		return r.openHTTP(ctx)
	}
	return nil, errors.New("no target")
}

// openFile creates the file, or goes on with it. One that was created right before the process was killed is empty, and
// the checkpoint doesn't know of it.
func (r *replay) openFile() (stream.Sink, error) {
	if r.state.Sink != nil {
		file, err := filesink.Open(r.c.ToFile, r.state.Sink)
		if err != nil {
			return nil, fmt.Errorf("%w; begin anew without --resume", err)
		}
		return file, nil
	}
	if info, err := os.Stat(r.c.ToFile); err == nil && r.c.Resume && info.Mode().IsRegular() && info.Size() == 0 {
		return filesink.Open(r.c.ToFile, []byte(`{"bytes":0}`))
	}
	file, err := filesink.Create(r.c.ToFile)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("%s is there already: name a new file, or delete it", r.c.ToFile)
	}
	return file, err
}
