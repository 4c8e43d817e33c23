//go:build !nodemo

package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestScreen(t *testing.T) {
	var out bytes.Buffer
	s := newScreen(&out, true)
	s.show("one\ntwo")
	if got := out.String(); got != "one\ntwo\n" {
		t.Errorf("shows %q", got)
	}
	out.Reset()
	s.show("three")
	erased := strings.Repeat("\x1b[A\x1b[K", 2)
	if got := out.String(); got != erased+"three\n" {
		t.Errorf("then shows %q", got)
	}
	out.Reset()
	if n, err := s.Write([]byte("log\n")); n != 4 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if got := out.String(); got != "\x1b[A\x1b[Klog\nthree\n" {
		t.Errorf("lets pass %q", got)
	}
	out.Reset()
	s.clear()
	if got := out.String(); got != "\x1b[A\x1b[K" {
		t.Errorf("clears with %q", got)
	}
	out.Reset()
	s.show(strings.Repeat("a wide line with more than eighty characters in it, for a terminal that has eighty\n", 40) + "the last")
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 23 || lines[22] != "the last" || lines[21] != "…" || len(lines[0]) != 79 {
		t.Errorf("of 41 wide lines %d are shown: %q", len(lines), lines)
	}
	out.Reset()
	newScreen(&out, false).show("one\ntwo")
	if got := out.String(); got != "two\n" {
		t.Errorf("where nothing can be redrawn it shows %q", got)
	}
}
