package filesink

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"sluice/internal/stream"
)

// records are awkward ones, and large ones of several members.
func records(n int) (all []stream.Record) {
	at := time.UnixMilli(1767225600_000).UTC()
	for i, value := range [][]byte{nil, {}, []byte(`{"a":"é\u2028"}`), {0, 0xff, '\n', '"'}, []byte("\U0001f600 \u2028 \x7f")} {
		all = append(all, stream.Record{
			Topic: "t", Partition: i, Offset: 1 << 40, Time: at, Key: value, Value: value,
			Headers: []stream.Header{{Key: "a", Value: value}, {Key: "b"}, {Key: "b", Value: []byte("2")}, {Key: "c", Value: []byte{0xfe}}},
		})
	}
	noise := make([]byte, 1<<20)
	for i := range noise {
		noise[i] = "0123456789abcdefghijklmnopqrstuvwxyz\"\\"[rand.IntN(38)]
	}
	for i := range n {
		all = append(all, stream.Record{Topic: "t", Offset: int64(i), Time: at, Value: noise[i*1000 : len(noise)-rand.IntN(100_000)]})
	}
	return all
}

func write(t *testing.T, f stream.Sink, all []stream.Record) {
	t.Helper()
	for i := range all {
		if err := f.Write(t.Context(), &all[i], stream.Ticket{}); err != nil {
			t.Fatal(err)
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// linesOf unpacks a file.
func linesOf(t *testing.T, path string) []byte {
	t.Helper()
	packed := read(t, path)
	var in io.Reader = bytes.NewReader(packed)
	var err error
	switch filepath.Ext(path) {
	case ".gz":
		in, err = gzip.NewReader(in)
	case ".zst":
		var z *zstd.Decoder
		z, err = zstd.NewReader(in)
		defer z.Close()
		in = z
	}
	if err != nil {
		t.Fatalf("%d bytes: %v", len(packed), err)
	}
	b, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func eachKind(t *testing.T, f func(t *testing.T, dir, name string)) {
	t.Helper()
	for _, name := range []string{"a.ndjson", "a.ndjson.gz", "a.ndjson.zst"} {
		t.Run(name, func(t *testing.T) { f(t, t.TempDir(), name) })
	}
}

func TestEveryRecordComesBack(t *testing.T) {
	all := records(10)
	eachKind(t, func(t *testing.T, dir, name string) {
		path := filepath.Join(dir, name)
		f, err := Create(path)
		if err != nil {
			t.Fatal(err)
		}
		write(t, f, all)
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		lines := bytes.SplitAfter(linesOf(t, path), []byte("\n"))
		if len(lines) != len(all)+1 || len(lines[len(all)]) != 0 {
			t.Fatalf("%d lines of %d records", len(lines), len(all))
		}
		for i := range all {
			got, err := stream.ParseLine(lines[i])
			if err != nil || !reflect.DeepEqual(got.Value, all[i].Value) || !reflect.DeepEqual(got.Key, all[i].Key) ||
				len(got.Headers) != len(all[i].Headers) || got.Offset != all[i].Offset || !got.Time.Equal(all[i].Time) {
				t.Fatalf("record %d comes back as %+.200v, %v", i, got, err)
			}
		}
	})
}

// TestGoesOn leaves files behind as a killed process does, with whatever has reached the disk behind the state, and goes
// on: the file is that of a run without interruption.
func TestGoesOn(t *testing.T) {
	all := records(18)
	eachKind(t, func(t *testing.T, dir, name string) {
		whole := filepath.Join(dir, "whole-"+name)
		f, err := Create(whole)
		if err != nil {
			t.Fatal(err)
		}
		write(t, f, all)
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "0-"+name)
		f, err = Create(path)
		if err != nil {
			t.Fatal(err)
		}
		saved, at := json.RawMessage(`{"bytes":0}`), 0
		next, kills := 0, 0
		for next < len(all) {
			for range 1 + rand.IntN(7) {
				if next == len(all) {
					break
				}
				write(t, f, all[next:next+1])
				next++
				if err := f.Settle(t.Context()); err != nil {
					t.Fatal(err)
				}
				state, ok, err := f.State()
				if err != nil {
					t.Fatal(err)
				}
				if ok {
					saved, at = state, next
				}
			}
			if kills == 5 || next == len(all) {
				continue
			}
			kills++
			left := append(read(t, path), make([]byte, rand.IntN(3)*1000)...)
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			path = filepath.Join(dir, fmt.Sprint(kills, "-", name))
			if err := os.WriteFile(path, left, 0o600); err != nil {
				t.Fatal(err)
			}
			if f, err = Open(path, saved); err != nil {
				t.Fatal(err)
			}
			next = at
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if got, want := read(t, path), read(t, whole); !bytes.Equal(got, want) {
			t.Errorf("%d bytes after %d kills, and %d without", len(got), kills, len(want))
		}
	})
}

func TestNothingIsAValidFile(t *testing.T) {
	eachKind(t, func(t *testing.T, dir, name string) {
		path := filepath.Join(dir, name)
		f, err := Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if b := linesOf(t, path); len(b) != 0 {
			t.Errorf("%q", b)
		}
		_, err = Create(path)
		if !errors.Is(err, os.ErrExist) {
			t.Errorf("created twice: %v", err)
		}
	})
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	short := filepath.Join(dir, "short")
	if err := os.WriteFile(short, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		path, state string
		want        error
	}{
		{short, `{"bytes":4}`, ErrChanged},
		{filepath.Join(dir, "none"), `{"bytes":0}`, os.ErrNotExist},
		{dir, `{"bytes":0}`, syscall.EISDIR},
		{os.DevNull, `{"bytes":0}`, ErrChanged},
	} {
		if _, err := Open(test.path, json.RawMessage(test.state)); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.path, err, test.want)
		}
	}
	for _, state := range []string{``, `{"bytes":-1}`, `[]`, `{"bytes":"1"}`} {
		if _, err := Open(short, json.RawMessage(state)); err == nil {
			t.Errorf("state %q is taken", state)
		}
	}
	if b := read(t, short); string(b) != "abc" {
		t.Errorf("it becomes %q", b)
	}
}

// fails is a writer that takes some bytes.
type fails struct{ left int }

func (f *fails) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, syscall.ENOSPC
	}
	return len(b), nil
}

func TestAFailedWriteIsTold(t *testing.T) {
	all := records(3)
	s := NewStream(&fails{left: 3000})
	var err error
	for i := 0; err == nil && i < 10_000; i++ {
		err = s.Write(t.Context(), &all[i%len(all)], stream.Ticket{})
	}
	settled, closed := s.Settle(t.Context()), s.Close()
	for what, err := range map[string]error{"writing": err, "settling": settled, "closing": closed} {
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestStreamIsPrompt: nobody waits for a line because the next hasn't come.
func TestStreamIsPrompt(t *testing.T) {
	in, out := io.Pipe()
	s := NewStream(out)
	all := records(0)
	go func() { // the sink's own goroutine waits for the reader
		for i := range all {
			_ = s.Write(t.Context(), &all[i], stream.Ticket{})
		}
		_ = s.Settle(t.Context())
		_ = out.Close()
	}()
	b, err := io.ReadAll(in)
	if err != nil || bytes.Count(b, []byte("\n")) != len(all) {
		t.Errorf("%q, %v", b, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
