package spool

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// An entry that was being written at a kill isn't taken for damage, whatever it holds: zeros, as the stamps of batches do,
// could pass for an empty frame.
func TestTornEntryOfZeros(t *testing.T) {
	dir := t.TempDir()
	l, err := Open(Options{Dir: dir, Instance: "a"})
	if err != nil {
		t.Fatal(err)
	}
	payload := append(make([]byte, 40), kindEntry, kindSettled, 0, 0, 0, 0)
	if _, err := l.Append(time.Now(), Addition{Payload: []byte("whole")}, Addition{Payload: payload}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "a", "*.log"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	info, err := os.Stat(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(files[0], info.Size()-2); err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zapcore.WarnLevel)
	if l, err = Open(Options{Dir: dir, Instance: "a", Log: zap.New(core)}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, unsettled := l.Size(); unsettled != 1 || logs.Len() > 0 {
		t.Errorf("%d entries, and the log says %v", unsettled, logs.All())
	}
}
