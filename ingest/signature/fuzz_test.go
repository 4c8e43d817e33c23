package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/big"
	"regexp"
	"testing"
	"time"
)

// FuzzVerify holds Verify to a second, slow writing of the same rules.
func FuzzVerify(f *testing.F) {
	f.Add("1767225600", eventSignature, []byte(eventBody), testKey, true)
	f.Add("1767225600", "v0="+eventSignature, []byte(eventBody), testKey, false)
	f.Add("+1767225600", eventSignature, []byte{}, testKey, false)
	f.Add("99999999999999999999", eventSignature, []byte{0xff}, "k", true)
	f.Add("", "", []byte(nil), "k", false)

	const tolerance = time.Hour
	timestampForm := regexp.MustCompile(`\A[0-9]+\z`)
	signatureForm := regexp.MustCompile(`\A[0-9a-f]{64}\z`)

	f.Fuzz(func(t *testing.T, timestamp, signature string, body []byte, key string, sign bool) {
		if key == "" {
			return
		}
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write([]byte("v0:" + timestamp + ":" + string(body)))
		right := hex.EncodeToString(mac.Sum(nil))
		if sign {
			signature = right
		}

		var want error
		seconds, isNumber := new(big.Int).SetString(timestamp, 10)
		switch {
		case timestamp == "" || signature == "":
			want = ErrMissing
		case !timestampForm.MatchString(timestamp) || !signatureForm.MatchString(signature) || len(timestamp) > maxTimestampDigits:
			want = ErrMalformed
		case !isNumber || new(big.Int).Abs(new(big.Int).Sub(seconds, big.NewInt(signedAt.Unix()))).Cmp(big.NewInt(int64(tolerance/time.Second))) > 0:
			want = ErrStale
		case signature != right:
			want = ErrMismatch
		}

		v := mustNew(t, tolerance, Key{"other", key + "x"}, Key{"main", key})
		name, err := v.Verify(timestamp, signature, body, signedAt)
		if !errors.Is(err, want) {
			t.Errorf("Verify(%q, %q) = %v, want %v", timestamp, signature, err, want)
		}
		if (err == nil) != (name == "main") {
			t.Errorf("Verify(%q, %q) named key %q with error %v", timestamp, signature, name, err)
		}
	})
}
