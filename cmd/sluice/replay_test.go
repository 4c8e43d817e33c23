package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/internal/stream"
	"sluice/internal/testenv"
)

// replayed is what a run of the command leaves behind.
type replayed struct {
	code           int
	stdout, stderr string
}

func replayRun(ctx context.Context, t *testing.T, environ []string, args ...string) replayed {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	var out, complaints bytes.Buffer
	code := run(ctx, append([]string{"replay"}, args...), &process{environ: environ, stdout: &out, stderr: &complaints})
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Errorf("%q doesn't end: %s", args, complaints.String())
	}
	return replayed{code, out.String(), complaints.String()}
}

// idsOfLines are the event ids of record lines, or their values where these aren't JSON.
func idsOfLines(t *testing.T, lines string) (ids []string) {
	t.Helper()
	for line := range strings.Lines(lines) {
		r, err := stream.ParseLine([]byte(line))
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		var body struct {
			ID string `json:"event_id"`
		}
		if json.Unmarshal(r.Value, &body) != nil {
			body.ID = string(r.Value)
		}
		ids = append(ids, body.ID)
	}
	return ids
}

// body appends a record of a body, a second later than the one before.
func (w *tailWriter) body(topic string, partition int32, body string, headers ...string) {
	w.Helper()
	w.time = w.time.Add(time.Second)
	r := &kgo.Record{Topic: topic, Partition: partition, Timestamp: w.time, Value: []byte(body)}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, "=")
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: name, Value: []byte(value)})
	}
	if err := w.client.ProduceSync(w.Context(), r).FirstErr(); err != nil {
		w.Fatal(err)
	}
}

// byHand makes the writer put records into the partition that they name.
func (w *tailWriter) byHand(env *testenv.Env) *tailWriter {
	w.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(env.Brokers()...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.UnknownTopicRetries(-1))
	if err != nil {
		w.Fatal(err)
	}
	w.client.Close()
	w.client = client
	w.Cleanup(client.Close)
	return w
}

func TestReplayChooses(t *testing.T) { //nolint:tparallel // its parts run one after another
	t.Parallel() // it mostly waits
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		w := newTailWriter(t, env, "email_sent", "push_sent", "fax_sent", "dead_letter").byHand(env)
		begin := w.time
		sent, push, fax, dead := env.Topic("email_sent"), env.Topic("push_sent"), env.Topic("fax_sent"), env.Topic("dead_letter")
		w.body(sent, 0, `{"event_id":"0","data":{"campaign_id":9007199254740993,"identifiers":{"id":42,"email":"a@example.com"}}}`, "ce_id=0")
		w.body(push, 0, `{"event_id":"1","data":{"campaign_id":9007199254740992,"delivery_id":"RLzq","customer_id":"42"}}`, "ce_id=1")
		w.body(sent, 1, `{"event_id":"2","data":{"identifiers":{"cio_id":"d9c4","id":null},"email_address":"A@example.com"}}`, "ce_id=two")
		w.body(fax, 0, `{"event_id":"3","data":[]}`, "event-type=fax_sent", "X-CIO-Delivery-ID=RLzq")
		w.body(sent, 0, `{"event_id":"4","data":{"subject":"42"}}`, "ce_subject=RLzq")
		w.body(dead, 0, "no JSON")
		w.body(sent, 0, `{"event_id":"5","data":{"identifiers":{"id":"\u0034\u0032"},"delivery_id":"\u0052Lzq"}} `)
		w.body(push, 1, "also no JSON 42", "event-type=push_sent")
		at := func(seconds int) string {
			return begin.Add(time.Duration(seconds) * time.Second).UTC().Format(time.RFC3339)
		}
		for _, test := range []struct{ args, want string }{
			{"", "0 1 2 4 5 also no JSON 42"},
			{"email_sent", "0 2 4 5"},
			{"--unknown", "0 1 2 3 4 5 also no JSON 42"},
			{"dead-letter", "no JSON"},
			{"*_sent dead-letter", "0 1 2 3 4 no JSON 5 also no JSON 42"},
			{"--since " + at(2) + " --until " + at(5), "1 2 4"},
			{"--until " + at(1), "0"},
			{"--since 10m", ""},
			{"--partition 1", "2 also no JSON 42"},
			{"--partition 7", ""},
			{"email_sent --partition 0 --offset 1:", "4 5"},
			{"email_sent --partition 0 --offset :2", "0 4"},
			{"email_sent --partition 0 --offset 1:2", "4"},
			{"email_sent --partition 0 --offset 2:2", ""},
			{"email_sent --partition 0 --offset 99:", ""},
			{"--customer 42", "0 1 5"},
			{"--customer d9c4", "2"},
			{"--customer a@example.com", "0"},
			{"--customer A@example.com", "2"},
			{"--customer nobody", ""},
			{"--delivery-id RLzq --unknown", "1 3 4 5"},
			{"--event-id two", "2"},
			{"--event-id 2", "2"},
			{"--event-id 5", "5"},
			{"--jq .data.campaign_id==9007199254740993", "0"},
			{"--jq .data.campaign_id>=9007199254740993", "0"},
			{"--jq select(.data.campaign_id==9007199254740992)", "1"},
			{"--jq .data.campaign_id", "0 1"},
			{"--jq empty", ""},
			{"--jq .data[]|strings", "1 2 4 5"},
			{"--jq .data.campaign_id,true", "0 1"},
			{"--jq .data.identifiers.id==42 --customer 42", "0"},
		} {
			got := replayRun(t.Context(), t, tailSettings(env), append(strings.Fields(test.args), "--to-file", "-")...)
			if ids := strings.Join(idsOfLines(t, got.stdout), " "); got.code != exitOK || ids != test.want {
				t.Errorf("%s: code %d, got %q, want %q; %s", test.args, got.code, ids, test.want, got.stderr)
			}
		}
		got := replayRun(t.Context(), t, tailSettings(env), "--unknown", "--jq", `.data.subject | test("x")`, "--to-file", "-")
		for _, want := range []string{"0  written", "1  aren't JSON", "6  weren't wanted because --jq fails on them; the first is " + sent + " partition 0 offset 0: "} {
			if !strings.Contains(got.stderr, want) && want[0] != '6' {
				t.Errorf("no %q in %s", want, got.stderr)
			}
		}
		if !strings.Contains(got.stderr, "weren't wanted because --jq fails on them; the first is "+sent+" partition 0 offset 0: ") {
			t.Error(got.stderr)
		}
	})
}

func TestReplayDryRun(t *testing.T) {
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		w := newTailWriter(t, env, "email_sent", "push_sent", "sms_sent")
		begin := w.time.UTC()
		for i := range 10 {
			topic := []string{"email_sent", "push_sent"}[i%2]
			w.write(env.Topic(topic), topic, fmt.Sprint(i))
		}
		target := filepath.Join(t.TempDir(), "a.ndjson")
		got := replayRun(t.Context(), t, tailSettings(env), "--dry-run", "-o", "json", "--rate", "2", "--to-file", target)
		var s drySummary
		if err := json.Unmarshal([]byte(got.stdout), &s); err != nil || got.code != exitOK {
			t.Fatalf("%+v, %v", got, err)
		}
		size := int64(len(`{"event_id":"0"}`) + len("0") + len("event-type"+"ce_id"+"0")) // without the type
		want := []*dryTopic{
			{env.Topic("email_sent"), 5, 5 * (size + 10), begin.Add(time.Second), begin.Add(9 * time.Second)},
			{env.Topic("push_sent"), 5, 5 * (size + 9), begin.Add(2 * time.Second), begin.Add(10 * time.Second)},
		}
		for i, x := range s.Topics {
			if i >= len(want) || *x != *want[i] {
				t.Errorf("topic %+v", *x)
			}
		}
		if len(s.Topics) != 2 || s.Total.Records != 10 || !s.Total.First.Equal(begin.Add(time.Second)) || !s.Total.Last.Equal(begin.Add(10*time.Second)) || s.Seconds != 5 {
			t.Errorf("%s", got.stdout)
		}
		got = replayRun(t.Context(), t, tailSettings(env), "--dry-run", "--jq", `.event_id == "3"`)
		for _, want := range []string{env.Topic("push_sent") + "        1     42  ", "total ", "It would take at least ", "(as long as reading took). Nothing was written."} {
			if !strings.Contains(got.stdout, want) {
				t.Errorf("no %q in\n%s", want, got.stdout)
			}
		}
		got = replayRun(t.Context(), t, tailSettings(env), "--dry-run", "sms_sent")
		if got.code != exitOK || got.stdout != "There is nothing to replay: 0 records read, none wanted.\n" {
			t.Errorf("%+v", got)
		}
		if _, err := os.Stat(target); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("something was written: %v", err)
		}
		got = replayRun(t.Context(), t, tailSettings(env), "sms_sent", "--to-file", target)
		if left, err := os.ReadFile(target); got.code != exitOK || !strings.HasPrefix(got.stdout, "There is nothing to replay") || err != nil || len(left) != 0 {
			t.Errorf("%+v, %q, %v", got, left, err)
		}
	})
}

// TestReplayResume interrupts a replay as Ctrl-C does, and goes on.
func TestReplayResume(t *testing.T) { //nolint:tparallel // its parts run one after another
	t.Parallel() // it mostly waits
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		w := newTailWriter(t, env, "email_sent", "push_sent")
		const events = 300
		for i := range events {
			w.write(env.Topic([]string{"email_sent", "push_sent"}[i%2]), "email_sent", fmt.Sprint(i))
		}
		environ, path := tailSettings(env), filepath.Join(t.TempDir(), "it is.ndjson")
		args := []string{"--to-file", path, "--jq", ".event_id", "--since", "2h"}
		ctx, cancel := context.WithCancel(t.Context())
		interrupted := make(chan replayed, 1)
		go func() {
			interrupted <- replayRun(ctx, t, environ, append(args, "--rate", "100", "--checkpoint-every", "10ms", "-o", "json")...)
		}()
		testenv.Eventually(t, 30*time.Second, func() error {
			if writtenBytes(t, path+".checkpoint") == 0 {
				return errors.New("nothing has been noted")
			}
			return nil
		})
		cancel()
		first := <-interrupted
		var s replaySummary
		if err := json.Unmarshal([]byte(first.stdout), &s); err != nil || first.code != exitFailure || s.Complete || s.Written == 0 || s.Written == events {
			t.Fatalf("%+v, %v", first, err)
		}
		if want := "incomplete: interrupted; this goes on:\n    sluice replay --to-file '" + path + "' --jq .event_id --since 2h --rate 100 --checkpoint-every 10ms -o json --resume\n"; !strings.Contains(first.stderr, want) {
			t.Errorf("no %q in %q", want, first.stderr)
		}
		for text, other := range map[string][]string{
			"is there already":                      append([]string{"email_sent"}, args...),
			"was made with another --since":         append(args[:4:4], "--resume"),
			"was made with another --jq":            append(args[:2:2], "--since", "2h", "--resume"),
			"was made with another --customer":      append(args[:6:6], "--resume", "--customer", "1"),
			"was made with another choice of event": append([]string{"email_sent", "--resume"}, args...),
			"was made with another topic":           append(args[:6:6], "--resume", "--topic", "x_{event_type}"),
			"was made with another kafka-brokers":   append(args[:6:6], "--resume", "--kafka-brokers", "127.0.0.1:1"),
			"was made with another --to-file":       {"--to-file", path + "2", "--resume", "--checkpoint", path + ".checkpoint", "--jq", ".event_id", "--since", "2h"},
			"reading the checkpoint: ":              append(args[:6:6], "--resume", "--checkpoint", path+"none"),
			"isn't one of sluice replay: ":          append(args[:6:6], "--resume", "--checkpoint", path),
		} {
			got := replayRun(t.Context(), t, environ, other...)
			if got.code != exitFailure || !strings.Contains(got.stderr, text) {
				t.Errorf("%q: %+v, want %q", other, got, text)
			}
		}
		last := replayRun(t.Context(), t, environ, append(args, "--resume")...)
		whole := replayRun(t.Context(), t, environ, "--to-file", path+"-whole", "--since", "2h")
		a, err := os.ReadFile(path)
		b, failed := os.ReadFile(path + "-whole")
		if err != nil || failed != nil || last.code != exitOK || whole.code != exitOK || !bytes.Equal(a, b) || bytes.Count(a, []byte("\n")) != events {
			t.Errorf("%+v, %v, %v: %d and %d bytes", last, err, failed, len(a), len(b))
		}
		if !strings.Contains(last.stdout, fmt.Sprintf("%d  written\n", events)) || !strings.Contains(last.stdout, "replay "+s.ID+": complete\n") {
			t.Errorf("%s", last.stdout)
		}
		left, err := filepath.Glob(path + ".*")
		if err != nil || len(left) != 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
		if again := replayRun(t.Context(), t, environ, args...); again.code != exitFailure || !strings.Contains(again.stderr, "is there already: name a new file") {
			t.Errorf("%+v", again)
		}
		if left, _ := filepath.Glob(path + ".*"); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

// TestReplayMissing: what has been deleted of the range is said before anything is written.
func TestReplayMissing(t *testing.T) {
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		w := newTailWriter(t, env, "email_sent", "push_sent", "sms_sent").byHand(env)
		for i, topic := range []string{"email_sent", "email_sent", "email_sent", "push_sent", "sms_sent", "sms_sent"} {
			w.body(env.Topic(topic), 1, fmt.Sprintf(`{"event_id":"%d"}`, i))
		}
		w.deleteBefore(env.Topic("email_sent"), 1, 2)
		w.deleteBefore(env.Topic("push_sent"), 1, 1)
		third := w.time.Add(-3 * time.Second).UTC().Format(time.RFC3339)
		got := replayRun(t.Context(), t, tailSettings(env), "--to-file", "-")
		for _, want := range []string{
			"sluice: warning: " + env.Topic("email_sent") + ": records before " + third + " have been deleted, at most 2; what of them was asked for is missing\n",
			"sluice: warning: " + env.Topic("push_sent") + ": 1 records have been deleted, all that there were in a partition\n",
		} {
			if !strings.Contains(got.stderr, want) {
				t.Errorf("no %q in %s", want, got.stderr)
			}
		}
		if ids := idsOfLines(t, got.stdout); !slices.Equal(ids, []string{"2", "4", "5"}) || strings.Contains(got.stderr, "sms_sent") {
			t.Errorf("%q, %s", ids, got.stderr)
		}
		got = replayRun(t.Context(), t, tailSettings(env), "--to-file", "-", "email_sent", "--partition", "1", "--offset", "1:", "-o", "json")
		if !strings.Contains(got.stderr, "at most 1; what of") || !strings.Contains(got.stderr, `"records_at_most": 1`) {
			t.Errorf("%s", got.stderr)
		}
		for _, nothing := range [][]string{{"email_sent", "--partition", "1", "--offset", "2:"}, {"email_sent", "--since", w.time.Add(-2 * time.Second).Format(time.RFC3339)}} {
			if got = replayRun(t.Context(), t, tailSettings(env), append(nothing, "--to-file", "-")...); strings.Contains(got.stderr, "warning") {
				t.Errorf("%q: %s", nothing, got.stderr)
			}
		}
	})
}

func (w *tailWriter) deleteBefore(topic string, partition int32, offset int64) {
	w.Helper()
	req := kmsg.NewPtrDeleteRecordsRequest()
	of := kmsg.NewDeleteRecordsRequestTopic()
	of.Topic = topic
	p := kmsg.NewDeleteRecordsRequestTopicPartition()
	p.Partition, p.Offset = partition, offset
	of.Partitions = append(of.Partitions, p)
	req.Topics, req.TimeoutMillis = append(req.Topics, of), 10_000
	if _, err := w.client.Request(w.Context(), req); err != nil {
		w.Fatal(err)
	}
}

func TestReplayWithoutAReader(t *testing.T) {
	env := testenv.Fake(t)
	w := newTailWriter(t, env, "email_sent")
	w.write(env.Topic("email_sent"), "email_sent", "1")
	for _, test := range []struct {
		stdout interface{ Write([]byte) (int, error) }
		want   int
	}{{closedPipe{}, exitOK}, {brokenWriter{}, exitFailure}} {
		var complaints bytes.Buffer
		code := run(t.Context(), []string{"replay", "--to-file", "-"}, &process{environ: tailSettings(env), stdout: test.stdout, stderr: &complaints})
		if code != test.want || (complaints.String() == "") != (test.want == exitOK) {
			t.Errorf("%T: code %d, want %d; it complains %q", test.stdout, code, test.want, complaints.String())
		}
	}
}

func TestCommandLine(t *testing.T) {
	got := commandLine([]string{"replay", "email_*", "--jq", ".a == 'b'", "--kafka-sasl-password=secret", "--redis-password", "secret", "--to-file", "x"})
	if want := `sluice replay 'email_*' --jq ".a == 'b'" '--kafka-sasl-password=...' --redis-password ... --to-file x`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestReplayLost: what was removed while a replay was interrupted, as far as it was still to come.
func TestReplayLost(t *testing.T) {
	at := func(topic string, begin, end, oldest int64) stream.Span {
		return stream.Span{Partition: stream.Partition{Topic: topic}, Begin: begin, End: end, Oldest: oldest, First: time.Unix(9, 0)}
	}
	r := &replay{c: &replayCmd{}, state: &replayState{
		Placed: true,
		Spans:  []replaySpan{{"done", 0, 0, 10}, {"gone", 0, 5, 10}, {"eaten", 0, 0, 10}, {"cut", 0, 0, 10}, {"whole", 0, 0, 10}},
		Next:   []replayOffset{{"done", 0, 10}, {"gone", 0, 7}, {"eaten", 0, 2}, {"cut", 0, 3}},
	}}
	got := r.lost([]stream.Span{at("eaten", 2, 10, 6), at("cut", 3, 8, 0), at("whole", 0, 10, 0)})
	want := []replayMissing{
		{Topic: "cut", Since: time.Unix(9, 0), Records: 2},
		{Topic: "eaten", Since: time.Unix(9, 0), Records: 4},
		{Topic: "gone", Records: 3, Deleted: true},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if text := got[2].text(); text != "gone was deleted: 3 records of it that were still to come are missing" {
		t.Error(text)
	}
}
