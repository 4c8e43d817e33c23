package sender

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func entries(t *testing.T, text string) (got []Entry, failed error) {
	t.Helper()
	for e, err := range ReadLedger(strings.NewReader(text)) {
		if err != nil {
			return got, err
		}
		got = append(got, e)
	}
	return got, nil
}

func TestLedgerRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sent.ndjson")
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_900_001, time.UTC)
	results := []Result{
		{Event: Event{Body: []byte("{}"), ID: "a\nb", Type: "email_sent", DeliveryID: "D"}, Acknowledged: true, Status: StatusPublished, Code: 200, Posts: 3, First: at, Last: at.Add(time.Nanosecond)},
		{Event: Event{Body: []byte("x")}, Err: os.ErrDeadlineExceeded, Posts: 1, First: at, Last: at},
	}
	for i := range results { // opened twice: the second continues
		l, err := OpenLedger(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(l.Write(&results[i]), l.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := []Entry{
		{
			EventID: "a\nb", DeliveryID: "D", EventType: "email_sent", Bytes: 2, Acknowledged: true, Answer: "published", Code: 200, Posts: 3,
			SHA256:    "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
			FirstSent: at, LastAnswer: at.Add(time.Nanosecond),
		},
		{
			Bytes: 1, Answer: LabelTimeout, Posts: 1, FirstSent: at, LastAnswer: at,
			SHA256: "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
		},
	}
	if got, err := entries(t, string(text)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	if !strings.Contains(string(text), `"first_sent":"2026-01-02T03:04:05.678900001Z"`) {
		t.Errorf("time isn't RFC 3339 with nanoseconds: %s", text)
	}

	// Cut anywhere in the last line, the first is still there and nothing else; such a file isn't continued.
	first := strings.Index(string(text), "\n") + 1
	for cut := first; cut < len(text)-1; cut++ {
		if got, err := entries(t, string(text[:cut])); err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], want[0]) {
			t.Fatalf("cut at %d: %+v, %v", cut, got, err)
		}
	}
	if got, err := entries(t, string(text[:len(text)-1])); err != nil || len(got) != 2 {
		t.Errorf("only the last line break is missing: %d entries, %v", len(got), err)
	}
	if err := os.WriteFile(path, text[:len(text)-5], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenLedger(path); !errors.Is(err, ErrTornLedger) {
		t.Errorf("a torn ledger is continued: %v", err)
	}
}

func TestLedgerRefusesOtherDamage(t *testing.T) {
	const good = `{"event_id":"a"}` + "\n"
	for name, text := range map[string]string{
		"torn in between": good + `{"event_id":"b` + "\n" + good,
		"torn but ended":  good + `{"event_id":"b` + "\n",
		"an empty line":   good + "\n" + good,
	} {
		if got, err := entries(t, text); err == nil || len(got) != 1 {
			t.Errorf("%s: %d entries, %v", name, len(got), err)
		}
	}
}
