package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"sluice/ingest/signature"
	"sluice/internal/stream"
)

// Headers that a request's signature came with, as records have them.
const (
	timestampHeader = "X-CIO-Timestamp"
	signatureHeader = "X-CIO-Signature"
)

// verify is one run. All of it belongs to the goroutine that reads, but for shown.
type verify struct {
	verifier  *signature.Verifier
	strict    bool
	most      int // offenders to keep, for a report; 0: all
	stdout    io.Writer
	out       *bufio.Writer // to it
	lines     *json.Encoder // nil: a report for people
	say       func(string)
	report    verifyReport
	topics    map[string]*verifyTopic
	offenders []verifyOffender

	mu    sync.Mutex // guards shown
	shown verifyShown
}

func newVerify(verifier *signature.Verifier, c *verifyCmd, w io.Writer) *verify {
	v := &verify{
		verifier: verifier, strict: c.Strict, most: c.Offenders, stdout: w, out: bufio.NewWriter(w), topics: make(map[string]*verifyTopic),
	}
	v.report.Topics, v.report.Notes = []*verifyTopic{}, []string{}
	if c.Output == "json" {
		v.lines = json.NewEncoder(v.out)
		v.lines.SetEscapeHTML(false)
	}
	return v
}

// placed takes over what there is to read, and says first where retention has eaten some of it.
func (v *verify) placed(spans []stream.Span) {
	var total int64
	var cut []string
	for _, s := range spans {
		total += s.End - s.Begin
		if s.Oldest > 0 && s.Chosen == s.Oldest {
			cut = append(cut, placeName(s.Topic, s.ID))
		}
	}
	if len(cut) > 0 {
		note := "in " + firstOf(cut, 3) + " older records were deleted, as by retention, perhaps some of the time asked for: they can't be verified"
		v.report.Notes = append(v.report.Notes, note)
		v.say(note)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.shown.total, v.shown.began = total, time.Now()
}

// take verifies a record.
func (v *verify) take(r stream.Record) error {
	t := v.topics[r.Topic]
	if t == nil {
		t = &verifyTopic{Topic: r.Topic, Verified: make(map[string]int64)}
		v.topics[r.Topic] = t
		v.report.Topics = append(v.report.Topics, t)
	}
	t.Records++
	stamp := firstHeader(&r, timestampHeader)
	seconds, _ := strconv.ParseInt(stamp, 10, 64) // what isn't a number is malformed to Verify too
	key, err := v.verifier.Verify(stamp, firstHeader(&r, signatureHeader), r.Value, time.Unix(seconds, 0))
	missing := errors.Is(err, signature.ErrMissing)
	switch {
	case err == nil:
		t.Verified[key]++
	case missing:
		t.Missing++
	default:
		t.Wrong++
	}
	wrong := err != nil && (!missing || v.strict)
	v.mu.Lock()
	v.shown.read++
	if wrong {
		v.shown.wrong++
	}
	v.mu.Unlock()
	if !wrong {
		return nil
	}
	return v.offend(&r, err)
}

// offend notes a record that is wrong.
func (v *verify) offend(r *stream.Record, why error) error {
	o := verifyOffender{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Time: r.Time, EventID: r.Header("ce_id"), Reason: reasonOf(why),
	}
	if v.lines != nil {
		if err := v.lines.Encode(o); err != nil {
			return fmt.Errorf("writing: %w", err)
		}
		return nil
	}
	if v.most == 0 || len(v.offenders) < v.most {
		v.offenders = append(v.offenders, o)
	}
	return nil
}

// reasonOf is a reason for programs and people.
func reasonOf(err error) string {
	switch {
	case errors.Is(err, signature.ErrMissing):
		return "missing"
	case errors.Is(err, signature.ErrMalformed):
		return "malformed"
	}
	return "mismatch"
}

// progress is how far it has come. It is safe for concurrent use.
func (v *verify) progress() verifyShown {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.shown
}

// verifyShown is how far a run has come.
type verifyShown struct {
	total, read, wrong int64
	began              time.Time // zero until the total is known
}

// text is a line about it.
func (s verifyShown) text(now time.Time) string {
	if s.began.IsZero() {
		return "looking at the topics"
	}
	line := fmt.Sprintf("verified %s of %s, %s wrong", count(s.read), count(max(s.total, s.read)), count(s.wrong))
	if took := now.Sub(s.began).Seconds(); took >= 1 && s.read > 0 {
		line += fmt.Sprintf(", %s/s", count(int64(float64(s.read)/took)))
	}
	return line
}

// extent is how much of it has been read.
func (s verifyShown) extent() (done, total int64) { return s.read, s.total }
