package group

import (
	"errors"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// What is written is what others read, and what others write, in any version, is read.
func TestSubscription(t *testing.T) {
	want := []string{"customerio_email_sent", "", "b"}
	theirs := kmsg.NewConsumerMemberMetadata()
	if err := theirs.ReadFrom(subscription(want)); err != nil || !slices.Equal(theirs.Topics, want) {
		t.Errorf("they read %q, %v", theirs.Topics, err)
	}
	for version := range int16(4) {
		theirs.Version, theirs.UserData = version, []byte("x")
		got, err := parseSubscription(theirs.AppendTo(nil))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("version %d: %q, %v", version, got, err)
		}
	}
}

func FuzzParseSubscription(f *testing.F) {
	f.Add([]byte{})
	f.Add(subscription([]string{"a", "b"}))
	f.Add([]byte{0, 1, 127, 255, 255, 255, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		topics, err := parseSubscription(b)
		if err != nil && !errors.Is(err, errSubscription) {
			t.Error(err)
		}
		if err != nil {
			return
		}
		again, err := parseSubscription(subscription(topics))
		if err != nil || !slices.Equal(again, topics) {
			t.Errorf("%q, %v; want %q", again, err, topics)
		}
	})
}
