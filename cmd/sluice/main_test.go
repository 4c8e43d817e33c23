package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"sluice/internal/testenv"
)

// TestMain makes "sluice" in the scripts run the real main in a process of its own.
func TestMain(m *testing.M) {
	testscript.Main(testenv.Wrap(m), map[string]func(){"sluice": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", "atexit_sleep_ms=0") // by default a process with the race detector ends a second late
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "kafka": scriptKafka,
		},
	})
}

// exits runs a program and wants a certain exit code: "exits 2 sluice config". Its output can then be looked at.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code program [args...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		got = failed.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%s exited with code %d, want %d", args[1], got, want)
	}
}

// brokenWriter fails like a pipe whose reader has gone.
type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestRunReportsFailure(t *testing.T) {
	signed := []string{"SLUICE_SIGNING_KEYS=main=0123456789abcdef"}
	for _, args := range [][]string{{"version"}, {"config"}, {"config", "--output=yaml"}, {"config", "--output=json"}} {
		var stderr bytes.Buffer
		code := run(context.Background(), args, &process{environ: signed, stdout: brokenWriter{}, stderr: &stderr})
		if code != exitFailure || !bytes.HasPrefix(stderr.Bytes(), []byte("sluice: ")) {
			t.Errorf("%q: exit code %d, want %d; standard error %q", args, code, exitFailure, stderr.String())
		}
	}
}

func TestJoinNegative(t *testing.T) {
	for args, want := range map[string]string{
		"rewind --to -2h --group g": "rewind --to=-2h --group g",
		"rewind --to=-2h":           "rewind --to=-2h",
		"tail --since -v":           "tail --since -v",
		"tail -n 5 -- --to -2h":     "tail -n 5 -- --to -2h",
		"rewind --to":               "rewind --to",
		"":                          "",
	} {
		if got := strings.Join(joinNegative(strings.Fields(args)), " "); got != want {
			t.Errorf("%q became %q", args, got)
		}
	}
}
