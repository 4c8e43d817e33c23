package event

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestDecodeTestdata decodes whole bodies; each has its Webhook in a golden file.
func TestDecodeTestdata(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "data", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d bodies, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			body, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			w, err := Decode(body)
			got, err := json.MarshalIndent(struct {
				Type, EventType string
				Reason          Reason
				Data            Data
				Raw             string
			}{w.Type, w.EventType, reasonOf(t, err), w.Data, string(w.Data.Raw)}, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			compareGolden(t, file, append(got, '\n'))
			checkDecode(t, body)
		})
	}
}

func TestDecodeCorpus(t *testing.T) {
	readCorpus(t)
	files, err := filepath.Glob(filepath.Join(corpus, "*", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			body, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			checkDecode(t, body)
		})
	}
}

// texts calls visit for every field of text of a struct, with its name in JSON.
func texts(v any, visit func(name, value string)) {
	s := reflect.ValueOf(v)
	for i := range s.NumField() {
		if name, _, _ := strings.Cut(s.Type().Field(i).Tag.Get("json"), ","); s.Field(i).Kind() == reflect.String {
			visit(name, s.Field(i).String())
		}
	}
}

// checkDecode holds Decode to Parse, and the fields of data to encoding/json.
func checkDecode(t *testing.T, body []byte) {
	t.Helper()
	before := string(body)
	w, err := Decode(body)
	if string(body) != before {
		t.Fatal("Decode changed the body")
	}
	ev, perr := Parse(body)
	if w.Event != ev || reasonOf(t, err) != reasonOf(t, perr) || perr != nil && err.Error() != perr.Error() {
		t.Errorf("Decode = %+v, %v\nParse = %+v, %v", w.Event, err, ev, perr)
	}
	if nesting := strings.Count(before, "[") + strings.Count(before, "{"); nesting > 9000 || !json.Valid(body) {
		return
	}
	if w.DeliveryID != w.Data.DeliveryID {
		t.Errorf("DeliveryID = %q, in data %q", w.DeliveryID, w.Data.DeliveryID)
	}
	var top, data, identifiers map[string]json.RawMessage
	_ = json.Unmarshal(body, &top)
	if string(w.Data.Raw) != string(top["data"]) || string(Field(body, "data")) != string(top["data"]) {
		t.Errorf("Raw = %q, want %q", w.Data.Raw, top["data"])
	}
	_ = json.Unmarshal(top["data"], &data)
	_ = json.Unmarshal(data["identifiers"], &identifiers)
	compare := func(from map[string]json.RawMessage) func(name, value string) {
		return func(name, value string) {
			want := text(from[name])
			if raw := from[name]; len(raw) > 0 && (raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9') {
				want = string(raw)
			}
			// How many replacement characters stand for a stretch of broken Unicode is another.
			if value != want && !strings.ContainsRune(want, utf8.RuneError) {
				t.Errorf("%s = %q, want %q", name, value, want)
			}
		}
	}
	texts(w.Data, compare(data))
	texts(w.Data.Identifiers, compare(identifiers))
	for name, value := range map[string]bool{
		"machine": w.Data.Machine, "proxied": w.Data.Proxied, "prefetched": w.Data.Prefetched, "synthetic": w.Data.Synthetic,
	} {
		if value != (string(data[name]) == "true") {
			t.Errorf("%s = %v of %s", name, value, data[name])
		}
	}
	asked := 0
	for name, raw := range data {
		if strings.ContainsRune(name, utf8.RuneError) {
			continue
		}
		if asked++; asked > 100 { // each reads all of data
			break
		}
		if got := Field(w.Data.Raw, name); string(got) != string(raw) {
			t.Errorf("Field %q = %s, want %s", name, got, raw)
		}
	}
}

// TestDataFields gives every field of text what it may hold and what it may not, beside a neighbour that must not care.
func TestDataFields(t *testing.T) {
	texts(Data{}, func(name, _ string) {
		for value, want := range map[string]string{
			`"a\u0026b"`: "a&b", `18446744073709551617`: "18446744073709551617", `-1.50e2`: "-1.50e2",
			`null`: "", `true`: "", `{"id":1}`: "", `["x"]`: "", `""`: "",
		} {
			w, err := Decode([]byte(`{"metric":"sent","data":{"` + name + `":` + value + `,"headers":{"a":"b"}}}`))
			if err != nil {
				t.Fatal(err)
			}
			texts(w.Data, func(other, got string) {
				if other == name && got != want || other != name && got != "" {
					t.Errorf("%s with %s: %s = %q, want %q", name, value, other, got, want)
				}
			})
			if !slices.Equal(w.Data.Headers["a"], []string{"b"}) {
				t.Errorf("%s with %s: headers %v", name, value, w.Data.Headers)
			}
		}
	})
}

func TestField(t *testing.T) {
	body := []byte(`{"a": {"b": {"c": [1, 2.50]}, "b":{"c" : "last"}}, "a\u0062": true, "n":null, "l":[{"x":1}]}`)
	for want, path := range map[string][]string{
		`"last"`: {"a", "b", "c"}, `{"c" : "last"}`: {"a", "b"}, `true`: {"ab"}, `null`: {"n"}, `[{"x":1}]`: {"l"},
		string(body): nil,
	} {
		if got := Field(body, path...); string(got) != want {
			t.Errorf("%q: %s, want %s", path, got, want)
		}
	}
	for _, path := range [][]string{{"x"}, {"a", "c"}, {"n", "x"}, {"l", "x"}, {"A"}} {
		if got := Field(body, path...); got != nil {
			t.Errorf("%q: %s", path, got)
		}
	}
	for _, object := range []string{``, `[]`, `1`, `{"a":1`, `{"a"`, `x`} {
		if got := Field([]byte(object), "a"); got != nil {
			t.Errorf("of %s: %s", object, got)
		}
	}
	// What is appended to a part of the body must not end up in the body.
	if got := append(Field(body, "n"), "!!!!"...); !strings.Contains(string(body), `null, "l"`) {
		t.Errorf("appending to %s changed the body", got)
	}
}

func TestDataShapes(t *testing.T) {
	for body, want := range map[string]struct {
		address string
		devices []Device
	}{
		`{"recipient":"a@example.net","email_address":"b@example.net"}`: {address: "a@example.net"},
		`{"recipient":null,"email_address":"b@example.net"}`:            {address: "b@example.net"},
		`{"from_phone":"+1","to_phone":"+2"}`:                           {address: "+2"},
		`{"device_id":"d","platform":"ios"}`:                            {devices: []Device{{ID: "d", Platform: "ios"}}},
		`{"device_id":"d","recipients":[{"device_id":"e"}]}`:            {devices: []Device{{ID: "e"}}},
		`null`: {},
	} {
		w, err := Decode([]byte(`{"metric":"sent","data":` + body + `}`))
		if err != nil || w.Data.Address() != want.address || !slices.Equal(w.Data.Devices(), want.devices) {
			t.Errorf("%s: %q, %v (%v)", body, w.Data.Address(), w.Data.Devices(), err)
		}
	}
}
