package main

import (
	"sluice/internal/stream"
	"sluice/publisher/idempotent"
)

// recordParts are the key and headers of a record that is to be written, as a stream carries them.
func recordParts(r *idempotent.Record) (key []byte, headers []stream.Header) {
	headers = make([]stream.Header, len(r.Headers), len(r.Headers)+6)
	for i, h := range r.Headers {
		headers[i] = stream.Header{Key: h.Key, Value: []byte(h.Value)}
	}
	return r.Key, headers
}
