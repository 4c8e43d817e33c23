package sender

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const two = "{\"event_id\":\"a\",\"event_type\":\"email_sent\",\"data\":{\"delivery_id\":\"D\"}}\r\n\nnot JSON \n{\"event_id\":\"b\"}"
	for name, x := range map[string]struct {
		files Files
		want  []Event
	}{
		"one body, byte for byte": {Files{Names: []string{write("a.json", two+"\n")}}, []Event{{Body: []byte(two + "\n"), ID: "a"}}},
		"lines by name": {
			Files{Names: []string{write("a.ndjson", two)}, DeliveryIDs: true},
			[]Event{
				{Body: []byte(two[:strings.Index(two, "\r")]), ID: "a", Type: "email_sent", DeliveryID: "D"},
				{Body: []byte("not JSON ")},
				{Body: []byte(`{"event_id":"b"}`), ID: "b"},
			},
		},
		"lines by request":               {Files{Names: []string{write("b.txt", "1\n2\n")}, Format: FormatNDJSON}, []Event{{Body: []byte("1")}, {Body: []byte("2")}}},
		"body by request":                {Files{Names: []string{write("b.jsonl", "1\n2\n")}, Format: FormatBody}, []Event{{Body: []byte("1\n2\n")}}},
		"standard input":                 {Files{Names: []string{"-"}, Stdin: strings.NewReader("1\n2")}, []Event{{Body: []byte("1")}, {Body: []byte("2")}}},
		"input as one body":              {Files{Names: []string{"-"}, Stdin: strings.NewReader("1\n2"), Format: FormatBody}, []Event{{Body: []byte("1\n2")}}},
		"an empty file is an empty body": {Files{Names: []string{write("empty.json", "")}}, []Event{{Body: []byte{}}}},
		"no lines":                       {Files{Names: []string{write("empty.ndjson", "")}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []Event
			for e, err := range x.files.Events() {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, e)
			}
			same := slices.EqualFunc(got, x.want, func(a, b Event) bool {
				return string(a.Body) == string(b.Body) && a.ID == b.ID && a.Type == b.Type && a.DeliveryID == b.DeliveryID
			})
			if !same {
				t.Errorf("got %q\nwant %q", got, x.want)
			}
		})
	}
}

// endless gives the same line for ever.
type endless struct{ line string }

func (r endless) Read(b []byte) (int, error) {
	n := 0
	for len(b)-n >= len(r.line) {
		n += copy(b[n:], r.line)
	}
	return n, nil
}

// TestLinesAreReadOneByOne: the input has no end.
func TestLinesAreReadOneByOne(t *testing.T) {
	files, n := Files{Names: []string{"-"}, Stdin: endless{"{}\n"}}, 0
	for _, err := range files.Events() {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 10_000 {
			break
		}
	}
}

func TestFilesRefuse(t *testing.T) {
	long := strings.Repeat("x", MaxBody)
	for name, x := range map[string]struct {
		files  Files
		before int
		want   error
		says   string
	}{
		"missing":     {Files{Names: []string{filepath.Join(t.TempDir(), "none")}}, 0, os.ErrNotExist, ""},
		"long line":   {Files{Names: []string{"-"}, Stdin: strings.NewReader("1\n" + long + "\r\n" + long + "x\n4")}, 2, ErrTooLong, "line 3"},
		"longer line": {Files{Names: []string{"-"}, Stdin: endless{"x"}}, 0, ErrTooLong, "line 1"},
		"long body":   {Files{Names: []string{"-"}, Stdin: endless{"x"}, Format: FormatBody}, 0, ErrTooLong, "standard input"},
		"broken":      {Files{Names: []string{"-"}, Stdin: io.MultiReader(strings.NewReader("1\n"), failing{})}, 1, io.ErrClosedPipe, "line 2"},
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			var got error
			for _, err := range x.files.Events() {
				if got != nil {
					t.Error("something follows an error")
				}
				if got = err; err == nil {
					n++
				}
			}
			if !errors.Is(got, x.want) || n != x.before || !strings.Contains(got.Error(), x.says) {
				t.Errorf("%d events, then %v; want %d and %v with %q", n, got, x.before, x.want, x.says)
			}
		})
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }
