package testenv

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// produce writes records through franz-go and waits for the brokers' word.
func produce(t *testing.T, bootstrap []string, dialer func(context.Context, string, string) (net.Conn, error), records ...Record) {
	t.Helper()
	opts := []kgo.Opt{kgo.RecordPartitioner(kgo.ManualPartitioner())}
	if dialer != nil {
		opts = append(opts, kgo.Dialer(dialer))
	}
	produceWith(t, bootstrap, opts, records...)
}

// produceWith is produce with franz-go's options.
func produceWith(t *testing.T, bootstrap []string, opts []kgo.Opt, records ...Record) {
	t.Helper()
	cl, err := client{bootstrap: bootstrap}.open(opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), testWait)
	defer cancel()
	for _, r := range records {
		out := &kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			out.Headers = append(out.Headers, kgo.RecordHeader{Key: h.Name, Value: h.Value})
		}
		if err := cl.ProduceSync(ctx, out).FirstErr(); err != nil {
			t.Fatalf("producing to %s: %v", r.Topic, err)
		}
	}
}

// numbered is n records for partition 0 of a topic.
func numbered(topic string, n int) []Record {
	var records []Record
	for i := range n {
		records = append(records, Record{Topic: topic, Offset: int64(i), Key: []byte("k"), Value: fmt.Appendf(nil, "%s %d", topic, i)})
	}
	return records
}

// awkward is records whose bytes no text format carries.
func awkward(topic string) []Record {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	return []Record{
		{Topic: topic, Offset: 0, Key: all, Value: all, Headers: []Header{
			{"all=,bytes", all}, {"none", nil}, {"empty", []byte{}}, {"twice", []byte("1,2=3")}, {"twice", []byte("null")},
		}},
		{Topic: topic, Offset: 1},
		{Topic: topic, Offset: 2, Key: []byte{}, Value: []byte{}},
		{Topic: topic, Offset: 3, Value: []byte("null \\u0041 \u00e9 \"/\"\n")},
		{Topic: topic, Offset: 4, Value: bytes.Repeat([]byte{0xff, '\\', 0}, 200_000)},
	}
}

// same compares bytes and tells nil from empty.
func same(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }

// wantRecords compares all but the times.
func wantRecords(t *testing.T, got, want []Record) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i, g := range got {
		w := want[i]
		headers := slices.EqualFunc(g.Headers, w.Headers, func(a, b Header) bool { return a.Name == b.Name && same(a.Value, b.Value) })
		if g.Topic != w.Topic || g.Partition != w.Partition || g.Offset != w.Offset || !same(g.Key, w.Key) || !same(g.Value, w.Value) || !headers {
			t.Errorf("record %d:\n got %.300q\nwant %.300q", i, fmt.Sprintf("%+v", g), fmt.Sprintf("%+v", w))
		}
		if g.Time.IsZero() {
			t.Errorf("record %d has no time", i)
		}
	}
}

func TestKfake(t *testing.T) {
	fake := Kfake(t)
	for _, topic := range []string{"a_one", "a_two", "b"} {
		fake.CreateTopic(t, topic, 2, nil)
	}
	produce(t, fake.Bootstrap(), nil, append(awkward("a_two"), numbered("a_one", 3)...)...)
	if got, want := fake.Topics(t, "a_"), []string{"a_one", "a_two"}; !slices.Equal(got, want) {
		t.Errorf("topics %q, want %q", got, want)
	}
	wantRecords(t, fake.Consume(t, "a_two"), awkward("a_two"))
	wantRecords(t, fake.Consume(t, "b"), nil)
	wantRecords(t, fake.ConsumeAll(t, "a_"), append(numbered("a_one", 3), awkward("a_two")...))
	wantRecords(t, fake.ConsumeAll(t, "c"), nil)
}

func TestRecordHeader(t *testing.T) {
	r := awkward("t")[0]
	if got, ok := r.Header("twice"); !ok || got != "1,2=3" {
		t.Errorf("Header(twice) = %q, %t", got, ok)
	}
	if got, ok := r.Header("none"); !ok || got != "" {
		t.Errorf("Header(none) = %q, %t", got, ok)
	}
	if got, ok := r.Header("other"); ok {
		t.Errorf("Header(other) = %q, %t", got, ok)
	}
}
