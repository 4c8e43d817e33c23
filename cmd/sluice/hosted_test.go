package main

import (
	"bytes"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/internal/testenv"
)

// TestHostedKafka follows docs/hosted.md on a Kafka with TLS, logins and rights: the topics and rights that the page
// gives are made by its own commands, and suffice.
func TestHostedKafka(t *testing.T) {
	t.Parallel() // nothing here depends on a machine of its own
	users := []testenv.User{{Name: "sluice", Password: "one-secret"}, {Name: "reader", Password: "another-secret"}, {Name: "writer", Password: "a-third-secret"}}
	kafka := testenv.Kafka(t, testenv.WithSASL(users...), testenv.WithTLS(), testenv.WithACLs())
	r := newDocRunner(t, filepath.Join("..", ".."), "127.0.0.1:9092", kafka.Internal()[0])
	for i, v := range r.environ {
		if path, is := strings.CutPrefix(v, "PATH="); is {
			r.environ[i] = "PATH=" + kafka.Tools(t) + ":" + path
		}
	}
	for _, b := range docBlocks(t) {
		if b.where == "kafka" {
			r.run(t, b)
		}
	}
	r.run(t, docBlock{page: "write", script: `kafka-acls.sh --bootstrap-server 127.0.0.1:9092 --add --allow-principal User:writer \
		--operation Write --operation Describe --operation DescribeConfigs --topic customerio_ --resource-pattern-type prefixed`})
	// What the page says of reading.
	r.run(t, docBlock{page: "read", script: `kafka-acls.sh --bootstrap-server 127.0.0.1:9092 --add --allow-principal User:reader \
		--operation Read --operation Describe --topic customerio_ --resource-pattern-type prefixed`})

	as := func(u testenv.User) []string {
		return []string{
			"SLUICE_KAFKA_BROKERS=" + kafka.Bootstrap()[0], "SLUICE_KAFKA_TLS=true", "SLUICE_KAFKA_TLS_CA=" + kafka.TLS().CAFile,
			"SLUICE_KAFKA_SASL_MECHANISM=scram-sha-512", "SLUICE_KAFKA_SASL_USERNAME=" + u.Name, "SLUICE_KAFKA_SASL_PASSWORD=" + u.Password,
		}
	}
	start := func(u testenv.User, redisURL string) *running {
		return serve(t, append(as(u), "SLUICE_CREATE_TOPICS=false", "SLUICE_REDIS_URL="+redisURL, "SLUICE_INSTANCE="+u.Name,
			"SLUICE_SIGNING_KEYS=test="+testKey, "SLUICE_LISTEN=127.0.0.1:0", "SLUICE_ADMIN_LISTEN=127.0.0.1:0", "SLUICE_LOG_FORMAT=json"))
	}
	s := start(users[0], testenv.Redis(t).URL())
	for body, want := range map[string]string{
		`{"event_id":"hosted","object_type":"email","metric":"sent"}`:      "published",
		`{"event_id":"other","object_type":"pigeon","metric":"delivered"}`: "published", // has no topic of its own
		`no JSON`: "dead_lettered",
	} {
		a := request{body: []byte(body)}.insist(t, s.url)
		if kept := a.again && a.Status == "duplicate"; a.code != http.StatusOK || a.Status != want && !kept {
			t.Errorf("%s: %+v", body, a)
		}
	}
	tail := func(u testenv.User, args ...string) (int, string) {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), append([]string{"tail", "--no-follow", "-o", "raw"}, args...), &process{environ: as(u), stdout: &stdout, stderr: &stderr})
		return code, stdout.String() + stderr.String()
	}
	if code, out := tail(users[1], "--unknown", "--dead-letter"); code != exitOK || !strings.Contains(out, "hosted") || !strings.Contains(out, "pigeon") || !strings.Contains(out, "no JSON") {
		t.Errorf("the reader's tail ends with %d:\n%s", code, out)
	}
	repaired(t, "empty", s.admin) // it may read what it has to
	lame := start(users[2], testenv.Redis(t).URL())
	testenv.Eventually(t, 60*time.Second, func() error {
		if text := scrape(t, lame.admin); strings.Contains(text, "sluice_dedupe_repairs_total{result=\"failed\"} 0\n") {
			return errors.New("no repair fails")
		}
		return nil
	})
	if a := (request{body: []byte(`{"event_id":"unread","object_type":"email","metric":"sent"}`)}).insist(t, lame.url); a.Status != "published" {
		t.Errorf("without the right to read: %+v", a)
	}
	if code, out := tail(users[2], "email_sent"); code != exitFailure || !strings.Contains(out, "uthoriz") {
		t.Errorf("the tail of one who may only write ends with %d:\n%s", code, out)
	}
}
