package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// ledger is how each event that was made for one server was answered. Every server has event numbers of its own.
type ledger struct {
	events   events
	prefix   string // of the topics
	first    uint64 // number of the first event
	outcomes []outcome
}

// ledgerBits is how many bits of an event's number count the events of one ledger.
const ledgerBits = 40

// fill makes requests of the next n events.
func (l *ledger) fill(r *requests, n int) {
	r.fill(l.events, l.first+uint64(len(l.outcomes)), n)
}

// add takes over how the requests that fill made were answered.
func (l *ledger) add(r *requests) { l.outcomes = append(l.outcomes, r.outcomes...) }

// codes counts the answers, without the events that weren't sent.
func (l *ledger) codes() map[outcome]int {
	codes := make(map[outcome]int)
	for _, o := range l.outcomes {
		if o != noAnswer {
			codes[o]++
		}
	}
	return codes
}

// finding compares a ledger with the records found.
type finding struct {
	ledger *ledger
	copies []uint8 // by event, up to 255
	body   []byte

	acknowledged, records, topics int
	lost                          int // acknowledged and not there
	doubled                       int // records beyond an event's first
	foreign                       int // records that differ from what was sent, or on a wrong topic
	unasked                       int // records of events that weren't sent or were answered otherwise than 503
	unknown                       int // records of events answered 503, which says that they may have been written
}

func newFinding(l *ledger) *finding {
	return &finding{ledger: l, copies: make([]uint8, len(l.outcomes))}
}

// record takes a record into account.
func (f *finding) record(topic string, value []byte) {
	f.records++
	n, err := number(value)
	if err != nil || n < f.ledger.first || n-f.ledger.first >= uint64(len(f.copies)) {
		f.foreign++
		return
	}
	f.body = f.ledger.events.appendBody(f.body[:0], n)
	if !bytes.Equal(f.body, value) || topic != f.ledger.prefix+"_"+f.ledger.events.eventType(n) {
		f.foreign++
		return
	}
	if f.copies[n-f.ledger.first] < 255 {
		f.copies[n-f.ledger.first]++
	}
}

// conclude judges once all records are in.
func (f *finding) conclude() {
	used := make(map[string]bool)
	for i, o := range f.ledger.outcomes {
		copies := int(f.copies[i])
		if o.kept() {
			f.acknowledged++
		}
		if copies > 0 {
			used[f.ledger.events.eventType(f.ledger.first+uint64(i))] = true
			f.doubled += copies - 1
		}
		switch {
		case o.kept() && copies == 0:
			f.lost++
		case o == http.StatusServiceUnavailable && copies > 0:
			f.unknown++
		case !o.kept() && copies > 0:
			f.unasked++
		}
	}
	f.topics = len(used)
}

// bad tells that something is there that shouldn't be, or isn't there.
func (f *finding) bad() bool { return f.lost+f.doubled+f.foreign+f.unasked > 0 }

func (f *finding) String() string {
	return fmt.Sprintf("%d acknowledged, %d records on %d topics, lost %d, doubled %d, foreign %d, never acknowledged %d, answered 503 and kept %d",
		f.acknowledged, f.records, f.topics, f.lost, f.doubled, f.foreign, f.unasked, f.unknown)
}

// readWait bounds the reading of one topic.
const readWait = 2 * time.Minute

// readTopic gives every value that the topic holds to each, through kcat: C code on librdkafka. No value here has a
// line break in it.
func readTopic(ctx context.Context, bootstrap []string, topic string, each func(value []byte)) error {
	ctx, cancel := context.WithTimeout(ctx, readWait)
	defer cancel()
	runtime.LockOSThread() // kcat ends with the thread that started it
	defer runtime.UnlockOSThread()
	//nolint:gosec // addresses and names that this program made
	cmd := exec.CommandContext(ctx, "kcat", "-b", strings.Join(bootstrap, ","), "-C", "-t", topic, "-o", "beginning",
		"-e", "-q", "-f", `%s\n`, "-X", "check.crcs=true", "-X", "fetch.wait.max.ms=20")
	dieWithParent(cmd)
	var remarks bytes.Buffer
	cmd.Stderr = &remarks
	values, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("reading topic %s: %w", topic, err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("reading topic %s: %w", topic, err)
	}
	lines := bufio.NewReaderSize(values, 1<<20)
	for err == nil {
		var line []byte
		if line, err = lines.ReadSlice('\n'); err == nil {
			each(line[:len(line)-1])
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err = errors.Join(err, cmd.Wait(), ctx.Err()); err != nil {
		return fmt.Errorf("reading topic %s with kcat: %w: %s", topic, err, remarks.String())
	}
	return nil
}
