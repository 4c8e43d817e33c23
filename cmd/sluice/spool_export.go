package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"sluice/config"
	"sluice/internal/stream"
	"sluice/publisher"
	"sluice/publisher/spool"
)

// spoolExportCmd is "sluice spool export".
type spoolExportCmd struct {
	Instance, SpoolAfter, SpoolMaxBytes struct{} `kong:"-"`
	config.Config                       `groups:"Topics,Spool"`

	Instances []string `name:"instance" placeholder:"NAME" help:"Only what is in this instance's folder. May be given several times."`
	To        string   `default:"-" placeholder:"FILE" help:"File to write to, which mustn't be there yet; compressed if its name ends with .gz. -: standard output."`
}

// Help says what it is for and shows how it is used.
func (spoolExportCmd) Help() string {
	return `It writes every event that waits in the spool as a record line, as 'sluice tail -o json' does for those in Kafka: with topic, key, headers and value as they will be there, the time at which the event was kept, and -1 as partition and offset. A member "spool" says more: "may_be_in_kafka" is true for the events of a batch, which may have been sent, and false for those that never were. It changes nothing: what it writes stays in the spool and will be sent. Only if all could be read it exits with 0. Use the settings of the instances: which topic an event is for depends on them.

Examples:

    # Keep a copy of what is on the disk of an instance that doesn't start any more:
    sluice spool export --spool-dir /var/lib/sluice --instance worker-2 --to worker-2.ndjson.gz

    # The ids of the events that certainly aren't in Kafka:
    sluice spool export | jq -r 'select(.spool.may_be_in_kafka | not) | .headers.ce_id'`
}

// errNotAll ends an export that isn't whole.
var errNotAll = errors.New("not all of the spool could be read")

// Run writes and says on standard error how much that was.
func (c *spoolExportCmd) Run(ctx context.Context, parsed *kong.Context, p *process) (err error) {
	if _, err := config.Load(&c.Config, config.SourcesOf(parsed, p.environ)); err != nil {
		return err
	}
	names, err := spoolInstances(&c.Config, c.Instances)
	if err != nil {
		return err
	}
	out, end, err := c.output(p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	var all spoolTopic
	var failed error
	for _, name := range names {
		f, err := c.export(ctx, name, out)
		if f != nil {
			t := f.total()
			all.events += t.events
			all.mayBe += t.mayBe
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w: interrupted after %s events", errNotAll, count(int64(all.events)))
		}
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		for _, text := range f.unread() {
			failed = errors.Join(failed, fmt.Errorf("%w: %s: %s", errNotAll, name, text))
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing the export: %w", err)
	}
	fmt.Fprintf(p.stderr, "sluice: %s events of %s exported, %s of which may be in Kafka; they stay in the spool\n",
		count(int64(all.events)), plural(len(names), "instance"), count(int64(all.mayBe)))
	return failed
}

// output is where the lines go. end says whether all of it is there.
func (c *spoolExportCmd) output(p *process) (out *bufio.Writer, end func() error, err error) {
	if c.To == "-" {
		return bufio.NewWriterSize(p.stdout, 64<<10), func() error { return nil }, nil
	}
	file, err := os.OpenFile(c.To, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // it may be the only copy of people's data
	if err != nil {
		return nil, nil, fmt.Errorf("--to: %w", err)
	}
	var w io.Writer = file
	finish := func() error { return nil }
	if strings.HasSuffix(c.To, ".gz") {
		packed := gzip.NewWriter(file)
		w, finish = packed, packed.Close
	}
	return bufio.NewWriterSize(w, 64<<10), func() error {
		if err := errors.Join(finish(), file.Sync(), file.Close()); err != nil {
			return fmt.Errorf("writing the export: %w", err)
		}
		return nil
	}, nil
}

// export writes what is in one folder.
func (c *spoolExportCmd) export(ctx context.Context, instance string, out io.Writer) (*spoolFolder, error) {
	var line []byte
	return readSpool(&c.Config, instance, func(e spool.Entry, x *publisher.SpoolEntry) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		at, err := json.Marshal(newSpoolMember(instance, e, x))
		if err != nil {
			return fmt.Errorf("writing the export: %w", err)
		}
		for _, r := range x.Records {
			record := stream.Record{Topic: x.Topic, Partition: -1, Offset: -1, Time: e.Time, Key: r.Key, Value: r.Value}
			for _, h := range r.Headers {
				record.Headers = append(record.Headers, stream.Header{Key: h.Key, Value: []byte(h.Value)})
			}
			line = stream.AppendLine(line[:0], &record)
			line = append(append(line[:len(line)-1], `,"spool":`...), at...)
			if _, err := out.Write(append(line, "}\n"...)); err != nil {
				return fmt.Errorf("writing the export: %w", err)
			}
		}
		return nil
	})
}

// spoolMember is what a line says beyond the record: where it stands, and whether it may be in Kafka.
type spoolMember struct {
	Instance     string `json:"instance"`
	Entry        uint64 `json:"entry"`
	MayBeInKafka bool   `json:"may_be_in_kafka"`
	Partition    *int32 `json:"partition,omitempty"`
	Stamp        string `json:"stamp,omitempty"`
}

func newSpoolMember(instance string, e spool.Entry, x *publisher.SpoolEntry) spoolMember {
	m := spoolMember{Instance: instance, Entry: e.Number, MayBeInKafka: x.MayBeInKafka, Stamp: x.Stamp}
	if x.MayBeInKafka {
		m.Partition = &x.Partition
	}
	return m
}
