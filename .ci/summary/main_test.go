package main

import (
	"cmp"
	"regexp"
	"strings"
	"testing"
)

func TestSummarize(t *testing.T) {
	const pass = `{"Action":"output","Package":"p","Test":"TestA","Output":"noise\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p"}
`
	for name, c := range map[string]struct {
		in      string
		maySkip string
		ok      bool
		want    []string
		not     []string
	}{
		"all passed": {
			in: pass, ok: true,
			want: []string{"ok  \tp\t0.1s\n", "tests: 1 passed, 0 failed, 0 skipped\n"},
			not:  []string{"noise", "PASS"},
		},
		"slow ones are named": {
			in: pass + `{"Action":"pass","Package":"q","Test":"TestB/part","Elapsed":11}` + "\n" +
				`{"Action":"pass","Package":"q","Test":"TestB","Elapsed":12}` + "\n" + `{"Action":"pass","Package":"q","Test":"TestC","Elapsed":9.9}` + "\n",
			ok: true, want: []string{"the slowest tests:\n    12 s  q TestB\ntests: 4 passed"}, not: []string{"TestC", "part"},
		},
		"parallel parts count": {
			in: `{"Time":"2026-01-01T00:00:00Z","Action":"run","Package":"q","Test":"TestB"}
{"Time":"2026-01-01T00:00:09Z","Action":"cont","Package":"q","Test":"TestB"}
{"Time":"2026-01-01T00:00:30Z","Action":"pass","Package":"q","Test":"TestB","Elapsed":1}
`,
			ok: true, want: []string{"    21 s  q TestB\n"},
		},
		"a failure is shown with its output": {
			in: pass + `{"Action":"output","Package":"q","Test":"TestB","Output":"why\n"}
{"Action":"fail","Package":"q","Test":"TestB"}
{"Action":"output","Package":"q","Output":"FAIL\tq\t0.1s\n"}
{"Action":"fail","Package":"q"}
`,
			want: []string{"--- q TestB\nwhy\n", "FAIL\tq", "tests: 1 passed, 1 failed, 0 skipped\n"},
		},
		"a skip fails and is named with its reason": {
			in: pass + `{"Action":"output","Package":"q","Test":"TestC","Output":"=== RUN   TestC\n"}
{"Action":"output","Package":"q","Test":"TestC","Output":"    c_test.go:1: needs redis\n"}
{"Action":"skip","Package":"q","Test":"TestC"}
`,
			want: []string{"q TestC: c_test.go:1: needs redis\n", "tests: 1 passed, 0 failed, 1 skipped\n"},
			not:  []string{"=== RUN"},
		},
		"a skip may be allowed": {
			in:      pass + `{"Action":"skip","Package":"q","Test":"TestC"}` + "\n",
			maySkip: "no reason", ok: true,
			want: []string{"0 failed, 1 skipped"},
			not:  []string{"TestC"},
		},
		"another skip isn't": {
			in:      pass + `{"Action":"skip","Package":"q","Test":"TestC"}` + "\n",
			maySkip: "TestD",
			want:    []string{"q TestC: no reason given", "0 failed, 1 skipped"},
		},
		"a package without tests is no skip": {
			in: pass + `{"Action":"output","Package":"q","Output":"?   \tq\t[no test files]\n"}
{"Action":"skip","Package":"q"}
`,
			ok: true, want: []string{"0 skipped"}, not: []string{"no test files"},
		},
		"a panic shows the tests under way": {
			in: `{"Action":"output","Package":"q","Test":"TestD","Output":"panic: oh\n"}
{"Action":"fail","Package":"q"}
`,
			want: []string{"--- q TestD\npanic: oh\n", "0 passed, 1 failed"},
		},
		"a package that doesn't build": {
			in: `{"ImportPath":"q","Action":"build-output","Output":"q.go:1: undefined: x\n"}
{"Action":"fail","Package":"q","FailedBuild":"q"}
`,
			want: []string{"undefined: x", "q doesn't build", "0 passed, 1 failed"},
		},
		"no test at all":       {in: "", want: []string{"tests: 0 passed, 0 failed, 0 skipped\n"}},
		"other lines are kept": {in: pass + "go: downloading x\n", ok: true, want: []string{"go: downloading x\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			ok, err := summarize(strings.NewReader(c.in), &out, regexp.MustCompile(cmp.Or(c.maySkip, "^$")))
			if err != nil {
				t.Fatal(err)
			}
			if ok != c.ok {
				t.Errorf("well: %t, want %t", ok, c.ok)
			}
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("the output lacks %q:\n%s", want, out.String())
				}
			}
			for _, not := range c.not {
				if strings.Contains(out.String(), not) {
					t.Errorf("the output has %q:\n%s", not, out.String())
				}
			}
		})
	}
}
