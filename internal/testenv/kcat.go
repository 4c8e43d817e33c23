package testenv

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// readWait bounds one reading of a topic's records.
const readWait = 90 * time.Second

// kcatTopic reads what a topic holds from its beginning to its present end, through kcat: C code on librdkafka.
func kcatTopic(ctx context.Context, bootstrap []string, topic string) ([]Record, error) {
	ctx, cancel := context.WithTimeout(ctx, readWait)
	defer cancel()
	cmd := exec.CommandContext(ctx, "kcat",
		"-b", strings.Join(bootstrap, ","),
		"-C", "-t", topic, "-o", "beginning",
		"-e", // exit at the end of every partition
		"-q", // no remarks about those ends
		"-J",
		"-X", "fetch.wait.max.ms=20", // the default waits half a second before it believes in the end
		"-X", "topic.metadata.refresh.interval.ms=1000", // see a new leader soon
		"-X", "check.crcs=true",
	)
	var out, remarks bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &remarks
	if err := runChild(cmd); err != nil {
		return nil, fmt.Errorf("reading topic %s with kcat: %w: %s", topic, errors.Join(err, ctx.Err()), lastLines(remarks.String(), 5))
	}
	return parseKcat(&out)
}

// parseKcat reads kcat's -J output, one object a line.
func parseKcat(r io.Reader) ([]Record, error) {
	lines := bufio.NewReader(r)
	var records []Record
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			p := kcatParser{rest: line}
			record, perr := p.record()
			if perr != nil {
				return nil, fmt.Errorf("record %d of kcat's output: %w", len(records), perr)
			}
			records = append(records, record)
		}
		if errors.Is(err, io.EOF) {
			return records, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading kcat's output: %w", err)
		}
	}
}
