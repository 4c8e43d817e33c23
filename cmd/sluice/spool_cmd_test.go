package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/config"
	"sluice/internal/stream"
	"sluice/internal/testenv"
)

// ran is what a run of a command leaves behind.
type ran struct {
	code           int
	stdout, stderr string
}

func runCommand(ctx context.Context, t *testing.T, environ []string, args ...string) ran {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var out, complaints lockedBuffer
	code := run(ctx, args, &process{environ: environ, stdout: &out, stderr: &complaints})
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Errorf("%q doesn't end: %s", args, complaints.String())
	}
	return ran{code, out.String(), complaints.String()}
}

// want checks the exit code, and that both outputs together have every one of the texts.
func (r ran) want(t *testing.T, code int, texts ...string) ran {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d; it says:\n%s%s", r.code, code, r.stdout, r.stderr)
	}
	for _, text := range texts {
		if !strings.Contains(r.stdout+r.stderr, text) {
			t.Errorf("no %q in:\n%s%s", text, r.stdout, r.stderr)
		}
	}
	return r
}

// spoolListed is ls -o json.
func spoolListed(t *testing.T, environ []string) (list spoolList) {
	t.Helper()
	r := runCommand(t.Context(), t, environ, "spool", "ls", "-o", "json").want(t, 0)
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil {
		t.Fatalf("%v in %s", err, r.stdout)
	}
	return list
}

// exportedLine is a line of an export.
type exportedLine struct {
	stream.Record
	Spool spoolMember `json:"spool"`
}

func parseExport(t *testing.T, text string) (lines []exportedLine) {
	t.Helper()
	for line := range strings.Lines(text) {
		var x exportedLine
		var err error
		if x.Record, err = stream.ParseLine([]byte(line)); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		var member struct {
			Spool *spoolMember `json:"spool"`
		}
		if err := json.Unmarshal([]byte(line), &member); err != nil || member.Spool == nil {
			t.Fatalf("%v, no member in %q", err, line)
		}
		x.Spool = *member.Spool
		lines = append(lines, x)
	}
	return lines
}

// TestSpoolCommands goes the way of an operator: Kafka takes nothing, the instance is gone for good, its events aren't.
func TestSpoolCommands(t *testing.T) {
	t.Parallel() // it mostly waits
	env := testenv.Fake(t)
	dir := t.TempDir()
	environ := settings(env, "SLUICE_SPOOL_DIR="+dir, "SLUICE_INSTANCE=worker-1", "SLUICE_REDIS_TIMEOUT=2s", "SLUICE_CLAIM_TIMEOUT=1s")
	samples := ownSamples(t)
	s := serve(t, environ)
	if a := (request{body: []byte(`{"event_id":"first","event_type":"email_sent"}`)}).insist(t, s.url); a.Status != "published" {
		t.Fatalf("%+v", a)
	}
	away := env.Kafka.(*testenv.FakeCluster).Outage()
	away.Store(true)
	for _, x := range samples {
		if a := (request{body: x.body}).insist(t, s.url); a.Status != "spooled" {
			t.Fatalf("%s: %+v", x.name, a)
		}
	}

	// While it runs, everything can be seen, and nothing is taken from it.
	list := spoolListed(t, environ)
	if len(list.Instances) != 1 || !list.Instances[0].Running || list.Instances[0].Events != len(samples) || len(list.Instances[0].Torn) > 0 {
		t.Errorf("%+v", list)
	}
	runCommand(t.Context(), t, environ, "spool", "drain", "--instance", "worker-1").want(t, 1, `a running sluice has the folder of instance "worker-1": stop it first`)
	runCommand(t.Context(), t, environ, "spool", "drain").want(t, 0, "worker-1 is left alone: a running instance has it", "Nothing is to be drained in "+dir)
	runCommand(t.Context(), t, environ, "spool", "export", "--instance", "worker-2").want(t, 1, `there is no instance "worker-2"`, "there is worker-1")
	if code := s.stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}

	item := spoolListed(t, environ).Instances[0]
	if item.Running || item.Events != len(samples) || item.Batches == 0 || item.Kept == 0 || item.Format != 1 || item.Oldest == nil || len(item.Damaged) > 0 {
		t.Errorf("%+v", item)
	}
	if i := slices.IndexFunc(item.Topics, func(x spoolItemTopic) bool { return x.Topic == env.Topic("dead_letter") }); i < 0 || item.Topics[i].Events != 6 {
		t.Errorf("%+v", item.Topics)
	}
	runCommand(t.Context(), t, environ, "spool", "ls").want(t, 0, "worker-1", "not running", env.Topic("push_bounced"))

	// Every acknowledged event is in the export, and says whether it may be in Kafka.
	file := filepath.Join(t.TempDir(), "spool.ndjson.gz")
	runCommand(t.Context(), t, environ, "spool", "export", "--to", file).want(t, 0, fmt.Sprintf("%d events of 1 instance exported, %d of which may be in Kafka", len(samples), item.MayBeInKafka))
	runCommand(t.Context(), t, environ, "spool", "export", "--to", file).want(t, 1, "file exists")
	lines := parseExport(t, gunzip(t, file))
	if plain := runCommand(t.Context(), t, environ, "spool", "export").want(t, 0); plain.stdout != gunzip(t, file) {
		t.Error("standard output gets something else than a file")
	}
	for _, x := range samples {
		topic := env.Topic(x.eventType)
		if x.eventType == "" {
			topic = env.Topic("dead_letter")
		}
		if !slices.ContainsFunc(lines, func(l exportedLine) bool {
			return l.Topic == topic && bytes.Equal(l.Value, x.body) && l.Offset == -1 && l.Partition == -1 && l.Spool.Instance == "worker-1"
		}) {
			t.Errorf("%s isn't in the export", x.name)
		}
	}
	mayBe := 0
	for _, l := range lines {
		if l.Spool.MayBeInKafka != (l.Spool.Partition != nil) || l.Header("content-type") == "" {
			t.Errorf("%+v", l)
		}
		if l.Spool.MayBeInKafka {
			mayBe++
		}
	}
	if len(lines) != len(samples) || mayBe != item.MayBeInKafka {
		t.Errorf("%d lines, %d of which may be in Kafka", len(lines), mayBe)
	}

	// What isn't sent in time, or until Ctrl-C, stays.
	runCommand(t.Context(), t, environ, "spool", "drain", "--timeout", "1s").want(t, 1, fmt.Sprintf("worker-1: %d of %d events are left, and stay in the folder", len(samples), len(samples)))
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	runCommand(ctx, t, environ, "spool", "drain").want(t, 1)
	noRedis := slices.Concat(environ, []string{"SLUICE_REDIS_URL=redis://127.0.0.1:1"})
	runCommand(t.Context(), t, noRedis, "spool", "drain").want(t, 1, "redis is away (dial)", "check --redis-url (SLUICE_REDIS_URL)")
	if item := spoolListed(t, environ).Instances[0]; item.Events != len(samples) {
		t.Errorf("%+v", item)
	}

	away.Store(false)
	runCommand(t.Context(), t, environ, "spool", "drain").want(t, 0, fmt.Sprintf("worker-1: %d events sent, folder removed", len(samples)))
	runCommand(t.Context(), t, environ, "spool", "drain").want(t, 0, "Nothing is to be drained")
	runCommand(t.Context(), t, environ, "spool", "ls").want(t, 0, "No instance has a folder in "+dir)
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("%v, %v", files, err)
	}
	records := env.Records(t)
	for _, l := range lines {
		n := 0
		for _, r := range records {
			if r.Topic == l.Topic && bytes.Equal(r.Value, l.Value) && bytes.Equal(r.Key, l.Key) {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d records of %q on %s", n, l.Value, l.Topic)
		}
	}
	s = serve(t, slices.Concat(environ, []string{"SLUICE_INSTANCE=worker-2"}))
	for _, x := range samples {
		if a := (request{body: x.body}).insist(t, s.url); a.code != http.StatusOK || a.Status != "duplicate" {
			t.Errorf("%s again: %+v", x.name, a)
		}
	}
}

func gunzip(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestSpoolFolderGoesMeanwhile reads a folder that another instance has taken over since it was listed.
func TestSpoolFolderGoesMeanwhile(t *testing.T) {
	c := &config.Config{Spool: config.Spool{SpoolDir: t.TempDir()}}
	f, err := readSpool(c, "gone", nil)
	if err != nil || f.Unsettled != 0 || f.total().events != 0 || len(f.unread()) > 0 {
		t.Errorf("%+v, %v", f, err)
	}
	if item := newSpoolItem(f); item.Instance != "gone" || item.Oldest != nil {
		t.Errorf("%+v", item)
	}
}
