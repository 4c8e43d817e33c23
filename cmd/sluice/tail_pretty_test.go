package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/jedib0t/go-pretty/v6/text"

	"sluice/internal/stream"
	"sluice/publisher"
)

var updateTail = flag.Bool("update-tail", false, "rewrite the golden files of tail's formats")

// tailTemplate is the default naming.
func tailTemplate() publisher.TopicOptions {
	return publisher.TopicOptions{Template: "customerio_{event_type}", DeadLetter: "customerio_dead_letter", Overflow: "customerio_other"}
}

func prettyFor(width int, colours bool) *prettyEvents {
	types := &typeChoice{documented: true, deadLetters: true}
	return &prettyEvents{
		topics: types.in(tailTemplate()), zone: time.FixedZone("test", 2*60*60), colours: colours, width: func() int { return width },
	}
}

// tailRecord is a record as serve writes it.
func tailRecord(topic, key, id, value string, headers ...string) *stream.Record {
	r := &stream.Record{Topic: topic, Partition: 2, Offset: 1234, Time: time.UnixMilli(1767225600123), Value: []byte(value)}
	if key != "" {
		r.Key = []byte(key)
	}
	if id != "" {
		headers = append(headers, "ce_id", id)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Headers = append(r.Headers, stream.Header{Key: headers[i], Value: []byte(headers[i+1])})
	}
	return r
}

func tailSamples() []*stream.Record {
	const id = "01JZW2BAW2MQMJTYF07BB774KP"
	return []*stream.Record{
		tailRecord("customerio_email_opened", "42", id,
			`{"event_id":"x","data":{"campaign_id":7,"subject":"Hello \"you\"","recipient":"secret@example.com"}}`, "event-type", "email_opened"),
		tailRecord("customerio_email_clicked", "42", id, `{"data":{"href":"https://example.com/a?b=c","newsletter_id":"9"}}`, "event-type", "email_clicked"),
		tailRecord("customerio_push_sent", "", id, `{"data":{"transactional_message_id":3,"broadcast_id":4,"subject":null,"href":{"a":1}}}`, "event-type", "push_sent"),
		tailRecord("customerio_other", strings.Repeat("ab", 16), id, `{}`, "event-type", "fax_sent_with_a_rather_long_name"),
		tailRecord("customerio_dead_letter", "", "~b123", "a=b\x1b[2J", "sluice-reason", "not_json", "sluice-error", "at byte 0: \x1b]0;x\x07"),
		tailRecord("customerio_foreign", "", "", ""),
		tailRecord("customerio_email_sent", "\x1b[31mkey\xff", "id\x1b[0m\u009b", `{"data":{"subject":"\u001b[2Jgone\u009b\u202eright\r\nline\u2028 日本語","href":"\u0007"}}`,
			"event-type", "email\x1b]0;title\x07\n"),
	}
}

func TestPrettyGolden(t *testing.T) {
	for name, f := range map[string]*prettyEvents{
		"plain": prettyFor(0, false), "colours": prettyFor(0, true), "narrow": prettyFor(60, false),
	} {
		t.Run(name, func(t *testing.T) {
			var got []byte
			for _, r := range tailSamples() {
				got = f.append(got, r)
			}
			file := filepath.Join("testdata", "tail_"+name+".golden")
			if *updateTail {
				if err := os.WriteFile(file, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if strings.Contains(string(got), "secret@example.com") {
				t.Error("a recipient is shown")
			}
		})
	}
}

// FuzzPretty: whatever comes in, one line of what a terminal shows comes out, no wider than the terminal.
func FuzzPretty(f *testing.F) {
	for _, r := range tailSamples() {
		f.Add(r.Topic, string(r.Key), r.Header("ce_id"), r.Header("event-type"), string(r.Value), 60)
	}
	f.Fuzz(func(t *testing.T, topic, key, id, eventType, body string, width int) {
		width = 2 + max(width, 0)%500
		r := tailRecord(topic, key, id, body, "event-type", eventType, "sluice-reason", id)
		line := string(prettyFor(width, false).append(nil, r))
		line, ended := strings.CutSuffix(line, "\n")
		if !ended {
			t.Fatalf("no line break at the end of %q", line)
		}
		if i := strings.IndexFunc(line, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }); i >= 0 {
			t.Errorf("a control character at %d of %q", i, line)
		}
		if got := text.StringWidth(line); got > width {
			t.Errorf("%d columns wide, want at most %d: %q", got, width, line)
		}
	})
}

func TestColours(t *testing.T) {
	for _, test := range []struct {
		environ []string
		want    bool
	}{
		{nil, true},
		{[]string{"NO_COLOR="}, true},
		{[]string{"NO_COLOR=1"}, false},
		{[]string{"TERM=dumb"}, false},
		{[]string{"TERM=xterm"}, true},
	} {
		if got := wantsColours(test.environ); got != test.want {
			t.Errorf("%q: %t", test.environ, got)
		}
	}
	if colourOf(strings.Clone("email_sent")) != colourOf("email_sent") || colourOf("email_sent") == colourOf("email_opened") {
		t.Error("colours aren't by type")
	}
}
