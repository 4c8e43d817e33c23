package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"sluice/internal/testenv"
)

// TestDrainWhatAKillHasLeft freezes Kafka under load and kills the instance, for good: batches are on their way, of which
// nobody knows, and more is kept. An operator gets all of it to Kafka, once.
func TestDrainWhatAKillHasLeft(t *testing.T) {
	kafka := testenv.Kafka(t)
	env := testenv.RealOn(t, kafka)
	dir := t.TempDir()
	// The spool commands need the settings of the instance; a lease that ends soon shows who isn't kept out by its mark.
	s := startProcess(t, env, "SLUICE_SPOOL_DIR="+dir, "SLUICE_INSTANCE=worker-1", "SLUICE_DEDUPE_LEASE=10s")
	l := newLedger()
	ctx, cancel := context.WithCancel(t.Context())
	wg := l.load(ctx, t, 16, s.url)
	acknowledged := func(least int) {
		t.Helper()
		testenv.Eventually(t, time.Minute, func() error {
			l.mu.Lock()
			defer l.mu.Unlock()
			if n := len(l.acked); n < least {
				return fmt.Errorf("%d events are acknowledged", n)
			}
			return nil
		})
	}
	acknowledged(500)
	kafka.Broker(0).Stop(t)
	l.mu.Lock()
	before := len(l.acked)
	l.mu.Unlock()
	acknowledged(before + 500)
	s.Kill(t)
	cancel()
	wg.Wait()
	kafka.Broker(0).Kill(t)

	list := spoolListed(t, s.environ)
	if len(list.Instances) != 1 {
		t.Fatalf("%+v", list)
	}
	item := list.Instances[0]
	if item.Running || item.Batches == 0 || item.Kept == 0 || item.MayBeInKafka == 0 || item.Events < 500 || len(item.Damaged) > 0 {
		t.Errorf("%+v", item)
	}
	t.Logf("%d batches with %d events, %d kept", item.Batches, item.MayBeInKafka, item.Kept)
	lines := parseExport(t, runCommand(t.Context(), t, s.environ, "spool", "export").want(t, 0).stdout)
	if len(lines) != item.Events {
		t.Errorf("%d lines of %d events", len(lines), item.Events)
	}
	exported := map[string]exportedLine{}
	for _, line := range lines {
		exported[line.Header("ce_id")] = line
	}
	runCommand(t.Context(), t, s.environ, "spool", "drain", "--timeout", "2s").want(t, 1, "worker-1: ", "are left, and stay in the folder", "Kafka doesn't answer")

	kafka.Broker(0).Restart(t)
	// Nothing that was acknowledged is anywhere but in Kafka and in the export.
	inKafka := map[string]bool{}
	for _, r := range env.Records(t) {
		id, _ := r.Header("ce_id")
		inKafka[id] = true
	}
	for id := range l.acked {
		line, there := exported[id]
		if !there && !inKafka[id] {
			t.Errorf("%s is neither in Kafka nor in the export", id)
		}
		if there && string(line.Value) != bodyOf(id) {
			t.Errorf("%s was exported as %q", id, line.Value)
		}
		if inKafka[id] && there && !line.Spool.MayBeInKafka {
			t.Errorf("%s is in Kafka, though it certainly isn't", id)
		}
	}

	runCommand(t.Context(), t, s.environ, "spool", "drain").want(t, 0, fmt.Sprintf("worker-1: %d events sent, folder removed", item.Events))
	if _, err := os.Stat(filepath.Join(dir, "worker-1")); !os.IsNotExist(err) {
		t.Errorf("%v", err)
	}
	l.check(t, env)

	// Another instance knows all of them, also those whose claims the killed one had.
	heir := startProcess(t, env, "SLUICE_INSTANCE=worker-2")
	var repeats sync.WaitGroup
	ids := make(chan string)
	for range 8 {
		repeats.Go(func() {
			for id := range ids {
				a, err := request{body: []byte(bodyOf(id))}.send(t.Context(), heir.url)
				if err != nil || a.code != http.StatusOK || a.Status != "duplicate" {
					t.Errorf("%s again: %+v, %v", id, a, err)
				}
			}
		})
	}
	for id := range exported {
		ids <- id
	}
	close(ids)
	repeats.Wait()
	if code := heir.Terminate(t, 30*time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	l.check(t, env)
}

// bodyOf is the body that the ledger's load has sent under this id.
func bodyOf(id string) string {
	var c, i int
	if _, err := fmt.Sscanf(id, "c%d-%d", &c, &i); err != nil {
		return err.Error()
	}
	return string(loadBody(c, i))
}
