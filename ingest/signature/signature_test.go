package signature

import (
	"errors"
	"strings"
	"testing"
	"time"
)

const (
	testKey   = "cio-test-signing-key-0001"
	secondKey = "second-key"
	eventBody = `{"event_id":"01","metric":"sent"}`
	// Made with openssl over the exact bytes, so that a mistake shared by Sign
	// and Verify can't hide:
	//   printf 'v0:1767225600:<body>' | openssl dgst -sha256 -hmac <key> -r
	eventSignature       = "d075d773fbe959f1145d5ebcbaeeffbc94dfc8880dd34db0a1649b4588dbc274"
	eventSignatureSecond = "dca74bbebe5b606330f7aacaab29adf3164328aeea4656e4661f0cab1763947d"
)

var signedAt = time.Unix(1767225600, 0)

func mustNew(t testing.TB, tolerance time.Duration, keys ...Key) *Verifier {
	t.Helper()
	v, err := New(keys, tolerance)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestKnownVectors(t *testing.T) {
	longKey := strings.Repeat("k", 100) // longer than SHA-256's block: HMAC hashes it first
	tests := []struct {
		name, key, timestamp, body, signature string
	}{
		{"an event", testKey, "1767225600", eventBody, eventSignature},
		{"another key", secondKey, "1767225600", eventBody, eventSignatureSecond},
		{"empty body", testKey, "1767225600", "", "f37356fdb3654827bfc97d63192aa338f44d050386519879913ddc12fc75f5c7"},
		{"not UTF-8", testKey, "1767225600", "gr\xc3\xbc\xc3\x9fe \xff\xfe \x01", "a09a314586edb5e747d092b39881460da6eab4c3cc13d2f47b9ef6f6284b52f5"},
		{"timestamp signed as written", testKey, "0001767225600", "{}", "71504d6e90c77e0ecf51dceddd9090782bdc902450001baf0626c747518b6418"},
		{"one MiB", testKey, "1767225600", strings.Repeat("a", 1<<20), "0bcc4e3e317615c1cd074101226e2cb6516d87f9ab50d0b97a3bb7a555f5b141"},
		{"long key", longKey, "1767225600", "{}", "06e3e4ca543912db32d93cb18623f24618b06cf5ba30f3c0723ace1a4f031074"},
		{"the epoch", testKey, "0", "{}", "2aa4c0653766caf5323b10dc9984f99063d000d8fead6dfe3723222f012c7e4b"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Sign(tt.key, tt.timestamp, []byte(tt.body)); got != tt.signature {
				t.Errorf("Sign = %s, want %s", got, tt.signature)
			}
			now := signedAt
			if tt.timestamp == "0" {
				now = time.Unix(0, 0)
			}
			v := mustNew(t, time.Minute, Key{"main", tt.key})
			name, err := v.Verify(tt.timestamp, tt.signature, []byte(tt.body), now)
			if err != nil || name != "main" {
				t.Errorf("Verify = %q, %v; want main, nil", name, err)
			}
		})
	}
}

func TestVerifyRefuses(t *testing.T) {
	const ts = "1767225600"
	flipped := "e" + eventSignature[1:]
	tests := []struct {
		name, timestamp, signature, body string
		want                             error
	}{
		{"no signature", ts, "", eventBody, ErrMissing},
		{"no timestamp", "", eventSignature, eventBody, ErrMissing},
		{"neither", "", "", eventBody, ErrMissing},
		{"v0= prefix", ts, "v0=" + eventSignature, eventBody, ErrMalformed},
		{"sha256= prefix", ts, "sha256=" + eventSignature, eventBody, ErrMalformed},
		{"prefix of the right length", ts, "v0=" + eventSignature[3:], eventBody, ErrMalformed},
		{"upper case", ts, strings.ToUpper(eventSignature), eventBody, ErrMalformed},
		{"one digit short", ts, eventSignature[:63], eventBody, ErrMalformed},
		{"one digit long", ts, eventSignature + "0", eventBody, ErrMalformed},
		{"space after", ts, eventSignature[:63] + " ", eventBody, ErrMalformed},
		{"not hex", ts, strings.Repeat("g", 64), eventBody, ErrMalformed},
		{"two signatures", ts, eventSignature + "," + eventSignature, eventBody, ErrMalformed},
		{"timestamp with plus", "+" + ts, eventSignature, eventBody, ErrMalformed},
		{"negative timestamp", "-" + ts, eventSignature, eventBody, ErrMalformed},
		{"timestamp with space", ts + " ", eventSignature, eventBody, ErrMalformed},
		{"float", ts + ".0", eventSignature, eventBody, ErrMalformed},
		{"exponent", "1e9", eventSignature, eventBody, ErrMalformed},
		{"hexadecimal", "0x6955b900", eventSignature, eventBody, ErrMalformed},
		{"underscore", "1_767_225_600", eventSignature, eventBody, ErrMalformed},
		{"other digits", "١٧٦٧٢٢٥٦٠٠", eventSignature, eventBody, ErrMalformed},
		{"date", "2026-01-01T00:00:00Z", eventSignature, eventBody, ErrMalformed},
		{"beyond int64", strings.Repeat("9", 19), eventSignature, eventBody, ErrMalformed},
		{"largest that is read", strings.Repeat("9", 18), eventSignature, eventBody, ErrStale},
		{"milliseconds", ts + "000", eventSignature, eventBody, ErrStale},
		{"re-timed inside the tolerance", "1767225601", eventSignature, eventBody, ErrMismatch},
		{"one bit of signature", ts, flipped, eventBody, ErrMismatch},
		{"one byte of body", ts, eventSignature, eventBody + "\n", ErrMismatch},
		{"body empty", ts, eventSignature, "", ErrMismatch},
		{"a key that isn't ours", ts, eventSignatureSecond, eventBody, ErrMismatch},
	}
	v := mustNew(t, time.Minute, Key{"main", testKey})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			name, err := v.Verify(tt.timestamp, tt.signature, []byte(tt.body), signedAt)
			if !errors.Is(err, tt.want) || name != "" {
				t.Errorf("Verify = %q, %v; want %v", name, err, tt.want)
			}
		})
	}
}

// A signature is over the text "v0:" + timestamp + ":" + body, which could be
// cut elsewhere; only digits may stand in the timestamp, so none of these cuts
// passes.
func TestVerifyRefusesAnotherCut(t *testing.T) {
	body := "123:{}"
	signature := Sign(testKey, "1767225600", []byte(body))
	v := mustNew(t, 100*365*24*time.Hour, Key{"main", testKey})
	if _, err := v.Verify("1767225600:123", signature, []byte("{}"), signedAt); !errors.Is(err, ErrMalformed) {
		t.Errorf("Verify = %v, want %v", err, ErrMalformed)
	}
}

func TestTolerance(t *testing.T) {
	const tolerance = 5 * time.Minute
	tests := []struct {
		name   string
		offset time.Duration // of now after the timestamp
		want   error
	}{
		{"now", 0, nil},
		{"as old as allowed", tolerance, nil},
		{"as new as allowed", -tolerance, nil},
		{"a nanosecond too old", tolerance + 1, ErrStale},
		{"a nanosecond too new", -tolerance - 1, ErrStale},
		{"centuries old", 290 * 365 * 24 * time.Hour, ErrStale},
	}
	v := mustNew(t, tolerance, Key{"main", testKey})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := v.Verify("1767225600", eventSignature, []byte(eventBody), signedAt.Add(tt.offset))
			if !errors.Is(err, tt.want) {
				t.Errorf("Verify = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestSeveralKeys(t *testing.T) {
	v := mustNew(t, time.Minute, Key{"old", "retired"}, Key{"eu", testKey}, Key{"us", secondKey})
	if got := strings.Join(v.KeyNames(), " "); got != "old eu us" {
		t.Errorf("KeyNames = %s, want old eu us", got)
	}
	for signature, want := range map[string]string{
		eventSignature:       "eu",
		eventSignatureSecond: "us",
		Sign("retired", "1767225600", []byte(eventBody)): "old",
	} {
		name, err := v.Verify("1767225600", signature, []byte(eventBody), signedAt)
		if err != nil || name != want {
			t.Errorf("Verify = %q, %v; want %s", name, err, want)
		}
	}
	if name, err := v.Verify("1767225600", Sign("unknown", "1767225600", []byte(eventBody)), []byte(eventBody), signedAt); !errors.Is(err, ErrMismatch) {
		t.Errorf("Verify = %q, %v; want %v", name, err, ErrMismatch)
	}
}

func TestNewRefuses(t *testing.T) {
	tests := []struct {
		name      string
		keys      []Key
		tolerance time.Duration
		want      string
	}{
		{"no key", nil, time.Minute, "signature: no signing key"},
		{"no tolerance", []Key{{"a", "s"}}, 0, "signature: tolerance 0s isn't positive"},
		{"empty secret", []Key{{"a", "s"}, {"b", ""}}, time.Minute, "signature: key 2 (b) is empty"},
		{"no name", []Key{{"", "hidden"}}, time.Minute, "signature: key 1 has no name"},
		{"same name", []Key{{"a", "s"}, {"a", "hidden"}}, time.Minute, "signature: two keys named a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, err := New(tt.keys, tt.tolerance)
			if v != nil || err == nil || err.Error() != tt.want {
				t.Errorf("New = %v, %v; want error %q", v, err, tt.want)
			}
		})
	}
}

// Hash states are shared through pools: concurrent users must not mix.
func TestConcurrentVerify(t *testing.T) {
	v := mustNew(t, time.Minute, Key{"eu", testKey}, Key{"us", secondKey})
	done := make(chan error)
	const workers = 8
	for w := range workers {
		go func() {
			body := []byte(strings.Repeat("x", 100*w))
			key, want := testKey, "eu"
			if w%2 == 1 {
				key, want = secondKey, "us"
			}
			signature := Sign(key, "1767225600", body)
			for range 500 {
				name, err := v.Verify("1767225600", signature, body, signedAt)
				if err != nil || name != want {
					done <- errors.New("mixed up: " + name)
					return
				}
			}
			done <- nil
		}()
	}
	for range workers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, bench := range []struct {
		name string
		size int
		keys []Key
	}{
		{"450B-1key", 450, []Key{{"main", testKey}}},
		{"450B-3keys", 450, []Key{{"old", "o"}, {"older", "p"}, {"main", testKey}}},
		{"1MiB-1key", 1 << 20, []Key{{"main", testKey}}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			v := mustNew(b, time.Minute, bench.keys...)
			body := []byte(strings.Repeat("x", bench.size))
			signature := Sign(testKey, "1767225600", body)
			b.ReportAllocs()
			b.SetBytes(int64(bench.size))
			for b.Loop() {
				if _, err := v.Verify("1767225600", signature, body, signedAt); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
