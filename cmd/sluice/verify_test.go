package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/ingest/signature"
	"sluice/internal/testenv"
)

// signed appends a record of the topic's type with the headers of a request, as they are given.
func (w *tailWriter) signed(topic, id, body string, headers ...string) {
	w.Helper()
	w.time = w.time.Add(time.Second)
	_, eventType, _ := strings.Cut(topic, "_")
	r := &kgo.Record{
		Topic: topic, Timestamp: w.time, Value: []byte(body),
		Headers: []kgo.RecordHeader{{Key: "event-type", Value: []byte(eventType)}, {Key: "ce_id", Value: []byte(id)}},
	}
	for i := 0; i < len(headers); i += 2 {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: headers[i], Value: []byte(headers[i+1])})
	}
	if err := w.client.ProduceSync(w.Context(), r).FirstErr(); err != nil {
		w.Fatal(err)
	}
}

// verified is what a run of the command leaves behind.
type verified struct {
	code           int
	stdout, stderr string
	offenders      []verifyOffender
	report         verifyReport
}

func verifyRun(t *testing.T, environ []string, args ...string) (v verified) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var out, complaints bytes.Buffer
	v.code = run(ctx, append([]string{"verify"}, args...), &process{environ: environ, stdout: &out, stderr: &complaints})
	v.stdout, v.stderr = out.String(), complaints.String()
	if !strings.HasPrefix(v.stdout, "{") {
		return v
	}
	lines := strings.Split(strings.TrimSpace(v.stdout), "\n")
	for _, line := range lines[:len(lines)-1] {
		var o verifyOffender
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		v.offenders = append(v.offenders, o)
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &v.report); err != nil {
		t.Fatalf("%v in %s", err, v.stdout)
	}
	return v
}

// TestVerify finds what was tampered with among records of two keys, one of them rotated since.
func TestVerify(t *testing.T) {
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		w := newTailWriter(t, env, "email_sent", "push_sent", "dead_letter")
		sent, push, dead := env.Topic("email_sent"), env.Topic("push_sent"), env.Topic("dead_letter")
		begin := w.time
		at := func(seconds int) string {
			return begin.Add(time.Duration(seconds) * time.Second).UTC().Format(time.RFC3339)
		}
		stamp := strconv.FormatInt(begin.Add(-1000*time.Hour).Unix(), 10) // far beyond the tolerance of requests
		sign := func(key, body string) string { return signature.Sign(key, stamp, []byte(body)) }
		good := `{"event_id":"x"}`
		for range 3 {
			w.signed(sent, "main", good, "X-CIO-Timestamp", stamp, "X-CIO-Signature", sign("key-of-now", good))
		}
		w.signed(push, "old", good, "X-CIO-Timestamp", stamp, "X-CIO-Signature", sign("key-of-then", good))
		w.signed(dead, "no event", "no JSON", "X-CIO-Timestamp", stamp, "X-CIO-Signature", sign("key-of-now", "no JSON"))
		w.signed(sent, "tampered", good+" ", "X-CIO-Timestamp", stamp, "X-CIO-Signature", sign("key-of-now", good))
		w.signed(sent, "later", good, "X-CIO-Timestamp", stamp+"0", "X-CIO-Signature", sign("key-of-now", good))
		w.signed(push, "malformed", good, "X-CIO-Timestamp", "soon", "X-CIO-Signature", sign("key-of-now", good))
		w.signed(push, "cut", good, "X-CIO-Timestamp", stamp, "X-CIO-Signature", sign("key-of-now", good)[:63])
		w.signed(push, "unsigned", good)
		w.signed(push, "half", good, "X-CIO-Timestamp", stamp)
		w.signed(sent, "twice", good, "X-CIO-Timestamp", stamp, "X-CIO-Signature", sign("key-of-now", good), "X-CIO-Signature", "other")

		both := tailSettings(env, "SLUICE_SIGNING_KEYS=main=key-of-now,old=key-of-then")
		v := verifyRun(t, both, "-o", "json")
		reasons := map[string]string{}
		for _, o := range v.offenders {
			reasons[o.EventID] = o.Reason
		}
		want := map[string]string{"tampered": "mismatch", "later": "mismatch", "malformed": "malformed", "cut": "malformed"}
		if v.code != exitFailure || !maps.Equal(reasons, want) || !strings.Contains(v.stderr, "4 records are signed by none of the keys (main, old)") {
			t.Errorf("code %d, offenders %v, want %v; %s", v.code, reasons, want, v.stderr)
		}
		if r := v.report; !r.Complete || r.Records != 12 || r.Verified != 6 || r.Wrong != 4 || r.Missing != 2 || len(r.Topics) != 3 {
			t.Errorf("report %s", v.stdout)
		}
		for _, topic := range v.report.Topics {
			want := map[string]map[string]int64{sent: {"main": 4}, push: {"old": 1}, dead: {"main": 1}}[topic.Topic]
			if !maps.Equal(topic.Verified, want) {
				t.Errorf("%s: %v, want %v", topic.Topic, topic.Verified, want)
			}
		}
		for _, test := range []struct {
			args           string
			code           int
			records, wrong int64
		}{
			{"--since " + at(1) + " --until " + at(5), exitOK, 5, 0},
			{"--until " + at(3) + " email_sent", exitOK, 3, 0},
			{"email_*", exitFailure, 6, 2},
			{"dead-letter", exitOK, 1, 0},
			{"--since " + at(10) + " push_sent", exitOK, 2, 0},
			{"--since " + at(10) + " --strict push_sent", exitFailure, 2, 0},
			{"sms_sent", exitOK, 0, 0},
		} {
			v := verifyRun(t, both, append(strings.Fields(test.args), "-o", "json")...)
			if v.code != test.code || v.report.Records != test.records || v.report.Wrong != test.wrong {
				t.Errorf("%s: code %d, want %d, %d records and %d wrong: %s%s", test.args, v.code, test.code, test.records, test.wrong, v.stdout, v.stderr)
			}
		}

		rotated := verifyRun(t, tailSettings(env, "SLUICE_SIGNING_KEYS=main=key-of-now"), "--until", at(5), "-o", "json")
		if rotated.code != exitFailure || len(rotated.offenders) != 1 || rotated.offenders[0].EventID != "old" || rotated.offenders[0].Topic != push {
			t.Errorf("without the former key: %s", rotated.stdout)
		}
		if v = verifyRun(t, tailSettings(env)); v.code != exitUsage || !strings.Contains(v.stderr, "no signing key: set SLUICE_SIGNING_KEYS") {
			t.Errorf("without keys: code %d, %s", v.code, v.stderr)
		}
		v = verifyRun(t, both, "--offenders", "1")
		if v.code != exitFailure || strings.Count(v.stdout, " at offset ") != 1 || !strings.Contains(v.stdout, "3 more; --offenders 0 or -o json lists all") ||
			!strings.Contains(v.stdout, "2 records without a signature") {
			t.Errorf("%s%s", v.stdout, v.stderr)
		}
		if strings.Contains(v.stdout+v.stderr, "key-of") {
			t.Errorf("a key is told: %s%s", v.stdout, v.stderr)
		}
	})
}

// TestVerifyServed verifies what serve has written, and says first what retention has eaten.
func TestVerifyServed(t *testing.T) {
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		s := serve(t, settings(env))
		for i := range 10 {
			key := []string{testKey, "another-key-0002"}[i%2]
			if a := (request{body: fmt.Appendf(nil, `{"event_id":"v%d","object_type":"email","metric":"sent"}`, i), key: key}).insist(t, s.url); a.Status != "published" {
				t.Fatalf("%+v", a)
			}
		}
		(request{body: []byte("no JSON")}).insist(t, s.url)
		keys := tailSettings(env, "SLUICE_SIGNING_KEYS=test="+testKey+",other=another-key-0002")
		v := verifyRun(t, keys, "-o", "json")
		if v.code != exitOK || v.report.Records != 11 || v.report.Verified != 11 || strings.Contains(v.stderr, "deleted") {
			t.Errorf("code %d: %s%s", v.code, v.stdout, v.stderr)
		}

		client := newTailWriter(t, env).client
		admin, topic := kadm.NewClient(client), env.Topic("email_sent")
		ends, err := admin.ListEndOffsets(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		cut, left := kadm.Offsets{}, int64(1)
		for partition, end := range ends[topic] {
			cut.AddOffset(topic, partition, end.Offset/2, -1)
			left += end.Offset - end.Offset/2
		}
		if _, err := admin.DeleteRecords(t.Context(), cut); err != nil {
			t.Fatal(err)
		}
		v = verifyRun(t, keys, "--since", "1h", "-o", "json")
		if v.code != exitOK || v.report.Records != left || !strings.Contains(v.stderr, "older records were deleted") || len(v.report.Notes) != 1 {
			t.Errorf("code %d, want %d records: %s%s", v.code, left, v.stdout, v.stderr)
		}
	})
}
