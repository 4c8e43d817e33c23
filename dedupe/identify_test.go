package dedupe

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
)

func half(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:16])
}

func TestIdentify(t *testing.T) {
	const ulid = "01J8Z3W0V5M9Q2T7R4N6P1K8XB"
	long := strings.Repeat("x", 65)
	tests := []struct {
		name    string
		mode    Mode
		eventID string
		header  string
		body    string
		want    string
	}{
		{"event ID is bare", EventID, ulid, "", "{}", ulid},
		{"event ID beats the header", EventID, ulid, "dlv_1", "{}", ulid},
		{"event ID at the limit", EventID, long[:64], "", "", long[:64]},
		{"event ID over the limit", EventID, long, "", "", "~e" + half(long)},
		{"event ID with a space", EventID, "a b", "", "", "~e" + half("a b")},
		{"event ID with a control character", EventID, "a\nb", "", "", "~e" + half("a\nb")},
		{"event ID beyond ASCII", EventID, "é", "", "", "~e" + half("é")},
		{"event ID with DEL", EventID, "a\x7f", "", "", "~e" + half("a\x7f")},
		{"event ID that looks like a marker", EventID, "~bff", "", "", "~e" + half("~bff")},
		{"marker inside an event ID is harmless", EventID, "a~b", "", "", "a~b"},
		{"no event ID: header and body together", EventID, "", "dlv_1", `{"a":1}`, "~h" + half("dlv_1\x00"+`{"a":1}`)},
		{"no event ID, no header: body", EventID, "", "", `{"a":1}`, "~b" + half(`{"a":1}`)},
		{"nothing at all", EventID, "", "", "", "~b" + half("")},
		{"literal: header beats the event ID", DeliveryID, ulid, "dlv_1", "{}", "~ddlv_1"},
		{"literal: header at the limit", DeliveryID, "", long[:64], "", "~d" + long[:64]},
		{"literal: header over the limit", DeliveryID, ulid, long, "", "~D" + half(long)},
		{"literal: header with a space", DeliveryID, ulid, "a b", "", "~D" + half("a b")},
		{"literal: no header", DeliveryID, ulid, "", "{}", ulid},
		{"literal: neither", DeliveryID, "", "", "{}", "~b" + half("{}")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Identify(tt.mode, tt.eventID, tt.header, []byte(tt.body)); got != tt.want {
				t.Errorf("Identify = %q, want %q", got, tt.want)
			}
		})
	}
}

// The header may name a message that recurs: it must never make a different event a duplicate.
func TestIdentifyHeaderNeverJoinsEvents(t *testing.T) {
	for _, eventID := range []string{"", "e"} {
		a := Identify(EventID, eventID+"1", "dlv_1", []byte(`{"metric":"sent"}`))
		b := Identify(EventID, eventID+"2", "dlv_1", []byte(`{"metric":"opened"}`))
		if a == b {
			t.Errorf("event IDs %q1 and %q2 under one header share %q", eventID, eventID, a)
		}
	}
	if a, b := Identify(EventID, "", "dlv_1", []byte("1")), Identify(EventID, "", "dlv_1", []byte("2")); a == b {
		t.Errorf("two bodies under one header share %q", a)
	}
	if a, b := Identify(EventID, "", "ab", []byte("c")), Identify(EventID, "", "a", []byte("bc")); a == b {
		t.Errorf("header and body run together: %q", a)
	}
	if a, b := Identify(DeliveryID, "e1", "dlv_1", nil), Identify(DeliveryID, "e2", "dlv_1", nil); a != b {
		t.Errorf("literal mode tells %q from %q", a, b)
	}
}

func TestModes(t *testing.T) {
	for _, m := range []Mode{EventID, DeliveryID} {
		if got, err := ParseMode(m.String()); err != nil || got != m {
			t.Errorf("ParseMode(%q) = %v, %v", m.String(), got, err)
		}
	}
	for _, w := range []WhenDown{Open, Closed} {
		if got, err := ParseWhenDown(w.String()); err != nil || got != w {
			t.Errorf("ParseWhenDown(%q) = %v, %v", w.String(), got, err)
		}
	}
	if _, err := ParseMode("header"); err == nil {
		t.Error("ParseMode(header) gives no error")
	}
	if _, err := ParseWhenDown(""); err == nil {
		t.Error("ParseWhenDown of nothing gives no error")
	}
}

// origin is what an ID says about where it comes from: the inverse of Identify, which exists for every ID that isn't
// a hash. So no two different IDs of any kinds share a key, hashes apart.
func origin(id string) (kind, value string) {
	if !strings.HasPrefix(id, string(marker)) {
		return "event", id
	}
	switch id[:2] {
	case markDelivery:
		return "delivery", id[2:]
	case markEventHash, markDeliveryHash, markBodyHash, markBothHash:
		return "hash" + id[:2], id[2:]
	}
	return "", ""
}

func FuzzIdentify(f *testing.F) {
	f.Add("01J8Z3W0V5M9Q2T7R4N6P1K8XB", "dlv_1", []byte("{}"), true)
	f.Add("~d1", "~d1", []byte("~d1"), false)
	f.Add("~e", "", []byte{}, true)
	f.Add("", "a b", []byte{0}, false)
	f.Add(strings.Repeat("9", 64), strings.Repeat("9", 65), []byte("x"), false)
	f.Fuzz(func(t *testing.T, eventID, header string, body []byte, literal bool) {
		mode := EventID
		if literal {
			mode = DeliveryID
		}
		id := Identify(mode, eventID, header, body)
		if len(id) == 0 || len(id) > 2+maxPlain {
			t.Fatalf("ID %q has %d bytes", id, len(id))
		}
		for i := range len(id) {
			if id[i] <= ' ' || id[i] > '~' {
				t.Fatalf("ID %q isn't plain", id)
			}
		}
		kind, value := origin(id)
		var want string
		switch {
		case literal && header != "" && plain(header):
			want = "delivery"
			if value != header {
				t.Fatalf("header %q became %q", header, id)
			}
		case literal && header != "":
			want = "hash~D"
		case eventID != "" && plain(eventID) && eventID[0] != marker:
			want = "event"
			if value != eventID {
				t.Fatalf("event ID %q became %q", eventID, id)
			}
		case eventID != "":
			want = "hash~e"
		case header != "":
			want = "hash~h"
		default:
			want = "hash~b"
		}
		if kind != want {
			t.Fatalf("ID %q reads as %s, made as %s", id, kind, want)
		}
		if strings.HasPrefix(kind, "hash") {
			if raw, err := hex.DecodeString(value); err != nil || len(raw) != 16 {
				t.Fatalf("ID %q holds no 128-bit hash", id)
			}
		}
		if strings.HasPrefix(id, markProbe) {
			t.Fatalf("ID %q is in the probe's namespace", id)
		}
	})
}

func BenchmarkIdentify(b *testing.B) {
	body := []byte(strings.Repeat(`{"a":1}`, 64))
	b.Run("event_id", func(b *testing.B) {
		for b.Loop() {
			Identify(EventID, "01J8Z3W0V5M9Q2T7R4N6P1K8XB", "dlv_1", body)
		}
	})
	b.Run("body", func(b *testing.B) {
		for b.Loop() {
			Identify(EventID, "", "", body)
		}
	})
}
