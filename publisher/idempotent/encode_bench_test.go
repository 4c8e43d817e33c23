package idempotent

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

// hotRecords are n records of 450 bytes with the headers that Sluice gives them.
func hotRecords(n int) []*Record {
	records := make([]*Record, n)
	for i := range records {
		r := &Record{
			Key: fmt.Appendf(nil, "p-%d", 52000+i), Value: bytes.Repeat([]byte("v"), 450),
			Headers: []Header{
				{Key: "event-type", Value: "email_delivered"},
				{Key: "ce_specversion", Value: "1.0"},
				{Key: "ce_id", Value: "01K3M8Q4C7V5W9Z2X6Y1B0N8RT"},
				{Key: "ce_type", Value: "io.customer.email_delivered"},
				{Key: "ce_source", Value: "/customerio/main"},
				{Key: "ce_time", Value: "2026-01-01T00:00:03Z"},
				{Key: "ce_subject", Value: "dgOa8wYAAZq4kT0eWb7nQ2sLx=="},
				{Key: "content-type", Value: "application/json"},
				{Key: "sluice-key", Value: "main"},
				{Key: "X-CIO-Delivery-ID", Value: "dgOa8wYAAZq4kT0eWb7nQ2sLx=="},
				{Key: "X-CIO-Signature", Value: "a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90"},
				{Key: "X-CIO-Timestamp", Value: "1767225603"},
			},
		}
		r.size = maxRecordSize(r)
		records[i] = r
	}
	return records
}

// encoding encodes records as a lane does, batch after batch that is acknowledged.
func encoding(n int) func() {
	records, at := hotRecords(n), time.Unix(1767225604, 0)
	p, b := new(Producer), new(batch)
	return func() {
		b.encoded = p.encode(records, stamp{1, 2, 3}, at)
		p.reuse(b)
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, n := range []int{1, 25, 500} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			encode := encoding(n)
			b.ReportAllocs()
			b.SetBytes(int64(450 * n))
			for b.Loop() {
				encode()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/record")
		})
	}
}
