package signature

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// macHex is made without the package's own code.
func macHex(of func() hash.Hash, key, text string) string {
	mac := hmac.New(of, []byte(key))
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

// signedText signs what a sender took for the signed text.
func signedText(text string) string { return macHex(sha256.New, testKey, text) }

const (
	stamp    = "1767225600"
	richBody = `{"event_id":"01","metric":"sent","n":[1,{"b":2,"a":[]}],"data":{"subject":"Grüße <b>&amp; 😀</b>","href":"https://x/y"},"timestamp":1767220000}`
)

func richly(change func(any) []byte) string {
	var v any
	if err := json.Unmarshal([]byte(richBody), &v); err != nil {
		panic(err)
	}
	return string(change(v))
}

// marshal is Go's encoder: sorted names, and HTML escapes unless told otherwise.
func marshal(html bool, indent string) func(any) []byte {
	return func(v any) []byte {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(html)
		e.SetIndent("", indent)
		if err := e.Encode(v); err != nil {
			panic(err)
		}
		return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	}
}

func indented(body, indent string) string {
	var b bytes.Buffer
	if err := json.Indent(&b, []byte(body), "", indent); err != nil {
		panic(err)
	}
	return b.String()
}

// What Python's json.dumps and PHP's json_encode make of richBody.
const (
	pythonBody = `{"event_id": "01", "metric": "sent", "n": [1, {"b": 2, "a": []}], "data": {"subject": "Gr\u00fc\u00dfe <b>&amp; \ud83d\ude00</b>", "href": "https://x/y"}, "timestamp": 1767220000}`
	phpBody    = `{"event_id":"01","metric":"sent","n":[1,{"b":2,"a":[]}],"data":{"subject":"Gr\u00fc\u00dfe <b>&amp; \ud83d\ude00<\/b>","href":"https:\/\/x\/y"},"timestamp":1767220000}`
	dotnetBody = `{"event_id":"01","metric":"sent","n":[1,{"b":2,"a":[]}],"data":{"subject":"Gr\u00FC\u00DFe \u003Cb\u003E\u0026amp; \uD83D\uDE00\u003C/b\u003E","href":"https://x/y"},"timestamp":1767220000}`
	spacedBody = `{"event_id": "01", "metric": "sent", "n": [1, {"b": 2, "a": []}], "data": {"subject": "Grüße <b>&amp; 😀</b>", "href": "https://x/y"}, "timestamp": 1767220000}`
)

type diagnoseCase struct {
	name                 string
	timestamp, signature string // header values; timestamp "" means stamp, signature "" signs correctly
	signed               string // the body that was signed, if it isn't the one that came
	body                 string // "" means richBody
	original             string
	key                  Key // the configured one, testKey if empty
	after                time.Duration
	want                 []Code
	unknownKey           bool // no key is found
}

func sign(body string) string { return signedText("v0:" + stamp + ":" + body) }

func signWith(key, body string) string { return macHex(sha256.New, key, "v0:"+stamp+":"+body) }

func diagnoseCases() []diagnoseCase {
	right := sign(richBody)
	raw, _ := hex.DecodeString(right)
	b64 := base64.StdEncoding.EncodeToString
	full := func(text string) string { return "v0:" + stamp + ":" + text }
	codes := func(c ...Code) []Code { return c }
	hexKey := hex.EncodeToString([]byte("0123456789abcdef"))
	base64Key := b64([]byte("0123456789abcdef"))
	pretty := indented(richBody, "  ")
	return []diagnoseCase{
		{name: "signature missing", signature: " ", want: codes(CodeSignatureMissing), unknownKey: true},
		{name: "v0= prefix", signature: "v0=" + right, want: codes(CodeSignaturePrefix)},
		{name: "sha256= prefix", signature: "sha256=" + right, want: codes(CodeSignaturePrefix)},
		{name: "v0: prefix", signature: "v0:" + right, want: codes(CodeSignaturePrefix)},
		{name: "0x prefix", signature: "0x" + right, want: codes(CodeSignaturePrefix)},
		{name: "scheme word", signature: "HMAC " + right, want: codes(CodeSignaturePrefix)},
		{name: "prefix and base64", signature: "sha256=" + b64(raw), want: codes(CodeSignaturePrefix, CodeSignatureBase64)},
		{name: "list", signature: "t=1767225600,v1=" + right, want: codes(CodeSignatureList, CodeSignaturePrefix)},
		{name: "upper case", signature: strings.ToUpper(right), want: codes(CodeSignatureUpperCase)},
		{name: "base64", signature: b64(raw), want: codes(CodeSignatureBase64)},
		{name: "base64 for URLs", signature: base64.RawURLEncoding.EncodeToString(raw), want: codes(CodeSignatureBase64)},
		{name: "base64 of the hex", signature: b64([]byte(right)), want: codes(CodeSignatureBase64)},
		{name: "spaces", signature: " " + right + "\n", want: codes(CodeSignatureSpaces)},
		{name: "quotes", signature: `"` + right + `"`, want: codes(CodeSignatureQuoted)},
		{name: "quotes in spaces", signature: ` '` + right + `'`, want: codes(CodeSignatureSpaces, CodeSignatureQuoted)},
		{name: "cut off", signature: right[:60], want: codes(CodeSignatureLength)},
		{name: "beginning lost", signature: right[1:], want: codes(CodeSignatureLength)},
		{name: "a digit too many", signature: right + "0", want: codes(CodeSignatureLength)},
		{name: "too short to tell", signature: right[:10], want: codes(CodeSignatureLength), unknownKey: true},
		{name: "not hex", signature: "hello, world", want: codes(CodeSignatureNotHex), unknownKey: true},
		{name: "SHA-1", signature: macHex(sha1.New, testKey, full(richBody)), want: codes(CodeSignatureLength, CodeHash)},
		{name: "SHA-512", signature: macHex(sha512.New, testKey, full(richBody)), want: codes(CodeSignatureLength, CodeHash)},
		{name: "SHA-384", signature: macHex(sha512.New384, testKey, full(richBody)), want: codes(CodeSignatureLength, CodeHash)},
		{name: "SHA-1 in base64", signature: b64(unhex(macHex(sha1.New, testKey, full(richBody)))), want: codes(CodeSignatureBase64, CodeHash)},
		{name: "no HMAC", signature: sha256Hex(testKey + full(richBody)), want: codes(CodeNotHMAC)},
		{name: "no key at all", signature: sha256Hex(full(richBody)), want: codes(CodeNotHMAC)},

		{name: "timestamp missing", timestamp: " ", signature: right, want: codes(CodeTimestampMissing, CodeNoMatch), unknownKey: true},
		{name: "timestamp missing and not signed", timestamp: " ", signature: signedText("v0::" + richBody), want: codes(CodeTimestampMissing)},
		{name: "timestamp in spaces", timestamp: stamp + " ", signature: right, want: codes(CodeTimestampSpaces)},
		{name: "timestamp in quotes", timestamp: `"` + stamp + `"`, signature: right, want: codes(CodeTimestampQuoted)},
		{name: "milliseconds signed and sent", timestamp: stamp + "123", signature: signedText("v0:" + stamp + "123:" + richBody), want: codes(CodeTimestampUnit)},
		{name: "microseconds signed and sent", timestamp: stamp + "123456", signature: signedText("v0:" + stamp + "123456:" + richBody), want: codes(CodeTimestampUnit)},
		{name: "nanoseconds signed and sent", timestamp: stamp + "123456789", signature: signedText("v0:" + stamp + "123456789:" + richBody), want: codes(CodeTimestampUnit)},
		{name: "milliseconds sent only", timestamp: stamp + "123", signature: right, want: codes(CodeTimestampUnit, CodeTimestampSignedUnit)},
		{name: "microseconds sent only", timestamp: stamp + "000000", signature: right, want: codes(CodeTimestampUnit, CodeTimestampSignedUnit)},
		{name: "nanoseconds sent only", timestamp: stamp + "000000000", signature: right, want: codes(CodeTimestampUnit, CodeTimestampSignedUnit)},
		{name: "milliseconds signed only", signature: signedText("v0:" + stamp + "000:" + richBody), want: codes(CodeTimestampSignedUnit)},
		{name: "some millisecond signed", signature: signedText("v0:" + stamp + "789:" + richBody), want: codes(CodeTimestampSignedUnit)},
		{name: "nanoseconds signed only", signature: signedText("v0:" + stamp + "000000000:" + richBody), want: codes(CodeTimestampSignedUnit)},
		{name: "a date signed and sent", timestamp: "2026-01-01T00:00:00Z", signature: signedText("v0:2026-01-01T00:00:00Z:" + richBody), want: codes(CodeTimestampNotInteger)},
		{name: "a date sent only", timestamp: "2026-01-01T01:00:00+01:00", signature: right, want: codes(CodeTimestampNotInteger, CodeTimestampSignedUnit)},
		{name: "a date signed only", signature: signedText("v0:2026-01-01T00:00:00.000Z:" + richBody), want: codes(CodeTimestampSignedUnit)},
		{name: "decimals", timestamp: stamp + ".25", signature: signedText("v0:" + stamp + ".25:" + richBody), want: codes(CodeTimestampNotInteger)},
		{name: "decimals sent only", timestamp: stamp + ".25", signature: right, want: codes(CodeTimestampNotInteger, CodeTimestampSignedUnit)},
		{name: "no time", timestamp: "now", signature: right, want: codes(CodeTimestampNotInteger, CodeNoMatch), unknownKey: true},
		{name: "too many digits", timestamp: strings.Repeat("9", 25), signature: right, want: codes(CodeTimestampNotInteger, CodeNoMatch), unknownKey: true},
		{name: "empty timestamp signed", signature: signedText("v0::" + richBody), want: codes(CodeTimestampNotSigned)},
		{name: "the event's timestamp signed", signature: signedText("v0:1767220000:" + richBody), want: codes(CodeTimestampOfEvent)},
		{name: "another second signed", signature: signedText("v0:1767225602:" + richBody), want: codes(CodeTimestampOtherSecond)},
		{name: "stale", after: 2 * time.Hour, want: codes(CodeTimestampStale)},
		{name: "future", after: -11 * time.Minute, want: codes(CodeTimestampFuture)},
		{name: "stale in milliseconds", timestamp: stamp + "000", signature: right, after: 48 * time.Hour, want: codes(CodeTimestampUnit, CodeTimestampSignedUnit, CodeTimestampStale)},
		{name: "stale and upper case", signature: strings.ToUpper(right), after: 3 * day, want: codes(CodeSignatureUpperCase, CodeTimestampStale)},

		{name: "line break added", body: richBody + "\n", signed: richBody, want: codes(CodeBodyNewlineAdded)},
		{name: "CRLF added", body: richBody + "\r\n", signed: richBody, want: codes(CodeBodyNewlineAdded)},
		{name: "line break removed", signed: richBody + "\n", want: codes(CodeBodyNewlineRemoved)},
		{name: "CRLF removed", signed: richBody + "\r\n", want: codes(CodeBodyNewlineRemoved)},
		{name: "line break removed from what isn't JSON", body: "a=b", signed: "a=b\n", want: codes(CodeBodyNewlineRemoved)},
		{name: "CRLF to LF", body: pretty, signed: strings.ReplaceAll(pretty, "\n", "\r\n"), want: codes(CodeBodyLineEnds)},
		{name: "LF to CRLF", body: strings.ReplaceAll(pretty, "\n", "\r\n"), signed: pretty, want: codes(CodeBodyLineEnds)},
		{name: "line breaks stripped", body: strings.ReplaceAll(pretty, "\n", ""), signed: pretty, want: codes(CodeBodyRespaced)},
		{name: "line breaks stripped, original known", body: "{  }", original: "{\n  \n\n}\n", signed: "{\n  \n\n}\n", want: codes(CodeBodyNewlinesStripped)},
		{name: "last line break stripped, original known", body: "a", original: "a\n\n", signed: "a\n\n", want: codes(CodeBodyNewlineRemoved)},
		{name: "line breaks put in", body: pretty, signed: strings.ReplaceAll(pretty, "\n", ""), want: codes(CodeBodyNewlinesStripped)},
		{name: "BOM added", body: "\ufeff" + richBody, signed: richBody, want: codes(CodeBodyBOM)},
		{name: "BOM removed", signed: "\ufeff" + richBody, want: codes(CodeBodyBOM)},
		{name: "spaces around", body: "  " + richBody + " ", signed: richBody, want: codes(CodeBodySpaces)},
		{name: "empty body signed", signature: signedText(full("")), want: codes(CodeBodyNotSigned)},
		{name: "spaced", signed: spacedBody, want: codes(CodeBodyRespaced)},
		{name: "compacted", body: spacedBody, signed: richBody, want: codes(CodeBodyRespaced)},
		{name: "two spaces", signed: pretty, want: codes(CodeBodyRespaced)},
		{name: "two spaces and a line break", signed: pretty + "\n", want: codes(CodeBodyRespaced, CodeBodyNewlineRemoved)},
		{name: "four spaces", signed: indented(richBody, "    "), want: codes(CodeBodyRespaced)},
		{name: "tabs", signed: indented(richBody, "\t"), want: codes(CodeBodyRespaced)},
		{name: "unindented", body: indented(richBody, "\t"), signed: richBody, want: codes(CodeBodyRespaced)},
		{name: "Python", signed: pythonBody, want: codes(CodeBodyRespaced, CodeBodyUnicodeEscapes)},
		{name: "Python undone", body: pythonBody, signed: richBody, want: codes(CodeBodyRespaced, CodeBodyUnicodeEscapes)},
		{name: "PHP", signed: phpBody, want: codes(CodeBodySlashEscapes, CodeBodyUnicodeEscapes)},
		{name: "PHP undone", body: phpBody, signed: richBody, want: codes(CodeBodySlashEscapes, CodeBodyUnicodeEscapes)},
		{name: ".NET", signed: dotnetBody, want: codes(CodeBodyHTMLEscapes, CodeBodyUnicodeEscapes)},
		{name: "HTML escapes", signed: string(htmlEscaped(richBody)), want: codes(CodeBodyHTMLEscapes)},
		{name: "HTML escapes undone", body: string(htmlEscaped(richBody)), signed: richBody, want: codes(CodeBodyHTMLEscapes)},
		{name: "slashes", signed: strings.ReplaceAll(richBody, "/", `\/`), want: codes(CodeBodySlashEscapes)},
		{name: "slashes undone in spaced JSON", body: strings.ReplaceAll(spacedBody, "/", `\/`), signed: spacedBody, want: codes(CodeBodySlashEscapes)},
		{name: "sorted", signed: richly(marshal(false, "")), want: codes(CodeBodyKeysSorted)},
		{name: "sorted and escaped", signed: richly(marshal(true, "")), want: codes(CodeBodyHTMLEscapes, CodeBodyKeysSorted)},
		{name: "sorted and indented", signed: richly(marshal(false, "  ")), want: codes(CodeBodyRespaced, CodeBodyKeysSorted)},

		{name: "body only", signature: signedText(richBody), want: codes(CodeSignedText)},
		{name: "timestamp.body", signature: signedText(stamp + "." + richBody), want: codes(CodeSignedText)},
		{name: "timestamp:body", signature: signedText(stamp + ":" + richBody), want: codes(CodeSignedText)},
		{name: "v0=ts=body", signature: signedText("v0=" + stamp + "=" + richBody), want: codes(CodeSignedText)},
		{name: "v0=ts:body", signature: signedText("v0=" + stamp + ":" + richBody), want: codes(CodeSignedText)},
		{name: "a line break after", body: "{", signature: signedText(full("{") + "\n"), want: codes(CodeBodyNewlineRemoved)},
		{name: "body and timestamp", signature: signedText(richBody + stamp), want: codes(CodeSignedText)},

		{name: "key with a line break", signature: signWith(testKey+"\n", richBody), want: codes(CodeKeySpaces)},
		{name: "key with CRLF", signature: signWith(testKey+"\r\n", richBody), want: codes(CodeKeySpaces)},
		{name: "configured key with a line break", key: Key{"main", testKey + "\n"}, signature: right, want: codes(CodeKeySpaces)},
		{name: "key in quotes", signature: signWith(`"`+testKey+`"`, richBody), want: codes(CodeKeyQuoted)},
		{name: "configured key in quotes", key: Key{"main", "'" + testKey + "'"}, signature: right, want: codes(CodeKeyQuoted)},
		{name: "key hex-decoded", key: Key{"main", hexKey}, signature: signWith("0123456789abcdef", richBody), want: codes(CodeKeyHex)},
		{name: "key base64-decoded", key: Key{"main", base64Key}, signature: signWith("0123456789abcdef", richBody), want: codes(CodeKeyBase64)},
		{name: "name=key", signature: signWith("main="+testKey, richBody), want: codes(CodeKeyWithName)},
		{name: "configured name=key", key: Key{"main", "prod=" + testKey}, signature: right, want: codes(CodeKeyWithName)},
		{name: "the whole setting", signature: signWith("main="+testKey+",second="+secondKey, richBody), want: codes(CodeKeyWithName)},
		{name: "key in upper case", signature: signWith(strings.ToUpper(testKey), richBody), want: codes(CodeKeyCase)},

		{name: "a line break on body and key", signed: richBody + "\n", signature: signWith(testKey+"\n", richBody+"\n"), want: codes(CodeKeySpaces, CodeBodyNewlineRemoved)},
		{name: "milliseconds and a prefix", timestamp: stamp + "123", signature: "v0=" + right, want: codes(CodeSignaturePrefix, CodeTimestampUnit, CodeTimestampSignedUnit)},
		{name: "Stripe's way", signature: "t=" + stamp + ",v1=" + signedText(stamp+"."+richBody), want: codes(CodeSignatureList, CodeSignaturePrefix, CodeSignedText)},
		{name: "GitHub's way", signature: "sha256=" + signedText(richBody), want: codes(CodeSignaturePrefix, CodeSignedText)},
		{name: "Shopify's way over another's spacing", signature: b64(unhex(signedText(spacedBody))), want: codes(CodeSignatureBase64, CodeSignedText, CodeBodyRespaced)},

		{name: "a key that isn't ours", signature: signWith("somebody else's", richBody), want: codes(CodeNoMatch), unknownKey: true},
		{name: "a key that isn't ours, stale", signature: signWith("somebody else's", richBody), after: day, want: codes(CodeTimestampStale, CodeNoMatch), unknownKey: true},
		{name: "not JSON", body: "\xff\xfe{", signature: right, want: codes(CodeNoMatch), unknownKey: true},
	}
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func sha256Hex(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func htmlEscaped(body string) []byte {
	var b bytes.Buffer
	json.HTMLEscape(&b, []byte(body))
	return b.Bytes()
}

// attempt fills in what a case leaves out; " " stands for an empty header.
func (c diagnoseCase) attempt() Attempt {
	a := Attempt{
		Keys: []Key{{"main", testKey}, {"second", secondKey}}, Tolerance: 10 * time.Minute,
		Timestamp: c.timestamp, Signature: c.signature, Body: []byte(c.body), Now: signedAt.Add(c.after),
	}
	if c.original != "" {
		a.Original = []byte(c.original)
	}
	if c.key.Secret != "" {
		a.Keys[0] = c.key
	}
	if a.Timestamp == "" {
		a.Timestamp = stamp
	}
	if c.body == "" {
		a.Body = []byte(richBody)
	}
	if c.signature == "" {
		signed := c.signed
		if signed == "" {
			signed = string(a.Body)
		}
		a.Signature = sign(signed)
	}
	if a.Timestamp == " " {
		a.Timestamp = ""
	}
	if a.Signature == " " {
		a.Signature = ""
	}
	return a
}

func codesOf(d Diagnosis) []Code {
	var all []Code
	for _, f := range d.Findings {
		all = append(all, f.Code)
	}
	return all
}

func TestDiagnoseCauses(t *testing.T) {
	for _, c := range diagnoseCases() {
		t.Run(c.name, func(t *testing.T) {
			a := c.attempt()
			d, err := Diagnose(a)
			if err != nil {
				t.Fatal(err)
			}
			if got := codesOf(d); !slices.Equal(got, c.want) {
				t.Errorf("codes %v, want %v", got, c.want)
			}
			if known := d.KeyName != ""; known == c.unknownKey || (known && d.KeyName != "main") {
				t.Errorf("key %q", d.KeyName)
			}
			checkAgreement(t, a, d)
			checkSecrets(t, a, d)
		})
	}
}

// checkAgreement holds a diagnosis against Verify.
func checkAgreement(t *testing.T, a Attempt, d Diagnosis) {
	t.Helper()
	name, err := mustNew(t, a.Tolerance, a.Keys...).Verify(a.Timestamp, a.Signature, a.Body, a.Now)
	if !errors.Is(d.Err, err) || (err == nil) != d.Accepted() {
		t.Errorf("diagnosed %v, Verify says %v", d.Err, err)
	}
	if err == nil && (d.KeyName != name || len(d.Findings) > 0) {
		t.Errorf("accepted by %s; diagnosed %s with %v", name, d.KeyName, d.Findings)
	}
	if err != nil && len(d.Findings) == 0 {
		t.Errorf("refused (%v) without a finding", err)
	}
}

// checkSecrets looks for what a finding must not tell.
func checkSecrets(t *testing.T, a Attempt, d Diagnosis) {
	t.Helper()
	text := fmt.Sprintf("%+v", d)
	for _, k := range a.Keys {
		if bare, _, _ := unwrap(k.Secret); strings.Contains(text, bare) {
			t.Errorf("a key is told: %s", text)
		}
		if strings.Contains(text, Sign(k.Secret, a.Timestamp, a.Body)) {
			t.Errorf("the right signature is told: %s", text)
		}
	}
	for _, f := range d.Findings {
		if strings.ContainsFunc(f.Text, func(r rune) bool { return !strconv.IsPrint(r) }) {
			t.Errorf("a finding with controls: %q", f.Text)
		}
	}
}

// TestDiagnoseAgrees draws requests at random, most of them wrong in some way.
func TestDiagnoseAgrees(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	keys := []Key{{"main", testKey}, {"second", secondKey}}
	accepted := 0
	for range 300 {
		body := pick("", "{}", richBody, "a\n", "\xff")
		sent := pick(stamp, stamp, stamp, stamp+"000", "0"+stamp, "+"+stamp, "", "99999999999", "000000000"+stamp, "1767225601")
		signed := pick(sent, sent, stamp, "")
		sum := macHex(sha256.New, pick(testKey, secondKey, secondKey+"\n", "foreign"), "v0:"+signed+":"+pick(body, body, body+"\n"))
		a := Attempt{
			Keys: keys[:1+r.IntN(2)], Tolerance: time.Duration(1 + r.Int64N(int64(3*time.Hour))),
			Timestamp: sent, Signature: pick(sum, sum, sum, strings.ToUpper(sum), "v0="+sum, sum[:63], "", " "+sum), Body: []byte(body),
			Now: signedAt.Add(time.Duration(r.Int64N(int64(4*time.Hour))) - 2*time.Hour),
		}
		d, err := Diagnose(a)
		if err != nil {
			t.Fatal(err)
		}
		checkAgreement(t, a, d)
		checkSecrets(t, a, d)
		if d.Accepted() {
			accepted++
		}
	}
	if accepted == 0 || accepted == 300 {
		t.Errorf("%d of 300 accepted: the draw tests nothing", accepted)
	}
}

func TestDiagnoseRefusesKeys(t *testing.T) {
	if _, err := Diagnose(Attempt{Tolerance: time.Minute}); err == nil {
		t.Error("no error without keys")
	}
}

// TestDiagnoseIsBounded takes a body of the largest size that is let in.
func TestDiagnoseIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("hashes a gigabyte")
	}
	value := strings.Repeat("ü</", 2<<20)
	body := `{"data":"` + value + `"}`
	c := diagnoseCase{body: body, signature: signWith("foreign", body)}
	d, err := Diagnose(c.attempt())
	if err != nil {
		t.Fatal(err)
	}
	if most := maxWork / len(body); d.Tried > most || d.Tried < 20 {
		t.Errorf("%d signatures of %d bytes", d.Tried, len(body))
	}
	if got := codesOf(d); !slices.Equal(got, []Code{CodeNoMatch}) || !strings.Contains(d.Findings[0].Text, "not everything was tried") {
		t.Errorf("found %v", d.Findings)
	}
	c = diagnoseCase{body: body, signature: sign(body + "\n")}
	if d, err = Diagnose(c.attempt()); err != nil || !slices.Equal(codesOf(d), []Code{CodeBodyNewlineRemoved}) {
		t.Errorf("a line break at the end of a large body: %v, %v", codesOf(d), err)
	}
}

func TestStalenessHints(t *testing.T) {
	tests := []struct {
		after time.Duration
		want  string
	}{
		{20 * time.Minute, "Compare the clocks"},
		{2 * time.Hour, "time zones"},
		{5*time.Hour + 30*time.Minute + 3*time.Second, "time zones"},
		{7*time.Hour + 13*time.Minute, "held back"},
		{40 * day, "old capture"},
		{-17 * time.Minute, "NTP"},
		{-3 * time.Hour, "time zones"},
	}
	for _, test := range tests {
		t.Run(test.after.String(), func(t *testing.T) {
			d, err := Diagnose(diagnoseCase{after: test.after}.attempt())
			if err != nil {
				t.Fatal(err)
			}
			if len(d.Findings) != 1 || !strings.Contains(d.Findings[0].Text, test.want) {
				t.Errorf("found %v, want %q in it", d.Findings, test.want)
			}
		})
	}
}

func FuzzDiagnose(f *testing.F) {
	f.Add(stamp, sign(richBody), []byte(richBody))
	f.Add("2026-01-01T00:00:00Z", "v0=", []byte(`{"a":"\ud800\u00e4\/","b":[[],{}],"a":1e5}`))
	f.Add("1e400", "t=1,v1=,", []byte(" [\"\\\\\", 1 ]\n"))
	f.Fuzz(func(t *testing.T, timestamp, signature string, body []byte) {
		if len(body) > 4<<10 {
			return
		}
		a := Attempt{
			Keys: []Key{{"main", testKey}}, Tolerance: time.Minute,
			Timestamp: timestamp, Signature: signature, Body: body, Now: signedAt,
		}
		d, err := Diagnose(a)
		if err != nil {
			t.Fatal(err)
		}
		checkAgreement(t, a, d)
	})
}

// TestJSONVariantsAreTheSameJSON makes sure that no rewriting changes meaning.
func TestJSONVariantsAreTheSameJSON(t *testing.T) {
	bodies := []string{
		richBody, pythonBody, phpBody, dotnetBody, ` [ ] `, `"a\\\"b\u0000\ud83d\ude00\u2028"`, `{"":{"":[null,true,-1.5e+3]}}`,
		indented(richBody, "\t"), `{"a":[1 , 2]	,"b" : ""}`,
	}
	for _, body := range bodies {
		var want any
		if err := json.Unmarshal([]byte(body), &want); err != nil {
			t.Fatal(err)
		}
		wanted := fmt.Sprint(want)
		n := 0
		jsonBodies([]byte(body), maxWeight, func(v bodyVariant) bool {
			n++
			var got any
			if err := json.Unmarshal(v.body, &got); err != nil || fmt.Sprint(got) != wanted {
				t.Errorf("%s became %s (%v)", body, v.body, err)
			}
			return true
		})
		if n < 50 {
			t.Errorf("%d variants of %s", n, body)
		}
	}
}
