package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sluice/dedupe"
	"sluice/internal/stream"
	"sluice/internal/testenv"
)

// TestCheckpointFollowsMarks: what a checkpoint counts as done is in Redis, whenever the process is killed.
func TestCheckpointFollowsMarks(t *testing.T) {
	env := testenv.Fake(t)
	store := newRedisOf(t, env)
	marker, err := dedupe.NewMarker(dedupe.Options{URL: env.RedisURL(), Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = marker.Close() }()
	settings, file := rebuildSettings{Topic: "t"}, filepath.Join(t.TempDir(), "rebuild.json")
	r := newRebuild(rebuildOptions{TTL: time.Hour, Marker: marker, Checkpoint: file}, newRebuildState(settings, time.Now()))
	store.put("e1", "pending:a.0011223344556677.1")
	for i := range int64(3) {
		if i == 2 {
			r.saved = time.Now().Add(-time.Hour) // the last one was long ago
		}
		record := &stream.Record{
			Topic: "a", Partition: 4, Offset: 10 + i, Time: time.Now(), Value: fmt.Appendf(nil, `{"event_id":"e%d","event_type":"x"}`, i),
			Headers: []stream.Header{{Key: "event-type", Value: []byte("x")}},
		}
		if err := r.take(t.Context(), record); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(file); (err == nil) != (i == 2) {
			t.Errorf("after record %d: %v", i, err)
		}
	}
	if marks := store.all(); marks["slu:e0"] != "done" || marks["slu:e2"] != "done" || len(marks) != 3 {
		t.Errorf("marks %v", marks)
	}
	got, err := readCheckpoint(file, settings)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Offsets) != 1 || got.Offsets[0] != (rebuildOffset{"a", 4, 13}) || len(got.Pending) != 1 || got.Pending[0].ID != "e1" ||
		got.Counts != (rebuildCounts{Records: 3, IDs: 3, Marked: 2, Pending: 1}) || got.next()[stream.Partition{Topic: "a", ID: 4}] != 13 {
		t.Errorf("checkpoint %+v", got)
	}
	if err := got.write(filepath.Join(file, "no folder")); err == nil {
		t.Error("it is written into a file")
	}
	left, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
