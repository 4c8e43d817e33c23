package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
)

// stage lets a program use package testenv, whose servers belong to a test: it is the part of testing.TB that testenv
// calls. The embedded TB is nil; a method that isn't below panics.
type stage struct {
	testing.TB

	ctx      context.Context //nolint:containedctx // that is how a test has it
	cleanups []func()        // last in, first out
	errs     []error
}

// onStage runs f and then its cleanups. The error is what f failed with.
func onStage(ctx context.Context, f func(*stage)) error {
	ctx, cancel := context.WithCancel(ctx)
	s := &stage{ctx: ctx}
	done := make(chan struct{})
	go func() { // Fatal ends a goroutine
		defer close(done)
		defer s.clean()
		defer cancel() // before the cleanups, as a test's
		f(s)
	}()
	<-done
	return errors.Join(s.errs...)
}

// clean runs the cleanups, also those that a cleanup adds, and also when one of them ends the goroutine.
func (s *stage) clean() {
	for n := len(s.cleanups); n > 0; n = len(s.cleanups) {
		last := s.cleanups[n-1]
		s.cleanups = s.cleanups[:n-1]
		defer s.clean()
		last()
	}
}

func (s *stage) Helper()                  {}
func (s *stage) Name() string             { return "bench" }
func (s *stage) Context() context.Context { return s.ctx }
func (s *stage) Cleanup(f func())         { s.cleanups = append(s.cleanups, f) }
func (s *stage) Failed() bool             { return len(s.errs) > 0 }
func (s *stage) FailNow()                 { runtime.Goexit() }

func (s *stage) Log(args ...any)                 { fmt.Fprintln(os.Stderr, args...) }
func (s *stage) Logf(format string, args ...any) { s.Log(fmt.Sprintf(format, args...)) }

func (s *stage) Error(args ...any) {
	s.errs = append(s.errs, errors.New(strings.TrimSuffix(fmt.Sprintln(args...), "\n")))
}
func (s *stage) Errorf(format string, args ...any) { s.Error(fmt.Sprintf(format, args...)) }
func (s *stage) Fatal(args ...any)                 { s.Error(args...); s.FailNow() }
func (s *stage) Fatalf(format string, args ...any) { s.Errorf(format, args...); s.FailNow() }

// A benchmark can't be skipped: what testenv would skip for is an error here.
func (s *stage) Skip(args ...any)                 { s.Fatal(args...) }
func (s *stage) Skipf(format string, args ...any) { s.Fatalf(format, args...) }

// TempDir is a folder that is removed in the end.
func (s *stage) TempDir() string {
	dir, err := os.MkdirTemp("", "sluice-bench-")
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			s.Error(err)
		}
	})
	return dir
}

// must ends the run on an error.
func (s *stage) must(err error) {
	if err != nil {
		s.Fatal(err)
	}
}
