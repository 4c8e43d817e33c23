package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"sluice/event"
	"sluice/internal/testenv"
)

// headerSchema is what the AsyncAPI document says of a topic's headers.
type headerSchema struct {
	Required   []string
	Properties map[string]struct {
		Const   string
		Pattern string
		Enum    []string
	}
	PatternProperties map[string]any `yaml:"patternProperties"`
}

func headerSchemas(t *testing.T) map[string]headerSchema {
	t.Helper()
	var doc struct {
		Components struct{ Schemas map[string]yaml.Node }
	}
	if err := yaml.Unmarshal(event.AsyncAPI(), &doc); err != nil {
		t.Fatal(err)
	}
	schemas := map[string]headerSchema{}
	for name, node := range doc.Components.Schemas {
		if !strings.HasSuffix(name, "Headers") {
			continue
		}
		var schema headerSchema
		if err := node.Decode(&schema); err != nil {
			t.Fatal(err)
		}
		schemas[name] = schema
	}
	return schemas
}

// check holds a record's headers to the schemas, each of which may name some of them; the first one's are required.
func checkHeaders(t *testing.T, r testenv.Record, schemas ...headerSchema) {
	t.Helper()
	for _, name := range schemas[0].Required {
		if _, ok := r.Header(name); !ok {
			t.Errorf("%s@%d: no %s", r.Topic, r.Offset, name)
		}
	}
headers:
	for _, h := range r.Headers {
		for _, schema := range schemas {
			for pattern := range schema.PatternProperties {
				if regexp.MustCompile(pattern).MatchString(h.Name) {
					continue headers
				}
			}
			property, ok := schema.Properties[h.Name]
			if !ok {
				continue
			}
			value := string(h.Value)
			if property.Const != "" && property.Const != value || !regexp.MustCompile(property.Pattern).MatchString(value) ||
				property.Enum != nil && !slices.Contains(property.Enum, value) {
				t.Errorf("%s@%d: %s: %s isn't as the document says", r.Topic, r.Offset, h.Name, value)
			}
			continue headers
		}
		t.Errorf("%s@%d: the document doesn't know the header %s", r.Topic, r.Offset, h.Name)
	}
}

// TestAsyncAPIHeaders holds what Sluice writes to the document that it serves.
func TestAsyncAPIHeaders(t *testing.T) {
	env := testenv.Fake(t)
	s := serve(t, settings(env))
	post := func(id, body string) {
		t.Helper()
		client := &http.Client{Transport: traced{}}
		if a := (request{body: []byte(body), deliveryID: id, client: client}).insist(t, s.url); a.code != http.StatusOK {
			t.Fatalf("%+v", a)
		}
	}
	for i, body := range []string{
		`{"event_id":"h1","object_type":"email","metric":"sent","timestamp":1767225601,"data":{"delivery_id":"d1","customer_id":"p"}}`,
		`{"metric":"opened"}`, "not JSON", `{"event_id":"h3","object_type":"a b","metric":"c"}`,
	} {
		post(fmt.Sprint("delivery-", i), body)
	}
	schemas := headerSchemas(t)
	record, dead := schemas["recordHeaders"], schemas["deadLetterHeaders"]
	seen := map[string]bool{}
	for _, r := range env.Records(t) {
		if r.Topic == env.Topic("dead_letter") {
			checkHeaders(t, r, dead, record)
		} else {
			checkHeaders(t, r, record)
		}
		for _, h := range r.Headers {
			seen[h.Name] = true
		}
	}
	// Not a test of records without headers.
	for _, name := range slices.Concat(record.Required, dead.Required, []string{"ce_time", "ce_subject", "traceparent", "sluice-key"}) {
		if !seen[name] {
			t.Errorf("%s isn't written", name)
		}
	}
}

// TestEveryHeaderIsDocumented looks for the names of headers in the code: each is in the AsyncAPI document and in
// docs/topics.md.
func TestEveryHeaderIsDocumented(t *testing.T) {
	noHeaders := []string{"sluice-spool", "sluice-demo-key-which-is-no-secret"}
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "topics.md"))
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, schema := range headerSchemas(t) {
		for name := range schema.Properties {
			documented[name] = true
		}
	}
	name, found := regexp.MustCompile(`^"(sluice(-[a-z]+)+|ce_[a-z]+)"$`), 0
	for _, root := range []string{".", filepath.Join("..", "..", "publisher"), filepath.Join("..", "..", "internal", "stream")} {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				literal, ok := n.(*ast.BasicLit)
				if !ok || !name.MatchString(literal.Value) {
					return true
				}
				header := strings.Trim(literal.Value, `"`)
				if slices.Contains(noHeaders, header) {
					return true
				}
				found++
				if !documented[header] || !strings.Contains(string(page), "`"+header) {
					t.Errorf("%s: the header %s isn't in the AsyncAPI document, or not in docs/topics.md", path, header)
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < 12 {
		t.Errorf("only %d names", found)
	}
}

// traced adds the headers of a trace.
type traced struct{}

func (traced) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	r.Header.Set("Tracestate", "a=b")
	return http.DefaultTransport.RoundTrip(r)
}
