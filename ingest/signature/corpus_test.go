package signature

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// TestCorpus holds the package to signatures that other code made over real
// and odd bodies.
func TestCorpus(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "shared", "corpus")
	list := filepath.Join(dir, "EXPECT.tsv")
	f, err := os.Open(list)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("the corpus is missing: %s", list)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comma, r.LazyQuotes, r.FieldsPerRecord = '\t', true, -1
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column := make(map[string]int)
	for i, name := range rows[0] {
		column[name] = i
	}
	v := mustNew(t, time.Hour, Key{"main", testKey})
	for _, row := range rows[1:] {
		name := row[column["file"]]
		// Odd characters stand in the list as inside a JSON string.
		var file string
		if err := json.Unmarshal([]byte(`"`+name+`"`), &file); err != nil {
			t.Fatalf("file name %q: %v", name, err)
		}
		t.Run(file, func(t *testing.T) {
			body, err := os.ReadFile(filepath.Join(dir, "valid", file))
			if errors.Is(err, fs.ErrNotExist) {
				body, err = os.ReadFile(filepath.Join(dir, "malformed", file))
			}
			if err != nil {
				t.Fatal(err)
			}
			timestamp, signature := row[column["x_cio_timestamp"]], row[column["x_cio_signature"]]
			seconds, err := strconv.ParseInt(timestamp, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			if key, err := v.Verify(timestamp, signature, body, time.Unix(seconds, 0)); err != nil || key != "main" {
				t.Errorf("Verify = %q, %v; want main", key, err)
			}
			if got := Sign(testKey, timestamp, body); got != signature {
				t.Errorf("Sign = %s, want %s", got, signature)
			}
			if _, err := v.Verify(timestamp, signature, append(body, ' '), time.Unix(seconds, 0)); !errors.Is(err, ErrMismatch) {
				t.Errorf("with a space more: %v, want %v", err, ErrMismatch)
			}
		})
	}
	if len(rows) < 2 {
		t.Error("the corpus lists no file")
	}
}
