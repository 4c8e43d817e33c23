package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"sluice/dedupe"
	"sluice/event"
	"sluice/internal/stream"
	"sluice/publisher"
)

// importSource gives the lines of an input as the records that they become. A record's offset is the number of its line,
// from 1; topic and partition are the input's.
type importSource struct {
	in   *importInput
	name string // of the input, in the place of a topic
	mode dedupe.Mode
	key  publisher.KeyMode
	skip bool // lines that can't be read
	most int  // events that are remembered
	say  func(string)

	bodies  bool // else record lines; told by the first line
	begun   bool
	seen    map[[16]byte]struct{}
	counts  importCounts
	skipped int
}

// importCounts are the numbers of an import, of one run or of all.
type importCounts struct {
	Lines     int64 `json:"lines"`
	Events    int64 `json:"events"` // given to the topics
	Dead      int64 `json:"dead_letters"`
	Bytes     int64 `json:"bytes"`
	Repeated  int64 `json:"repeated"`  // in the input itself
	Malformed int64 `json:"malformed"` // left out
	Kept      int64 `json:"kept_already"`
}

func (c *importCounts) add(x importCounts) {
	c.Lines += x.Lines
	c.Events += x.Events
	c.Dead += x.Dead
	c.Bytes += x.Bytes
	c.Repeated += x.Repeated
	c.Malformed += x.Malformed
	c.Kept += x.Kept
}

// malformedTold is how many lines that are left out are named.
const malformedTold = 10

// errMemory ends an import whose events can't all be remembered.
var errMemory = errors.New("too many events to tell repeated ones")

// Run is part of [stream.Source]. Lines before the place to go on from are read too: what repeats them is left out.
func (s *importSource) Run(ctx context.Context, from stream.Positions, give func(*stream.Record) error) error {
	s.seen = make(map[[16]byte]struct{})
	at := stream.Partition{Topic: s.name}
	for n := int64(1); ctx.Err() == nil; n++ {
		line, err := s.in.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if err := s.line(n, line, n < from[at], give); err != nil {
			return err
		}
	}
	return nil
}

// line deals with one line, of which nothing is done but noting it if it was done before.
func (s *importSource) line(n int64, line []byte, before bool, give func(*stream.Record) error) error {
	if len(bytes.TrimSpace(line)) == 0 {
		return nil
	}
	r, id, err := s.record(line)
	if err != nil {
		if !s.skip {
			return fmt.Errorf("line %d: %w; nothing after it was imported. --skip-malformed leaves such lines out", n, err)
		}
		if before {
			return nil
		}
		s.counts.Malformed++
		if s.skipped++; s.skipped <= malformedTold {
			s.say(fmt.Sprintf("line %d is left out: %v", n, err))
		}
		return nil
	}
	repeated, err := s.repeated(&r, id)
	if err != nil {
		return fmt.Errorf("line %d: %w", n, err)
	}
	if before {
		return nil
	}
	s.counts.Lines++
	if repeated {
		s.counts.Repeated++
		return nil
	}
	r.Topic, r.Partition, r.Offset = s.name, 0, n
	s.counts.Events++
	s.counts.Bytes += int64(r.Size())
	if r.Header(reasonHeader) != "" {
		s.counts.Dead++
	}
	return give(&r)
}

// record makes a record of a line, and tells its delivery's id, "" if that can't be told.
func (s *importSource) record(line []byte) (r stream.Record, id string, err error) {
	if !s.begun { // line by line, a record line that is cut off would pass for a body
		s.begun = true
		_, err := stream.ParseLine(line)
		s.bodies = err != nil
	}
	if s.bodies {
		r, id = s.body(line)
		return r, id, nil
	}
	if r, err = stream.ParseLine(line); err != nil {
		return r, "", err
	}
	if !written(&r) {
		if _, err := event.Parse(r.Value); err != nil {
			return r, "", fmt.Errorf("the record has neither an %s header nor a body that tells its type: %w", eventTypeHeader, err)
		}
	}
	return r, identifyRecord(s.mode, &r).id, nil
}

// body makes of a body what serve does: what is no event becomes a dead letter.
func (s *importSource) body(line []byte) (stream.Record, string) {
	m := &publisher.Message{Body: line}
	var err error
	if m.Event, err = event.Parse(line); err != nil {
		m.RejectCause, m.Reject = err, event.ReasonNotJSON
		if failed, ok := errors.AsType[*event.ParseError](err); ok {
			m.Reject = failed.Reason
		}
	}
	r := stream.Record{Value: line}
	id := identifyRecord(s.mode, &r).id
	m.DedupeID = func() string { return id }
	r.Key, r.Headers = recordParts(publisher.Record(m, s.key, time.Now()))
	return r, id
}

// repeated reports whether the input had the event before. A dead letter isn't its event.
func (s *importSource) repeated(r *stream.Record, id string) (bool, error) {
	if id == "" {
		return false, nil
	}
	if r.Header(reasonHeader) != "" {
		id = "dead " + id
	}
	sum := sha256.Sum256([]byte(id))
	short := [16]byte(sum[:16])
	if _, is := s.seen[short]; is {
		return true, nil
	}
	if len(s.seen) >= s.most {
		return false, fmt.Errorf("%w: %s are remembered; split the input, or raise --remember, at 40 bytes of memory each", errMemory, count(int64(s.most)))
	}
	s.seen[short] = struct{}{}
	return false, nil
}
