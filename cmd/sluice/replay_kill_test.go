package main

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
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/testenv"
)

// killedTypes are the topics of the test, of two partitions each.
var killedTypes = []string{"email_sent", "email_opened", "push_sent"}

// fillForKills writes events that are large enough to make many members of a compressed file of few events.
func fillForKills(t *testing.T, env *testenv.Env, n int) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(env.Brokers()...), kgo.ProducerLinger(5*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	filler := bytes.Repeat([]byte(`"0123456789",`), 1700)
	begin := time.Now().Add(-time.Hour)
	var records []*kgo.Record
	for i := range n {
		eventType := killedTypes[i%len(killedTypes)]
		records = append(records, &kgo.Record{
			Topic: env.Topic(eventType), Key: fmt.Appendf(nil, "user-%d", i%40), Timestamp: begin.Add(time.Duration(i/2) * time.Millisecond),
			Value:   fmt.Appendf(nil, `{"event_id":"e%d","filler":[%s%d]}`, i, filler[i%13*13:], i),
			Headers: []kgo.RecordHeader{{Key: "event-type", Value: []byte(eventType)}},
		})
	}
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// writtenBytes is how much of the file a checkpoint counts, 0 if there is none.
func writtenBytes(t *testing.T, checkpoint string) int64 {
	t.Helper()
	text, err := os.ReadFile(checkpoint)
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	var s struct {
		Target struct {
			Bytes int64 `json:"bytes"`
		} `json:"target"`
	}
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return s.Target.Bytes
}

// unpacked is what is in a file, by tools that know nothing of how it was written.
func unpacked(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var in io.Reader = bytes.NewReader(b)
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
		t.Fatal(err)
	}
	if b, err = io.ReadAll(in); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return b
}

// TestReplayKilled kills a replay ten times at random. Resumed, it leaves the very file of one that wasn't, although
// events and partitions have been added meanwhile.
func TestReplayKilled(t *testing.T) { onBoth(t, replayKilled) }

func replayKilled(t *testing.T, env *testenv.Env) {
	const events, kills = 1600, 10
	for _, eventType := range killedTypes {
		createTopic(t, env, env.Topic(eventType))
	}
	fillForKills(t, env, events)
	dir, binary := t.TempDir(), testenv.Binary(t, "./cmd/sluice")
	names := []string{"a.ndjson", "a.ndjson.gz", "a.ndjson.zst"}
	toEnd := func(t *testing.T, args ...string) {
		t.Helper()
		if out, err := commandOf(t, binary, tailSettings(env), args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	for _, name := range names {
		toEnd(t, "replay", "--unknown", "--to-file", filepath.Join(dir, "whole-"+name))
	}
	plain := unpacked(t, filepath.Join(dir, "whole-"+names[0]))
	if n := bytes.Count(plain, []byte("\n")); n != events {
		t.Fatalf("%d lines", n)
	}
	for i, name := range names {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name)
			args := []string{"replay", "--unknown", "--to-file", path, "--checkpoint-every", "20ms"}
			slow := append(args, "--rate", "1000") // beyond what a start may hurry, a fifth of it
			grown := 0
			for kill := range kills {
				before := writtenBytes(t, path+".checkpoint")
				p := testenv.Process(t, binary, tailSettings(env), slow...)
				slow = append(args, "--rate", "1000", "--resume")
				testenv.Eventually(t, 30*time.Second, func() error { // it has begun
					if _, err := os.Stat(path); err != nil {
						return err
					}
					select {
					case <-p.Exited():
						t.Fatalf("it ends before it is killed: %s", p.Logs())
					default:
					}
					if kill%4 == 1 && writtenBytes(t, path+".checkpoint") == before {
						return errors.New("nothing has been noted")
					}
					return nil
				})
				select {
				case <-p.Exited():
				case <-time.After(time.Duration(rand.IntN(40)) * time.Millisecond):
				}
				p.Kill(t)
				if writtenBytes(t, path+".checkpoint") > before {
					grown++
				}
				if kill == 3 && i == len(names)-1 { // what comes now isn't part of it
					createTopic(t, env, env.Topic("later_sent"))
					fillForKills(t, env, 60)
				}
			}
			if grown < 3 {
				t.Errorf("only %d runs of %d got further", grown, kills)
			}
			toEnd(t, append(args, "--resume")...)
			mine, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			whole, err := os.ReadFile(filepath.Join(dir, "whole-"+name))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(mine, whole) {
				t.Errorf("%d bytes, and %d without interruptions", len(mine), len(whole))
			}
			if !bytes.Equal(unpacked(t, path), plain) {
				t.Error("it holds other lines than the file that isn't compressed")
			}
			if _, err := os.Stat(path + ".checkpoint"); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the checkpoint is left behind: %v", err)
			}
		})
	}
}
