package ingest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAnswerBytes(t *testing.T) {
	f := newFixture(t, nil)
	w := httptest.NewRecorder()
	r := signedRequest(`{"event_id":"a\"b\\c\u0001ü","object_type":"email","metric":"sent"}`)
	r.Header.Set("X-Request-Id", `q"uote`)
	f.handler.ServeHTTP(w, r)
	want := `{"status":"published","event_id":"a\"b\\c\u0001ü","event_type":"email_sent","request_id":"q\"uote"}` + "\n"
	if w.Code != http.StatusOK || w.Body.String() != want {
		t.Errorf("answer %d %s, want 200 %s", w.Code, w.Body, want)
	}
}

func TestLongEventIDIsCut(t *testing.T) {
	f := newFixture(t, nil)
	id := strings.Repeat("ü", 100_000)
	a := f.do(t, signedRequest(`{"event_id":"`+id+`","metric":"sent"}`))
	if len(a.EventID) > maxEcho || len(a.EventID) < maxEcho-utf8.UTFMax || !strings.HasPrefix(id, a.EventID) {
		t.Errorf("event id of %d bytes in the answer", len(a.EventID))
	}
	if got := f.published()[0].Event.ID; got != id {
		t.Error("the delivery's id was cut too")
	}
}

// FuzzAppendString compares with encoding/json.
func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", `"\`, "\x00\x1f\x7f", "ü€😀", "\xff\xc3", "<script>&", strings.Repeat("€", 600), "\u2028"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out := appendString([]byte("x"), s)
		var got string
		if out[0] != 'x' {
			t.Fatal("overwrote what was there")
		}
		if err := json.Unmarshal(out[1:], &got); err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		if !utf8.Valid(out) {
			t.Errorf("%q isn't UTF-8", out)
		}
		if len(s) > maxEcho {
			if len(got) > 3*maxEcho { // a broken byte becomes three
				t.Errorf("%d bytes came out of %d", len(got), len(s))
			}
			return
		}
		b, _ := json.Marshal(s)
		var reference string
		if err := json.Unmarshal(b, &reference); err != nil || got != reference {
			t.Errorf("%q became %q, encoding/json makes %q", s, got, reference)
		}
	})
}
