package config

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write golden files instead of comparing with them")

// TestReference holds docs/configuration.md to the struct.
func TestReference(t *testing.T) {
	const path = "../docs/configuration.md"
	var page bytes.Buffer
	if err := WriteReference(&page); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, page.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(golden, page.Bytes()) {
		t.Errorf("%s is stale; run: go test ./config -run TestReference -update", path)
	}
}

// TestDeclarations holds every field of Config to what the rest relies on.
func TestDeclarations(t *testing.T) {
	seen := make(map[string]bool)
	for _, f := range fieldsOf(&Config{}) {
		switch {
		case f.Flag == "" || strings.Trim(f.Flag, "abcdefghijklmnopqrstuvwxyz-") != "":
			t.Errorf("field %T has the flag %q", f.pointer(), f.Flag)
		case seen[f.Flag]:
			t.Errorf("%s: declared twice", f.Flag)
		case !strings.HasSuffix(f.help, "."):
			t.Errorf("%s: the help isn't a sentence: %q", f.Flag, f.help)
		case f.Default == "" && f.shown == "":
			t.Errorf("%s: nothing says what its empty default means", f.Flag)
		case f.Key != "" && f.Group == "":
			t.Errorf("%s: no group", f.Flag)
		}
		seen[f.Flag] = true
		// A bound that can't be read would refuse every value.
		if f.Default != "" {
			if err := f.parse(f.Default); err != nil {
				t.Errorf("%s: default: %v", f.Flag, err)
			}
		}
	}
}
