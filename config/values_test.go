package config

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	const day = 24 * time.Hour
	tests := []struct {
		text string
		want time.Duration
		bad  bool
	}{
		{text: "0"},
		{text: "150ms", want: 150 * time.Millisecond},
		{text: "1m30s", want: 90 * time.Second},
		{text: "720h", want: 30 * day},
		{text: "30d", want: 30 * day},
		{text: "1.5d", want: 36 * time.Hour},
		{text: "1d12h", want: 36 * time.Hour},
		{text: "106751d", want: 106751 * day},
		{text: "106752d", bad: true},
		{text: "106751d24h", bad: true},
		{text: "99999999999999999999d", bad: true},
		{text: "", bad: true},
		{text: "d", bad: true},
		{text: ".d", bad: true},
		{text: "30", bad: true},
		{text: "30 days", bad: true},
		{text: "30d ", bad: true},
		{text: "-1s", bad: true},
		{text: "-1d", bad: true},
		{text: "1d-1h", bad: true},
		{text: "1e3d", bad: true},
		{text: "0x10d", bad: true},
		{text: "infd", bad: true},
		{text: "nand", bad: true},
		{text: "12h1d", bad: true},
		{text: "1d1d", bad: true},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) {
			got, err := parseDuration(test.text)
			if (err != nil) != test.bad || got != test.want {
				t.Errorf("got %s, %v; want %s, bad %t", got, err, test.want, test.bad)
			}
		})
	}
}

func TestFormatDuration(t *testing.T) {
	for text, d := range map[string]time.Duration{
		"0": 0, "150ms": 150 * time.Millisecond, "1.5s": 1500 * time.Millisecond, "90s": 90 * time.Second, "60s": time.Minute,
		"2m": 2 * time.Minute, "1h": time.Hour, "1h0m1s": time.Hour + time.Second, "720h": 720 * time.Hour, "10m": 10 * time.Minute, "1h20m": 80 * time.Minute,
	} {
		if got := formatDuration(d); got != text {
			t.Errorf("%s: got %q, want %q", d, got, text)
		}
	}
}

func TestRetention(t *testing.T) {
	tests := []struct {
		text, want string
		bad        bool
	}{
		{"unlimited", "unlimited", false},
		{"-1", "unlimited", false},
		{"30d", "720h", false},
		{"1m", "60s", false},
		{"59s", "", true},
		{"0", "", true},
		{"-2", "", true},
		{"forever", "", true},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) {
			var r Retention
			err := r.UnmarshalText([]byte(test.text))
			if (err != nil) != test.bad || (!test.bad && r.String() != test.want) {
				t.Errorf("got %s, %v; want %s, bad %t", r, err, test.want, test.bad)
			}
		})
	}
}

func TestSize(t *testing.T) {
	tests := []struct {
		text, printed string
		want          Size
		bad           bool
	}{
		{text: "0", printed: "0"},
		{text: "1000", want: 1000, printed: "1000"},
		{text: "8388608", want: 8 << 20, printed: "8MiB"},
		{text: "8MiB", want: 8 << 20, printed: "8MiB"},
		{text: "8M", want: 8 << 20, printed: "8MiB"},
		{text: "8 MiB", want: 8 << 20, printed: "8MiB"},
		{text: "1536k", want: 1536 << 10, printed: "1536KiB"},
		{text: "1K", want: 1 << 10, printed: "1KiB"},
		{text: "2GiB", want: 2 << 30, printed: "2GiB"},
		{text: "12B", want: 12, printed: "12"},
		{text: "9223372036854775807", want: math.MaxInt64, printed: "9223372036854775807"},
		{text: "9223372036854775808", bad: true},
		{text: "8589934592G", bad: true},
		{text: "8MB", bad: true},
		{text: "8mb", bad: true},
		{text: "1.5M", bad: true},
		{text: "-1", bad: true},
		{text: "M", bad: true},
		{text: "", bad: true},
		{text: "1_000", bad: true},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) {
			var got Size
			err := got.UnmarshalText([]byte(test.text))
			if (err != nil) != test.bad || got != test.want {
				t.Fatalf("got %d, %v; want %d, bad %t", got, err, test.want, test.bad)
			}
			if !test.bad && got.String() != test.printed {
				t.Errorf("printed as %q, want %q", got, test.printed)
			}
		})
	}
}

func TestSigningKeys(t *testing.T) {
	const long = "0123456789abcdef"
	tests := []struct {
		name, text string
		want       []string // name, key, name, key …
		bad        string
	}{
		{"one", long, []string{"key1", long}, ""},
		{"named", "prod=" + long, []string{"prod", long}, ""},
		{"several", "a, prod=b ,,c", []string{"key1", "a", "prod", "b", "key3", "c"}, ""},
		{"lines", "prod=a\r\nold=b\n", []string{"prod", "a", "old", "b"}, ""},
		{"= in a named key", "prod=a=b==", []string{"prod", "a=b=="}, ""},
		{"named key that begins with =", "prod==a", []string{"prod", "=a"}, ""},
		{"padding", long + "==", []string{"key1", long + "=="}, ""},
		{"padding after more than a name's characters", "a+b/c=", []string{"key1", "a+b/c="}, ""},
		{"short with double padding", "YQ==", []string{"key1", "YQ=="}, ""},
		{"longest name", strings.Repeat("n", 40) + "=k", []string{strings.Repeat("n", 40), "k"}, ""},
		{"nothing", " , \n", nil, ""},
		{"name too long", strings.Repeat("n", 41) + "=k", nil, "entry 1: " + errAmbiguousKey.Error()},
		{"name with a slash", "a/b=k", nil, "entry 1: " + errAmbiguousKey.Error()},
		{"no name before =", "=k", nil, "entry 1: " + errAmbiguousKey.Error()},
		{"no key after the name", "prod=", nil, "entry 1: no key follows the name"},
		{"name twice", "a=1,b=2,a=3", nil, "entries 1 and 3 are both named a"},
		{"name as one by place", "key2=1,x", nil, "entries 1 and 2 are both named key2"},
		{"space inside", "a=b c", nil, "entry 1: the key has a space, a control character or a character outside ASCII in it"},
		{"outside ASCII", "a=ключ", nil, "entry 1: the key has a space, a control character or a character outside ASCII in it"},
		{"all problems", "a=,/=b", nil, "entry 1: no key follows the name; entry 2: " + errAmbiguousKey.Error()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var keys SigningKeys
			err := keys.UnmarshalText([]byte(test.text))
			if err != nil || test.bad != "" {
				if err == nil || err.Error() != test.bad {
					t.Fatalf("got %v, want %q", err, test.bad)
				}
				return
			}
			var got []string
			for _, key := range keys {
				got = append(got, key.Name, key.Key.Reveal())
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// FuzzSigningKeys looks for errors that give a key away, and for keys that were changed or lost.
func FuzzSigningKeys(f *testing.F) {
	for _, seed := range []string{"abc", "a=b", "a=b,c=d==", "=x", "\n,", "a=\x00", "ключ"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var keys SigningKeys
		err := keys.UnmarshalText([]byte("fine=Zq9," + text))
		if err != nil {
			if strings.Contains(err.Error(), "Zq9") {
				t.Errorf("the error repeats a key: %v", err)
			}
			return
		}
		if keys[0].Name != "fine" || keys[0].Key.Reveal() != "Zq9" {
			t.Errorf("the first key became %s", keys[0].Name)
		}
		for _, key := range keys {
			if !strings.Contains("fine=Zq9,"+text, key.Key.Reveal()) || key.Key.Reveal() == "" {
				t.Errorf("key %s isn't one that was given", key.Name)
			}
		}
	})
}

func TestTopicOverrides(t *testing.T) {
	tests := []struct {
		name, text, printed, bad string
		want                     TopicOverrides
	}{
		{
			name: "several", text: " push_sent:retention=48h ; email_sent:partitions=12, retention=7d,replication=-1;",
			printed: "email_sent:partitions=12,replication=-1,retention=168h;push_sent:retention=48h",
			want: TopicOverrides{
				"email_sent": {Partitions: 12, Replication: -1, Retention: Retention(168 * time.Hour)},
				"push_sent":  {Retention: Retention(48 * time.Hour)},
			},
		},
		{name: "for ever", text: "a:retention=unlimited", printed: "a:retention=unlimited", want: TopicOverrides{"a": {Retention: Unlimited}}},
		{name: "none", text: "", want: TopicOverrides{}},
		{name: "no colon", text: "email_sent", bad: `"email_sent": want an event type, a colon and what differs, such as email_sent:partitions=12,retention=168h`},
		{name: "nothing differs", text: "a:", bad: `a: "": want partitions=, replication= or retention=`},
		{name: "illegal type", text: "a/b:partitions=1", bad: `"a/b:partitions=1": want an event type, a colon and what differs, such as email_sent:partitions=12,retention=168h`},
		{name: "type twice", text: "a:partitions=1;a:partitions=2", bad: "a stands there twice"},
		{name: "all problems", text: "a:partitions=0,retention=x;b:replicas=3", bad: `a: partitions="0": want a whole number from 1, or -1 for the broker's default; retention="x": want a duration such as 720h or 30d, or unlimited; b: "replicas=3": want partitions=, replication= or retention=`},
		{name: "too many replicas", text: "a:replication=32768", bad: `a: replication="32768": want a whole number from 1, or -1 for the broker's default`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got TopicOverrides
			err := got.UnmarshalText([]byte(test.text))
			if err != nil || test.bad != "" {
				if err == nil || err.Error() != test.bad {
					t.Fatalf("got %v\nwant %s", err, test.bad)
				}
				return
			}
			if !reflect.DeepEqual(got, test.want) || got.String() != test.printed {
				t.Errorf("got %v, want %v printed as %s", got, test.want, test.printed)
			}
		})
	}
}

func TestMaskURL(t *testing.T) {
	tests := []struct{ text, want string }{
		{"", ""},
		{"redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"},
		{"redis://:hidden@host:6379/0", "redis://:****@host:6379/0"},
		{"redis://user:hidden@host/0?db=1", "redis://user:****@host/0?db=1"},
		{"redis://hidden@host/0", "redis://****@host/0"},
		{"redis://u:hid@den@host", "redis://u:****@host"},
		{"redis://u:hid/den@host/0", "redis://u:****@host/0"},
		{"redis://u:hid?den@host/0", "redis://****"},
		{"redis://h/0?password=hid@den", "redis://****"},
		{"redis+sentinel://u:hidden@a:1,b:2/name?sentinel_password=hidden&db=1", "redis+sentinel://u:****@a:1,b:2/name?sentinel_password=****&db=1"},
		{"unix://u:hidden@/run/redis.sock?db=1", "unix://u:****@/run/redis.sock?db=1"},
		{"hidden", mask},
		{"user:hidden@host", mask},
	}
	for _, test := range tests {
		t.Run(test.text, func(t *testing.T) {
			if got := maskURL(test.text); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestURLRefused(t *testing.T) {
	for _, text := range []string{"", "localhost:6379", "redis:", "redis://", "redis:///", "redis://user:hidden@", "REDIS://host", "redis://a b"} {
		var u URL
		err := u.UnmarshalText([]byte(text))
		if err == nil {
			t.Errorf("%q was accepted", text)
		} else if strings.Contains(err.Error(), "hidden") {
			t.Errorf("%q: the error repeats the password: %v", text, err)
		}
	}
}

func TestNearest(t *testing.T) {
	var known []string
	for _, f := range fieldsOf(&Config{}) {
		known = append(known, f.Name())
	}
	for unknown, want := range map[string]string{
		"listn": "listen", "LISTEN_ADDRESS": "listen", "brokers": "kafka_brokers", "retention_hours": "retention",
		"topci": "topic", "dedup_ttl": "dedupe_ttl", "redis-url": "redis_url", "signing_key": "signing_keys", "level": "log_level",
		"zzzzzzzzzzzzzzz": "", "": "",
	} {
		if got := nearest(unknown, known); got != want {
			t.Errorf("%s: got %q, want %q", unknown, got, want)
		}
	}
}

func TestEditDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"topic", "topic", 0},
		{"topci", "topic", 1}, // a swap counts once
		{"topi", "topic", 1},
		{"topiic", "topic", 1},
		{"tobic", "topic", 1},
		{"kitten", "sitting", 3},
	} {
		if got := editDistance(test.a, test.b); got != test.want {
			t.Errorf("%q to %q: got %d, want %d", test.a, test.b, got, test.want)
		}
		if got := editDistance(test.b, test.a); got != test.want {
			t.Errorf("%q to %q: got %d, want %d", test.b, test.a, got, test.want)
		}
	}
}

// FuzzFile looks for panics, for keys out of thin air, and for problems that don't say which file they are in.
func FuzzFile(f *testing.F) {
	for _, seed := range []string{"listen: ':1'\n", "topic_overrides: {a: {partitions: 1}}", "a: &x 1\nlisten: *x", "? [a]\n: b", "<<: {listen: a}", "- 1", "\x00", "listen: !!binary aGk="} {
		f.Add(seed)
	}
	known := make(map[string]bool)
	for _, setting := range fieldsOf(&Config{}) {
		known[setting.Key] = true
	}
	f.Fuzz(func(t *testing.T, content string) {
		values, problems := readFile("f", []byte(content), fieldsOf(&Config{}))
		for key, value := range values {
			if !known[key] || value.line < 1 || value.line > len(content) {
				t.Errorf("%q in line %d", key, value.line)
			}
		}
		for _, problem := range problems {
			if !strings.HasPrefix(problem, "f:") {
				t.Errorf("problem without the file's name: %s", problem)
			}
		}
	})
}
