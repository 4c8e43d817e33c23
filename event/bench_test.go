package event

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// bench450 is today's usual event, about 450 bytes of it.
const bench450 = `{"event_id":"01K3M8Q4C7V5W9Z2X6Y1B0N8RT","object_type":"email","metric":"delivered","timestamp":1767225603,` +
	`"data":{"action_id":204,"campaign_id":17,"content_id":3310,"customer_id":"p-52881","delivery_id":"dgOa8wYAAZq4kT0eWb7nQ2sLx==",` +
	`"identifiers":{"id":"p-52881","email":"noor@example.net","cio_id":"a31c0600b0e2"},"journey_id":"01K3M8PZ6V6HXW1J8Q2RS5T9AB",` +
	`"parent_action_id":188,"subject":"Your order is on its way","recipient":"noor@example.net"}}`

// bench1MB is an event with its message's content, with the escapes that HTML
// in JSON has.
func bench1MB() []byte {
	line := `<p class=\"lead\">Dear Noor,<\/p>\r\n<p>your order is on its way \u2014 track it <a href=\"https:\/\/example.net\/t\/1\">here<\/a>.<\/p>\r\n`
	content := strings.Repeat(line, (1<<20)/len(line))
	return []byte(strings.Replace(bench450, `"subject"`, `"content":"`+content+`","subject"`, 1))
}

// BenchmarkParseShapes reads the bodies of testdata, one of each shape that a sender may use, damaged ones included.
func BenchmarkParseShapes(b *testing.B) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.json"))
	if err != nil || len(files) == 0 {
		b.Fatalf("%d bodies, %v", len(files), err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				_, _ = Parse(body)
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for _, size := range []struct {
		name string
		body []byte
	}{{"450B", []byte(bench450)}, {"1MB", bench1MB()}} {
		b.Run(size.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(size.body)))
			for b.Loop() {
				if _, err := Parse(size.body); err != nil {
					b.Fatal(err)
				}
			}
		})
		// What the standard library costs for the same fields, names matched by
		// exact case: the reason for the choice of jsontext.
		b.Run(size.name+"/encoding-json", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(size.body)))
			for b.Loop() {
				var top, data, identifiers map[string]json.RawMessage
				if err := json.Unmarshal(size.body, &top); err != nil {
					b.Fatal(err)
				}
				if err := json.Unmarshal(top["data"], &data); err != nil {
					b.Fatal(err)
				}
				if err := json.Unmarshal(data["identifiers"], &identifiers); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDecode is what a consumer pays for all documented fields, and for one of them by name.
func BenchmarkDecode(b *testing.B) {
	for _, size := range []struct {
		name string
		body []byte
	}{{"450B", []byte(bench450)}, {"1MB", bench1MB()}} {
		b.Run(size.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(size.body)))
			for b.Loop() {
				if w, err := Decode(size.body); err != nil || w.Data.CampaignID != "17" {
					b.Fatal(err)
				}
			}
		})
		b.Run(size.name+"/Field", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(size.body)))
			for b.Loop() {
				if Field(size.body, "data", "campaign_id") == nil {
					b.Fatal("nothing")
				}
			}
		})
	}
}
