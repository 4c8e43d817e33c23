package topicsink

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"

	"sluice/internal/stream"
	"sluice/internal/testenv"
)

// BenchmarkSink writes records of 500 bytes and twelve headers to a fake Kafka in the same process.
//
//	go test -run '^$' -bench Sink -benchtime 200000x ./internal/stream/topicsink
func BenchmarkSink(b *testing.B) {
	env := testenv.Fake(b)
	env.Kafka.(interface {
		CreateTopic(t testing.TB, name string, partitions int, config map[string]string)
	}).CreateTopic(b, env.Topic("target"), 6, nil)
	source := make(list, b.N)
	value, headers := bytes.Repeat([]byte("x"), 500), make([]stream.Header, 12)
	for i := range headers {
		headers[i] = stream.Header{Key: fmt.Sprint("a-name-", i), Value: []byte("a value of some length")}
	}
	for i := range source {
		source[i] = stream.Record{Topic: "source", Offset: int64(i), Time: time.Now(), Key: fmt.Append(nil, i%5000), Value: value, Headers: headers}
	}
	sink, err := New(b.Context(), Options{
		Brokers: env.Brokers(), Journal: filepath.Join(b.TempDir(), "journal"), Log: zap.NewNop(),
		Topic: func(*stream.Record) (string, error) { return env.Topic("target"), nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(500)
	b.ReportAllocs()
	b.ResetTimer()
	f := stream.Flow{Source: source, Sink: sink, Checkpoint: saved{filepath.Join(b.TempDir(), "checkpoint"), func() error { return nil }}}
	if err := f.Run(b.Context(), time.Second); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	if err := sink.Close(); err != nil {
		b.Fatal(err)
	}
}
