package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/config"
	"sluice/internal/audit"
	"sluice/internal/audit/extent"
	"sluice/internal/sender"
	"sluice/internal/testenv"
)

func runAudit(ctx context.Context, environ []string, stdin io.Reader, args ...string) (code int, stdout, stderr string) {
	var out, complaints bytes.Buffer
	code = run(ctx, append([]string{"audit"}, args...), &process{environ: environ, stdin: stdin, stdout: &out, stderr: &complaints})
	return code, out.String(), complaints.String()
}

// auditStage is a cluster that holds what was really sent, to be spoilt.
type auditStage struct {
	*testing.T
	env    *testenv.Env
	client *kgo.Client
	dir    string
	sent   string // the ledger of what was really sent
	count  int    // events in it
	extra  string // another one
}

// newAuditStage sends odd events to a sluice of its own, some of them twice.
func newAuditStage(t *testing.T, env *testenv.Env) *auditStage {
	t.Helper()
	for _, topic := range []string{"other", "dead_letter", "push_sent", "push_opened", "email_sent"} {
		createTopic(t, env, env.Topic(topic)) // sluice may end before it has created what it didn't need
	}
	server := serve(t, settings(env))
	s := &auditStage{T: t, env: env, dir: t.TempDir()}
	s.sent, s.extra = filepath.Join(s.dir, "sent.ndjson"), filepath.Join(s.dir, "extra.ndjson")
	got := runSend(t.Context(), nil, "--url", server.url, "--odd", "--duplicates", "30%", "--concurrency", "4", "--ledger", s.sent)
	if got.code != exitOK {
		t.Fatalf("sending: %+v", got)
	}
	if code := server.stop(); code != exitOK { // every late repeat has been answered
		t.Fatalf("sluice ended with code %d", code)
	}
	text, err := os.ReadFile(s.sent)
	if err != nil {
		t.Fatal(err)
	}
	s.count = bytes.Count(text, []byte("\n"))
	if s.client, err = kgo.NewClient(kgo.SeedBrokers(env.Brokers()...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MetadataMinAge(10*time.Millisecond), kgo.UnknownTopicRetries(-1)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.Close)
	return s
}

// note writes a line into the other ledger.
func (s *auditStage) note(id, eventType, body string) {
	s.Helper()
	s.entry(sender.Entry{EventID: id, EventType: eventType, Acknowledged: true, Answer: "published", Code: 200}, body)
}

func (s *auditStage) entry(e sender.Entry, body string) {
	s.Helper()
	sum := sha256.Sum256([]byte(body))
	e.SHA256, e.Bytes, e.FirstSent = hex.EncodeToString(sum[:]), len(body), time.Now()
	line, err := json.Marshal(e)
	if err != nil {
		s.Fatal(err)
	}
	file, err := os.OpenFile(s.extra, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.Fatal(err)
	}
	if _, err = file.Write(append(line, '\n')); err != nil {
		s.Fatal(err)
	}
	if err := file.Close(); err != nil {
		s.Fatal(err)
	}
}

// put appends a record to partition 0 of a topic; headers are pairs.
func (s *auditStage) put(topic, body string, headers ...string) {
	s.Helper()
	r := &kgo.Record{Topic: s.env.Topic(topic), Value: []byte(body)}
	for pair := range slices.Chunk(headers, 2) {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: pair[0], Value: []byte(pair[1])})
	}
	ctx, cancel := context.WithTimeout(s.Context(), 30*time.Second)
	defer cancel()
	if err := s.client.ProduceSync(ctx, r).FirstErr(); err != nil {
		s.Fatalf("writing to %s: %v", r.Topic, err)
	}
}

// cut deletes what a partition holds before an offset, as retention does.
func (s *auditStage) cut(topic string, partition int32, before int64) {
	s.Helper()
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 10_000
	t := kmsg.NewDeleteRecordsRequestTopic()
	t.Topic = s.env.Topic(topic)
	p := kmsg.NewDeleteRecordsRequestTopicPartition()
	p.Partition, p.Offset = partition, before
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	for _, shard := range s.client.RequestSharded(s.Context(), req) {
		if shard.Err != nil {
			s.Fatal(shard.Err)
		}
		for _, t := range shard.Resp.(*kmsg.DeleteRecordsResponse).Topics {
			if err := kerr.ErrorForCode(t.Partitions[0].ErrorCode); err != nil {
				s.Fatal(err)
			}
		}
	}
}

// auditOf is the report of both ledgers, as far as there are two.
func (s *auditStage) audit(args ...string) (report auditJSON, code int, complaints string) {
	s.Helper()
	args = append(args, "-o", "json", "--ledger", s.sent)
	if _, err := os.Stat(s.extra); err == nil {
		args = append(args, s.extra)
	}
	code, out, complaints := runAudit(s.Context(), tailSettings(s.env), nil, args...)
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		s.Fatalf("exit code %d, %v in %s\n%s", code, err, out, complaints)
	}
	return report, code, complaints
}

func TestAuditFindsNothing(t *testing.T) { //nolint:tparallel // its parts run one after another
	t.Parallel() // it mostly waits
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		s := newAuditStage(t, env)
		got, code, complaints := s.audit("--strict", "--since", "1h")
		if code != exitOK || !got.Balanced || complaints != "" || len(got.Findings)+len(got.Notes)+len(got.Incomplete) != 0 {
			t.Errorf("exit code %d, %+v, it complains %q", code, got, complaints)
		}
		if got.Events != s.count || got.Acknowledged != s.count || got.Records != s.count || s.count == 0 {
			t.Errorf("%d events: %+v", s.count, got)
		}

		ledger, err := os.Open(s.sent)
		if err != nil {
			t.Fatal(err)
		}
		defer ledger.Close()
		code, out, complaints := runAudit(t.Context(), tailSettings(env), ledger, "--ledger=-", s.sent) // the same twice
		if code != exitOK || complaints != "" || !strings.Contains(out, "in 2 ledgers") || !strings.Contains(out, "\nBalanced: ") {
			t.Errorf("exit code %d, got\n%s%s", code, out, complaints)
		}
	})
}

func TestAuditFindsEverything(t *testing.T) { //nolint:tparallel // its parts run one after another
	t.Parallel() // it mostly waits
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		s := newAuditStage(t, env)
		sent := func(topic, id string) []string { return []string{"event-type", topic, "ce_id", id} }

		// What is right.
		s.note("over", "fax_sent", "over")
		s.put("other", "over", sent("fax_sent", "over")...)
		s.note("large", "email_sent", "large")
		s.put("dead_letter", "large", append(sent("email_sent", "large"), "sluice-reason", audit.ReasonRefused)...)
		s.entry(sender.Entry{EventID: "unanswered", EventType: "email_sent"}, "unanswered")
		s.put("email_sent", "of somebody else", sent("email_sent", "else")...)
		got, code, complaints := s.audit()
		if code != exitOK || !got.Balanced || got.DeadLettered != 1 || got.Foreign != 1 || got.Events != s.count+3 || got.Acknowledged != s.count+2 {
			t.Fatalf("exit code %d, %+v, it complains %q", code, got, complaints)
		}
		if got, code, complaints = s.audit("--strict"); code != exitFailure || got.Findings[0].Kind != "foreign" ||
			got.Findings[0].Records[0].Topic != env.Topic("email_sent") || !strings.Contains(complaints, "not balanced: 1 foreign\n") {
			t.Errorf("exit code %d, %+v, it complains %q", code, got, complaints)
		}

		// What isn't.
		s.note("gone", "push_sent", "gone")
		s.entry(sender.Entry{EventID: "before", EventType: "push_sent", Acknowledged: true, Answer: "duplicate"}, "before")
		s.note("twice", "push_sent", "twice")
		s.put("push_sent", "twice", sent("push_sent", "twice")...)
		s.put("push_sent", "twice", sent("push_sent", "twice")...)
		s.note("byte", "push_sent", "byte")
		s.put("push_sent", "Byte", sent("push_sent", "byte")...)
		s.note("astray", "push_sent", "astray")
		s.put("push_opened", "astray", sent("push_sent", "astray")...)
		s.note("overflown", "push_sent", "overflown") // though its topic is there
		s.put("other", "overflown", sent("push_sent", "overflown")...)
		s.note("set-aside", "push_sent", "set-aside") // without the reason that allows it
		s.put("dead_letter", "set-aside", sent("push_sent", "set-aside")...)
		s.note("renamed", "push_sent", "renamed")
		s.put("push_sent", "renamed", sent("push_sent", "other-name")...)
		s.note("retyped", "push_sent", "retyped")
		s.put("push_sent", "retyped", sent("push_opened", "retyped")...)
		got, code, complaints = s.audit("--findings", "1")
		var found []string
		for _, f := range got.Findings {
			found = append(found, f.Kind+" "+f.Event)
		}
		slices.Sort(found)
		want := []string{
			"changed byte", "doubled twice", "headers renamed", "headers retyped", "lost before", "lost gone",
			"misplaced astray", "misplaced overflown", "misplaced set-aside",
		}
		if code != exitFailure || got.Balanced || !slices.Equal(found, want) {
			t.Errorf("exit code %d, found %q, want %q; it complains %q", code, found, want, complaints)
		}
		if want := "not balanced: 2 lost, 1 doubled, 1 changed, 3 on a wrong topic, 2 with wrong headers\n"; !strings.Contains(complaints, want) {
			t.Errorf("it complains %q, want %q", complaints, want)
		}

		code, out, _ := runAudit(t.Context(), tailSettings(env), nil, "--findings=2", s.sent, s.extra)
		if code != exitFailure || strings.Contains(out, "Balanced") {
			t.Errorf("exit code %d", code)
		}
		for _, want := range []string{
			"\nlost           2  ", "\ndead-lettered  1  ", "\nforeign        1  ",
			"\n  lost: gone acknowledged, and on no topic\n", "\n  lost: before acknowledged as a duplicate",
			"\n  doubled: twice is there 2 times: [" + env.Topic("push_sent") + "[0]@",
			"\n  changed: byte " + env.Topic("push_sent") + "[0]@",
			"\n  misplaced: astray is at " + env.Topic("push_opened") + "[0]@", ", want topic " + env.Topic("push_sent") + "\n",
			"\n  misplaced: 1 more\n",
			`has the header ce_id "other-name", want "renamed"`, `has the header event-type "push_opened", want "push_sent"`,
		} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in\n%s", want, out)
			}
		}
	})
}

// TestAuditAfterRetention: what was deleted is lost, and it says why that needn't be so.
func TestAuditAfterRetention(t *testing.T) { //nolint:tparallel // its parts run one after another
	t.Parallel() // it mostly waits
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		s := newAuditStage(t, env)
		ends := map[int]int64{}
		for _, r := range env.Records(t, env.Topic("email_sent")) {
			ends[int(r.Partition)] = max(ends[int(r.Partition)], r.Offset+1)
		}
		if len(ends) == 0 {
			t.Fatal("no e-mail was sent")
		}
		s.put("email_sent", "later", "event-type", "email_sent", "ce_id", "later")
		for p, end := range ends {
			s.cut("email_sent", int32(p), end)
		}
		got, code, _ := s.audit()
		if code != exitFailure || got.Lost == 0 || len(got.Notes) != max(len(ends), 1) {
			t.Errorf("exit code %d, %+v", code, got)
		}
		for _, note := range got.Notes {
			if !strings.HasPrefix(note, env.Topic("email_sent")+"[") || !strings.Contains(note, "can't be told from lost") {
				t.Errorf("note %q", note)
			}
		}
	})
}

func TestAuditOfASingleTopic(t *testing.T) {
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		w := newTailWriter(t, env, "all", "dead_letter")
		s := &auditStage{T: t, env: env}
		s.extra = filepath.Join(t.TempDir(), "sent.ndjson")
		for _, x := range []string{"email_sent", "fax_sent"} {
			w.write(env.Topic("all"), x, x)
			s.note(x, x, `{"event_id":"`+x+`"}`)
		}
		environ := tailSettings(env, "SLUICE_TOPIC="+env.Topic("all"))
		if code, out, complaints := runAudit(t.Context(), environ, nil, s.extra, "--since=2h", "--strict"); code != exitOK {
			t.Errorf("exit code %d, got\n%s%s", code, out, complaints)
		}
		// Records of an hour ago are before a ledger that begins now.
		if code, _, complaints := runAudit(t.Context(), environ, nil, s.extra); code != exitFailure || !strings.Contains(complaints, "2 lost") {
			t.Errorf("exit code %d, it complains %q", code, complaints)
		}
	})
}

func TestAuditWithoutTopics(t *testing.T) {
	env := testenv.Fake(t)
	s := &auditStage{T: t, env: env}
	s.extra = filepath.Join(t.TempDir(), "sent.ndjson")
	s.note("a", "email_sent", "a")
	code, out, complaints := runAudit(t.Context(), tailSettings(env), nil, s.extra)
	if want := "Note: topic " + env.Topic("email_sent") + " doesn't exist"; code != exitFailure || !strings.Contains(out, want) || !strings.Contains(complaints, "1 lost") {
		t.Errorf("exit code %d, got\n%s%s", code, out, complaints)
	}
}

// TestAuditOfUnreadablePartition: what can't be read isn't called lost, and isn't passed over.
func TestAuditOfUnreadablePartition(t *testing.T) {
	t.Parallel() // it mostly waits
	env := testenv.Fake(t)
	s := newAuditStage(t, env)
	cluster := env.Kafka.(*testenv.FakeCluster)
	cluster.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		fetch := req.(*kmsg.FetchRequest)
		res := fetch.ResponseKind().(*kmsg.FetchResponse)
		for _, asked := range fetch.Topics {
			topic := kmsg.NewFetchResponseTopic()
			topic.Topic, topic.TopicID = asked.Topic, asked.TopicID
			for _, p := range asked.Partitions {
				partition := kmsg.NewFetchResponseTopicPartition()
				partition.Partition, partition.ErrorCode = p.Partition, kerr.KafkaStorageError.Code
				topic.Partitions = append(topic.Partitions, partition)
			}
			res.Topics = append(res.Topics, topic)
		}
		return res, nil, true
	})
	code, out, complaints := runAudit(t.Context(), tailSettings(env), nil, s.sent)
	if code != exitFailure || strings.Contains(out, "Balanced") || !strings.Contains(complaints, "incomplete: ") && !strings.Contains(complaints, "Kafka doesn't answer") {
		t.Errorf("exit code %d, got\n%s%s", code, out, complaints)
	}
}

func TestAuditInterrupted(t *testing.T) {
	env := testenv.Fake(t)
	ctx, cancel := context.WithCancel(t.Context())
	ledger := &endingReader{text: `{"event_type":"email_sent","sha256":"` + strings.Repeat("ab", 32) + `","first_sent":"2026-01-01T00:00:00Z"}` + "\n", end: cancel}
	code, out, complaints := runAudit(ctx, tailSettings(env), ledger, "--ledger=-")
	if code != exitFailure || out != "" || !strings.Contains(complaints, "interrupted, hence incomplete: 0 records read") {
		t.Errorf("exit code %d, got %q, it complains %q", code, out, complaints)
	}
}

// endingReader gives its text and calls end with it.
type endingReader struct {
	text string
	end  func()
}

func (r *endingReader) Read(b []byte) (int, error) {
	if r.text == "" {
		return 0, io.EOF
	}
	n := copy(b, r.text)
	r.text = r.text[n:]
	r.end()
	return n, nil
}

func TestAuditTopics(t *testing.T) {
	of := func(topic string) *auditTopics {
		a := newAuditTopics(topicOptions(&config.Config{}))
		a.where.Template, a.where.DeadLetter, a.where.Overflow = topic, "c_dead", "c_other"
		return a
	}
	each, one := of("c_{event_type}"), of("all")
	each.exist([]string{"c_email_sent", "c_fax_sent", "c_dead", "c_other", "foreign"})
	one.exist([]string{"all"})
	for _, tt := range []struct {
		topics          *auditTopics
		eventType, want string
	}{
		{each, "", "c_dead"},
		{each, "email_sent", "c_email_sent"},
		{each, "email_opened", "c_email_opened c_other"}, // its topic isn't there
		{each, "fax_sent", "c_fax_sent c_other"},         // it may have come before its topic
		{each, "dead", "c_other"},                        // the name is taken
		{one, "", "c_dead"},
		{one, "email_sent", "all"},
		{one, "fax_sent", "all"},
	} {
		if got := strings.Join(tt.topics.right(tt.eventType), " "); got != tt.want {
			t.Errorf("%s %q: %s, want %s", tt.topics.where.Template, tt.eventType, got, tt.want)
		}
	}
	types := map[string]bool{"": true, "email_sent": true, "email_opened": true, "line_sent": true}
	if got := each.toRead(types); !slices.Equal(got, []string{"c_dead", "c_email_sent", "c_other"}) {
		t.Errorf("reads %q", got)
	}
	if got := one.toRead(types); !slices.Equal(got, []string{"all"}) {
		t.Errorf("reads %q", got)
	}
	if got := each.missing(types); len(got) != 1 || !strings.Contains(got[0], " c_email_opened ") {
		t.Errorf("misses %q", got)
	}
	if got := one.missing(types); len(got) != 1 || !strings.Contains(got[0], " c_dead ") {
		t.Errorf("misses %q", got)
	}

	extents := []extent.Extent{
		{Topic: "c_email_sent", First: 0, Since: 0, End: 9},
		{Topic: "c_email_sent", Partition: 1, First: 4, Since: 5, End: 9},
		{Topic: "c_email_sent", Partition: 2, First: 4, Since: 4, End: 9},
		{Topic: "c_email_sent", Partition: 3, First: 7, Since: 7, End: 7},
		{Topic: "c_fax_sent", Partition: 4, First: 7, Since: 7, End: 7},
	}
	if got := cutNotes(extents, each, []audit.Finding{{Type: "email_sent"}}); len(got) != 2 ||
		!strings.HasPrefix(got[0], "c_email_sent[2] begins at offset 4 ") || !strings.HasPrefix(got[1], "c_email_sent[3] is empty up to its end at offset 7:") {
		t.Errorf("%q", got)
	}
	read := &auditReading{reached: map[auditPartition]int64{{"c_email_sent", 0}: 9, {"c_email_sent", 1}: 8}}
	if got := read.incomplete(extents); len(got) != 2 || got[0] != "c_email_sent[1] could be read up to offset 8 only, and ended at 9" ||
		got[1] != "c_email_sent[2] could be read up to offset 4 only, and ended at 9" {
		t.Errorf("%q", got)
	}
	result := &auditResult{report: &audit.Report{}, incomplete: []string{"x"}}
	if result.verdict() == nil {
		t.Error("incomplete, and nothing is wrong")
	}
}

func TestEventName(t *testing.T) {
	for id, want := range map[string]string{
		"01J8": "01J8", "zażółć": "zażółć", "a\x1b[2J": `"a\x1b[2J"`, "a\u202eb": `"a\u202eb"`,
		strings.Repeat("x", 101): `"` + strings.Repeat("x", 100) + `…"`,
	} {
		if got := eventName(id); got != want {
			t.Errorf("%q: %s, want %s", id, got, want)
		}
	}
}

// TestAuditOfSpooled says of an event that was kept on disk that it may be there still.
func TestAuditOfSpooled(t *testing.T) {
	env := testenv.Fake(t)
	ledger := filepath.Join(t.TempDir(), "sent.ndjson")
	line := `{"event_id":"a","event_type":"email_sent","sha256":"` + strings.Repeat("0", 64) +
		`","acknowledged":true,"answer":"spooled","code":200,"posts":1,"first_sent":"2026-01-01T00:00:00Z"}` + "\n"
	if err := os.WriteFile(ledger, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, complaints := runAudit(t.Context(), tailSettings(env), nil, ledger)
	if want := "lost: a acknowledged as spooled, and on no topic: unless sluice_spool_events is 0"; code != exitFailure || !strings.Contains(out, want) {
		t.Errorf("exit code %d, got\n%s%s", code, out, complaints)
	}
}
