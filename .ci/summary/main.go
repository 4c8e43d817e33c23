// Command summary reads the output of `go test -json` and prints what a person wants to see of it: one line for each
// package, the output of failed tests, the names of those that must not be skipped but were, those that took long, and a
// last line of totals.
//
// Its exit code is 1 if a test failed, if a package couldn't be built or ended early, if no test ran at all, or if a test
// was skipped that doesn't match -may-skip. It does not run tests.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

func main() {
	maySkip := flag.String("may-skip", "^$", "a regular `expression`: skips whose package, test or reason matches don't fail")
	flag.Parse()
	allowed, err := regexp.Compile(*maySkip)
	if err != nil {
		fmt.Fprintln(os.Stderr, "summary: -may-skip:", err)
		os.Exit(2)
	}
	ok, err := summarize(os.Stdin, os.Stdout, allowed)
	if err != nil {
		fmt.Fprintln(os.Stderr, "summary:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// event is one line of `go test -json` (go doc test2json).
type event struct {
	Action      string
	Package     string
	ImportPath  string // of a build event
	Test        string
	Output      string
	FailedBuild string
	Elapsed     float64 // seconds, without what runs beside others in the test
	Time        time.Time
}

// key names a test, or a package where test is empty.
type key struct{ pkg, test string }

// summary is what was seen so far.
type summary struct {
	out            io.Writer
	output         map[key]*strings.Builder // of what hasn't ended yet
	failedIn       map[string]int           // failed tests by package
	passed, failed int
	skipped        int
	forbidden      []string // skipped, and maySkip doesn't match: with package and reason
	maySkip        *regexp.Regexp
	took           []took
	begun          map[key]time.Time // tests that run, or ran and have ended
}

// took is how long a test ran, its parts included.
type took struct {
	key
	seconds float64
}

// slow is from how many seconds on a test is among the slowest.
const slow = 10

// summarize copies what matters from in to out and tells whether all is well.
func summarize(in io.Reader, out io.Writer, maySkip *regexp.Regexp) (bool, error) {
	s := &summary{out: out, output: map[key]*strings.Builder{}, failedIn: map[string]int{}, maySkip: maySkip, begun: map[key]time.Time{}}
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			s.line(line)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return false, fmt.Errorf("reading test events: %w", err)
		}
	}
	if len(s.forbidden) > 0 {
		fmt.Fprintf(out, "tests that must not be skipped:\n  %s\n", strings.Join(s.forbidden, "\n  "))
	}
	s.slowest()
	fmt.Fprintf(out, "tests: %d passed, %d failed, %d skipped\n", s.passed, s.failed, s.skipped)
	return s.failed == 0 && s.passed > 0 && len(s.forbidden) == 0, nil
}

// slowest names the tests that took long: that is where the time of a run can be won back.
func (s *summary) slowest() {
	slices.SortFunc(s.took, func(a, b took) int { return cmp.Compare(b.seconds, a.seconds) })
	for i, t := range s.took {
		if i == 0 {
			fmt.Fprintln(s.out, "the slowest tests:")
		}
		fmt.Fprintf(s.out, "%6.0f s  %s %s\n", t.seconds, t.pkg, t.test)
	}
}

// line takes one line of input; what isn't an event is shown as it is.
func (s *summary) line(line []byte) {
	var e event
	if err := json.Unmarshal(line, &e); err != nil {
		fmt.Fprintf(s.out, "%s", line)
		return
	}
	at := key{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(s.out, e.Output)
	case "output":
		s.keep(at, e.Output)
	case "run", "cont":
		s.begun[at] = e.Time
	case "pass":
		delete(s.output, at)
		if e.Test != "" {
			s.passed++
		}
		seconds := e.Elapsed
		if begun, known := s.begun[at]; known {
			seconds = max(seconds, e.Time.Sub(begun).Seconds())
		}
		if e.Test != "" && !strings.Contains(e.Test, "/") && seconds >= slow {
			s.took = append(s.took, took{at, seconds})
		}
	case "skip":
		if e.Test != "" {
			line := fmt.Sprintf("%s %s: %s", e.Package, e.Test, s.reason(at))
			s.skipped++
			if !s.maySkip.MatchString(line) {
				s.forbidden = append(s.forbidden, line)
			}
		}
		delete(s.output, at)
	case "fail":
		s.fail(at, e)
	}
}

// keep stores a test's output until its outcome is known; a package's own lines are shown at once.
func (s *summary) keep(at key, output string) {
	if at.test != "" {
		if s.output[at] == nil {
			s.output[at] = &strings.Builder{}
		}
		s.output[at].WriteString(output)
		return
	}
	if output != "PASS\n" && !strings.HasPrefix(output, "?   \t") { // the latter: a package without tests
		fmt.Fprint(s.out, output)
	}
}

// fail shows the output of a failed test; for a package that failed without a failed test (a panic, a time-out, a
// leak found after the tests, a build error) that of every test that hadn't ended.
func (s *summary) fail(at key, e event) {
	if at.test != "" {
		s.failed++
		s.failedIn[at.pkg]++
		s.show(at)
		return
	}
	if s.failedIn[at.pkg] == 0 {
		s.failed++
	}
	for open := range s.output {
		if open.pkg == at.pkg {
			s.show(open)
		}
	}
	if e.FailedBuild != "" {
		fmt.Fprintf(s.out, "FAIL\t%s: %s doesn't build\n", at.pkg, e.FailedBuild)
	}
}

// show prints and forgets a test's output.
func (s *summary) show(at key) {
	if b := s.output[at]; b != nil {
		fmt.Fprintf(s.out, "--- %s %s\n%s", at.pkg, at.test, b)
	}
	delete(s.output, at)
}

// reason is what a skipped test said: its output without go test's own marks.
func (s *summary) reason(at key) string {
	b := s.output[at]
	if b == nil {
		return "no reason given"
	}
	var said []string
	for line := range strings.Lines(b.String()) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "===") && !strings.HasPrefix(line, "---") {
			said = append(said, line)
		}
	}
	return strings.Join(said, " ")
}
