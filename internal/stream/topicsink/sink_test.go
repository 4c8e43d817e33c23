package topicsink

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	kafka "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"sluice/internal/stream"
	"sluice/internal/testenv"
	"sluice/publisher/wire"
)

const testWait = 60 * time.Second

func both(t *testing.T, f func(t *testing.T, env *testenv.Env)) {
	t.Run("fake", func(t *testing.T) { f(t, testenv.Fake(t)) })
	t.Run("real", func(t *testing.T) { f(t, testenv.Real(t)) })
}

// list is a source of records that are there.
type list []stream.Record

func (l list) Run(ctx context.Context, from stream.Positions, give func(*stream.Record) error) error {
	for i := 0; i < len(l) && ctx.Err() == nil; i++ {
		r := l[i]
		if r.Offset < from[stream.Partition{Topic: r.Topic, ID: r.Partition}] {
			continue
		}
		if err := give(&r); err != nil {
			return err
		}
	}
	return nil
}

// numbered are n records of two partitions, with few keys.
func numbered(n int) (all list) {
	for i := range n {
		all = append(all, stream.Record{
			Topic: "source", Partition: i % 2, Offset: int64(i / 2), Time: time.Now(), Key: fmt.Append(nil, "k", i%7), Value: fmt.Append(nil, i),
			Headers: []stream.Header{{Key: "n", Value: fmt.Append(nil, i)}, {Key: "null"}, {Key: "n", Value: []byte{}}},
		})
	}
	return all
}

// saved is a checkpoint in a file beside the journal.
type saved struct {
	path string
	step func() error // called before and after it is saved
}

type savedText struct {
	Next  map[string]int64
	State json.RawMessage
}

func (s saved) Save(_ context.Context, next stream.Positions, sinkState json.RawMessage) error {
	if err := s.step(); err != nil {
		return err
	}
	text := savedText{Next: map[string]int64{}, State: sinkState}
	for p, o := range next {
		text.Next[p.Topic+"/"+strconv.Itoa(p.ID)] = o
	}
	b, err := json.Marshal(text)
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.path, b, 0o600); err != nil {
		return err
	}
	return s.step()
}

// load is how far an earlier run has come.
func load(t *testing.T, path string) (stream.Positions, json.RawMessage) {
	t.Helper()
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var text savedText
	if err = errors.Join(err, json.Unmarshal(b, &text)); err != nil {
		t.Fatal(err)
	}
	next := stream.Positions{}
	for name, o := range text.Next {
		topic, id, _ := strings.Cut(name, "/")
		n, err := strconv.Atoi(id)
		if err != nil {
			t.Fatal(err)
		}
		next[stream.Partition{Topic: topic, ID: n}] = o
	}
	return next, text.State
}

var errKilled = errors.New("killed")

// kill ends a process at one of its steps: its folder is what it was then, and nothing leaves it any more.
type kill struct {
	mu     sync.Mutex
	t      *testing.T
	folder string
	copied string // "" until it is killed
	left   int    // steps until then
	tear   int    // so many bytes of what was appended before a request were not written
	size   int64  // of the journal at the last step
	cancel context.CancelFunc
}

func (k *kill) step(unsent bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.copied != "" {
		return errKilled
	}
	before := k.size
	k.size = sizeOf(k.t, filepath.Join(k.folder, "journal"))
	if k.left--; k.left > 0 {
		return nil
	}
	k.copied = k.t.TempDir()
	if err := os.CopyFS(k.copied, os.DirFS(k.folder)); err != nil {
		k.t.Error(err)
	}
	if n := min(int64(k.tear), k.size-before); unsent && n > 0 {
		tear(k.t, filepath.Join(k.copied, "journal"), n)
	}
	k.cancel()
	return errKilled
}

func sizeOf(t *testing.T, dir string) (size int64) {
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return size
}

// tear cuts the end off the journal's last file.
func tear(t *testing.T, dir string, n int64) {
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.log"))
	if err != nil || len(files) == 0 {
		return
	}
	slices.Sort(files)
	last := files[len(files)-1]
	info, err := os.Stat(last)
	if err == nil {
		err = os.Truncate(last, info.Size()-n)
	}
	if err != nil {
		t.Error(err)
	}
}

// RoundTrip is a kafka.RoundTripper around another one.
type roundTrip func(context.Context, kafka.Request) (kafka.Response, error)

func (f roundTrip) RoundTrip(ctx context.Context, _ netAddr, req kafka.Request) (kafka.Response, error) {
	return f(ctx, req)
}

// through has requests be steps: before they are sent, and when the broker has answered.
func (k *kill) through(addr netAddr) func(kafka.RoundTripper) kafka.RoundTripper {
	return func(inner kafka.RoundTripper) kafka.RoundTripper {
		return roundTrip(func(ctx context.Context, req kafka.Request) (kafka.Response, error) {
			produces := isProduce(req)
			if produces {
				if err := k.step(true); err != nil {
					return nil, err
				}
			}
			res, err := inner.RoundTrip(ctx, addr, req)
			if produces {
				if err := k.step(false); err != nil {
					return nil, err
				}
			}
			return res, err
		})
	}
}

func isProduce(req kafka.Request) bool {
	m, ok := req.(interface{ Request() protocol.Message })
	if !ok {
		return false
	}
	_, is := m.Request().(*wire.ProduceRequest)
	return is
}

// life runs a flow until it is through or killed. It returns the folder that the next one finds, "" if it is through.
func life(t *testing.T, env *testenv.Env, folder string, source list, left, tear int) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testWait)
	defer cancel()
	k := &kill{t: t, folder: folder, left: left, tear: tear, cancel: cancel}
	if _, err := os.Stat(filepath.Join(folder, "journal")); err == nil {
		k.size = sizeOf(t, filepath.Join(folder, "journal"))
	}
	cp := saved{filepath.Join(folder, "checkpoint"), func() error { return k.step(false) }}
	before, sinkState := load(t, cp.path)
	sink, err := New(ctx, Options{
		Brokers: env.Brokers(), Journal: filepath.Join(folder, "journal"), State: sinkState, Log: zaptest.NewLogger(t),
		Topic: func(*stream.Record) (string, error) { return env.Topic("target"), nil }, MaxRecords: 40,
		Headers: func(r *stream.Record) []stream.Header {
			return append(slices.Clip(r.Headers), stream.Header{Key: "more", Value: []byte("x")})
		},
		transport: k.through(kafka.TCP(env.Brokers()...)),
	})
	if err != nil {
		t.Fatal(err)
	}
	if sinkState == nil { // as a command does before its flow begins
		text, _, err := sink.State()
		if err == nil {
			err = cp.Save(ctx, nil, text)
		}
		if err != nil {
			sink.Close()
			return k.copied
		}
	}
	f := stream.Flow{Source: source, Sink: sink, Checkpoint: cp, Every: time.Nanosecond, Before: before}
	f.Every = time.Duration(1+rand.IntN(20)) * time.Millisecond
	err = f.Run(ctx, time.Millisecond)
	if closed := sink.Close(); k.copied == "" && (err != nil || closed != nil) {
		t.Fatalf("the flow: %v, the sink: %v", err, closed)
	}
	return k.copied
}

// once fails unless the topic holds each of the records once, those of a key in their order.
func once(t *testing.T, env *testenv.Env, source list) {
	t.Helper()
	found := env.Records(t, env.Topic("target"))
	seen := map[string]int{}
	last := map[string]int{}
	for _, r := range found {
		value := string(r.Value)
		seen[value]++
		n, err := strconv.Atoi(value)
		if err != nil {
			t.Fatal(err)
		}
		// The order holds for the records of one key and one partition of the source.
		key := fmt.Sprint(string(r.Key), n%2)
		if before, is := last[key]; is && before > n {
			t.Errorf("key %s: %d comes after %d", r.Key, n, before)
		}
		last[key] = n
		if len(r.Headers) != 4 || r.Headers[0].Name != "n" || string(r.Headers[0].Value) != value || r.Headers[1].Value != nil ||
			r.Headers[2].Value == nil || r.Headers[3].Name != "more" {
			t.Errorf("record %s has the headers %v", value, r.Headers)
		}
	}
	for _, r := range source {
		if n := seen[string(r.Value)]; n != 1 {
			t.Errorf("record %s is there %d times", r.Value, n)
		}
	}
	if len(found) != len(source) {
		t.Errorf("%d records, want %d", len(found), len(source))
	}
}

func createTopic(t *testing.T, env *testenv.Env, name string, partitions int, config map[string]string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(env.Brokers()...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	req := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = env.Topic(name), int32(partitions), 1
	for k, v := range config {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = k, &v
		topic.Configs = append(topic.Configs, c)
	}
	req.Topics, req.TimeoutMillis = append(req.Topics, topic), 10_000
	res, err := req.RequestWith(t.Context(), cl)
	if err != nil || res.Topics[0].ErrorCode != 0 {
		t.Fatalf("creating %s: %v %+v", name, err, res)
	}
}

// Killed at each of its steps, again and again, the topic has each record once.
func TestKilledAtEachStep(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		source := numbered(400)
		for _, first := range []int{1, 3, 5, 8} {
			env := *env
			env.Prefix = fmt.Sprint(env.Prefix, "x", first)
			var config map[string]string
			if first%4 == 1 { // batches are refused, taken apart, and leave the journal
				config = map[string]string{"max.message.bytes": "400"}
			}
			createTopic(t, &env, "target", 3, config)
			folder, lives := t.TempDir(), 0
			for left := first; folder != ""; left = 1 + (left+lives)%9 {
				if lives++; lives > 100 {
					t.Fatal("it makes no progress")
				}
				folder = life(t, &env, folder, source, left+lives/4, left*50)
			}
			t.Logf("%d lives", lives)
			once(t, &env, source)
		}
	})
}

func TestRefuses(t *testing.T) {
	env := testenv.Fake(t)
	createTopic(t, env, "target", 1, map[string]string{"max.message.bytes": "2000"})
	source := numbered(3)
	source[1].Value = bytes.Repeat([]byte("x"), 5000)
	folder := t.TempDir()
	options := Options{
		Brokers: env.Brokers(), Journal: filepath.Join(folder, "journal"), Log: zap.NewNop(),
		Topic: func(*stream.Record) (string, error) { return env.Topic("target"), nil },
	}
	run := func(o Options, source list) error {
		t.Helper()
		sink, err := New(t.Context(), o)
		if err != nil {
			return err
		}
		err = (&stream.Flow{Source: source, Sink: sink}).Run(t.Context(), time.Second)
		return errors.Join(err, sink.Close())
	}

	var refused *RefusedError
	if err := run(options, source); !errors.As(err, &refused) || refused.Origin != "source[1]@0" || refused.Topic != env.Topic("target") {
		t.Errorf("too large: %v", err)
	}
	missing := options
	missing.Topic = func(*stream.Record) (string, error) { return env.Topic("none"), nil }
	if err := run(missing, source); !errors.Is(err, ErrNoTopic) {
		t.Errorf("without the topic: %v", err)
	}
	same := options
	same.Topic = func(r *stream.Record) (string, error) { return r.Topic, nil }
	if err := run(same, source); !errors.Is(err, ErrSameTopic) {
		t.Errorf("into itself: %v", err)
	}

	sink, err := New(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	named, _, err := sink.State()
	if err != nil {
		t.Fatal(err)
	}
	second := options
	second.State = named
	for what, o := range map[string]Options{"the same, anew": options, "the same, resumed": second} {
		if _, err := New(t.Context(), o); err == nil {
			t.Errorf("%s: two processes have one journal", what)
		}
	}
	sink.Close()

	second.State = json.RawMessage(strings.ReplaceAll(string(named), sink.cluster, "another"))
	if _, err := New(t.Context(), second); !errors.Is(err, ErrOtherCluster) {
		t.Errorf("another cluster: %v", err)
	}
	second.State = named
	if err := os.RemoveAll(options.Journal); err != nil {
		t.Fatal(err)
	}
	if _, err := New(t.Context(), second); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without its journal: %v", err)
	}
	away := options
	away.Brokers, away.Patience = []string{"127.0.0.1:1"}, 200*time.Millisecond
	if _, err := New(t.Context(), away); !errors.Is(err, stream.ErrUnreachable) {
		t.Errorf("without Kafka: %v", err)
	}
}
