package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/itchyny/gojq"

	"sluice/event"
	"sluice/internal/stream"
)

// filters are those of the flags, the cheapest first. What they can't judge they count.
func (c *replayCmd) filters(ctx context.Context, counts *replayCounts) (filters []stream.Filter, err error) {
	if c.EventID != "" {
		filters = append(filters, c.hasEventID)
	}
	if c.DeliveryID != "" {
		filters = append(filters, c.hasDelivery)
	}
	if c.Customer != "" {
		filters = append(filters, c.isOfCustomer)
	}
	if c.JQ != "" {
		query, err := newJQFilter(ctx, c.JQ, counts)
		if err != nil {
			return nil, fmt.Errorf("--jq: %w", err)
		}
		filters = append(filters, query.wants)
	}
	return filters, nil
}

// hasEventID looks at the body too: ce_id is another text where event_id can't stand in a header.
func (c *replayCmd) hasEventID(r *stream.Record) (bool, error) {
	if r.Header("ce_id") == c.EventID {
		return true, nil
	}
	if !mayHold(r.Value, c.EventID) {
		return false, nil
	}
	e, _ := event.Parse(r.Value) // with an error it holds what could be read
	return e.ID == c.EventID, nil
}

func (c *replayCmd) hasDelivery(r *stream.Record) (bool, error) {
	if r.Header("ce_subject") == c.DeliveryID || r.Header("X-CIO-Delivery-ID") == c.DeliveryID {
		return true, nil
	}
	if !mayHold(r.Value, c.DeliveryID) {
		return false, nil
	}
	e, _ := event.Parse(r.Value)
	return e.DeliveryID == c.DeliveryID, nil
}

// person is where a body says whom it is about.
type person struct {
	Data struct {
		Identifiers struct {
			ID    identifier `json:"id"`
			CIOID identifier `json:"cio_id"`
			Email identifier `json:"email"`
		} `json:"identifiers"`
		CustomerID   identifier `json:"customer_id"`
		EmailAddress identifier `json:"email_address"`
	} `json:"data"`
}

// identifier is a text or a number's digits; of anything else, nothing.
type identifier string

// UnmarshalJSON is part of json.Unmarshaler.
func (i *identifier) UnmarshalJSON(value []byte) error {
	*i = ""
	switch {
	case value[0] == '"':
		var text string
		if err := json.Unmarshal(value, &text); err != nil {
			return err
		}
		*i = identifier(text)
	case value[0] == '-' || '0' <= value[0] && value[0] <= '9':
		*i = identifier(value)
	}
	return nil
}

// isOfCustomer finds a person as consumers do, by the identifiers of the body, whichever of them is the record's key.
func (c *replayCmd) isOfCustomer(r *stream.Record) (bool, error) {
	if !mayHold(r.Value, c.Customer) {
		return false, nil
	}
	var body person
	// A member of another type than expected is an error after everything else has been read.
	if err := json.Unmarshal(r.Value, &body); err != nil {
		if _, typed := errors.AsType[*json.UnmarshalTypeError](err); !typed {
			return false, nil // what isn't JSON is nobody's
		}
	}
	want, of := identifier(c.Customer), &body.Data
	return of.Identifiers.ID == want || of.Identifiers.CIOID == want || of.Identifiers.Email == want ||
		of.CustomerID == want || of.EmailAddress == want, nil
}

// mayHold reports false if a body certainly hasn't the text in it.
func mayHold(body []byte, text string) bool {
	return bytes.Contains(body, []byte(text)) || bytes.IndexByte(body, '\\') >= 0 // which may spell it otherwise
}

// jqFilter wants what a jq expression gives anything but false or null for.
type jqFilter struct {
	run    func(any) gojq.Iter
	counts *replayCounts
}

func newJQFilter(ctx context.Context, text string, counts *replayCounts) (*jqFilter, error) {
	query, err := gojq.Parse(text)
	if err != nil {
		return nil, err
	}
	code, err := gojq.Compile(query) // without files, variables and the environment
	if err != nil {
		return nil, err
	}
	return &jqFilter{counts: counts, run: func(v any) gojq.Iter { return code.RunWithContext(ctx, v) }}, nil
}

// wants judges a record by the expression's first output, as jq's select does. A value that isn't JSON isn't wanted, nor
// is one on which the expression fails: jq goes on with the next input too. Both are counted.
func (f *jqFilter) wants(r *stream.Record) (bool, error) {
	in := json.NewDecoder(bytes.NewReader(r.Value))
	in.UseNumber() // ids of any size are told apart
	var body any
	if err := in.Decode(&body); err != nil {
		f.counts.NotJSON++
		return false, nil //nolint:nilerr // counted
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		f.counts.NotJSON++
		return false, nil
	}
	first, any := f.run(body).Next()
	if !any {
		return false, nil
	}
	if err, failed := first.(error); failed {
		if errors.Is(err, context.Canceled) {
			return false, err
		}
		f.counts.failed(r, err)
		return false, nil
	}
	return first != nil && first != false, nil
}
