package event

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// corpus is a collection of bodies that lies beside a checkout, not in it.
const corpus = "../../shared/corpus"

// corpusRow is one line of EXPECT.tsv by column name.
type corpusRow map[string]string

func readCorpus(t *testing.T) []corpusRow {
	t.Helper()
	table, err := os.ReadFile(filepath.Join(corpus, "EXPECT.tsv"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("missing: the collection of bodies at %s", corpus)
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimRight(string(table), "\n"), "\n")
	columns := strings.Split(lines[0], "\t")
	var rows []corpusRow
	for _, line := range lines[1:] {
		row := make(corpusRow)
		for i, field := range strings.Split(line, "\t") {
			// A field is written as the inside of a JSON string.
			var text string
			if err := json.Unmarshal([]byte(`"`+field+`"`), &text); err != nil {
				t.Fatalf("EXPECT.tsv: field %q: %v", field, err)
			}
			row[columns[i]] = text
		}
		rows = append(rows, row)
	}
	return rows
}

func TestCorpusValid(t *testing.T) {
	rows := readCorpus(t)
	files, err := filepath.Glob(filepath.Join(corpus, "valid", "*.json"))
	if err != nil || len(files) != len(rows) {
		t.Errorf("%d files for %d rows of EXPECT.tsv, %v", len(files), len(rows), err)
	}
	for _, row := range rows {
		t.Run(row["file"], func(t *testing.T) {
			body, err := os.ReadFile(filepath.Join(corpus, "valid", row["file"]))
			if err != nil {
				t.Fatal(err)
			}
			ev, err := Parse(body)
			got := corpusRow{
				"event_type": ev.Type, "event_id": ev.ID, "delivery_id": ev.DeliveryID,
				"object_type": ev.ObjectType, "metric": ev.Metric,
			}
			if err != nil {
				got["event_type"] = "DEAD_LETTER"
			}
			for column, value := range got {
				if value != row[column] {
					t.Errorf("%s = %q, want %q (error %v)", column, value, row[column], err)
				}
			}
		})
	}
}

func TestCorpusMalformed(t *testing.T) {
	readCorpus(t)
	files, err := filepath.Glob(filepath.Join(corpus, "malformed", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			body, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			ev, err := Parse(body)
			if err == nil {
				t.Errorf("Parse = %+v, want an error", ev)
			}
			reasonOf(t, err)
		})
	}
}
