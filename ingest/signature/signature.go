// Package signature checks and makes the signatures of Customer.io's
// Reporting Webhooks.
//
// The scheme, from Customer.io's documentation of webhook security:
//
//	signature = hex(HMAC-SHA256(key, "v0:" + timestamp + ":" + body))
//
// where timestamp is the X-CIO-Timestamp header exactly as received (whole
// Unix seconds), body is the raw request body, key is the signing key's ASCII
// bytes, and the result travels in X-CIO-Signature as bare lower-case hex
// with no "v0=" before it.
//
// The package is pure: it reads no clock, no header and no socket, keeps no
// record of signatures it has seen (replays inside the tolerance are the
// deduplication's business), and Verify never looks inside the body. [Diagnose],
// for people, does: it finds out why a signature fails.
package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"sync"
	"time"
)

// The reasons for which [Verifier.Verify] refuses. None of them says which
// key came close, and none holds bytes of the request.
var (
	// ErrMissing: the timestamp or the signature is empty.
	ErrMissing = errors.New("signature or timestamp missing")
	// ErrMalformed: the signature isn't 64 lower-case hex digits, or the
	// timestamp isn't a plain decimal integer.
	ErrMalformed = errors.New("signature or timestamp malformed")
	// ErrStale: the timestamp is further from now than the tolerance, in
	// either direction.
	ErrStale = errors.New("timestamp outside the tolerance")
	// ErrMismatch: no key makes this signature for this timestamp and body.
	ErrMismatch = errors.New("signature made by none of the keys")
)

const (
	// version opens the signed text.
	version = "v0:"
	// maxTimestampDigits keeps the number inside an int64 (10^18 − 1).
	maxTimestampDigits = 18
)

// Key is one signing key. Name is public: it goes into metrics and record
// headers to tell workspaces and rotations apart. Secret is the signing key as
// Customer.io shows it.
type Key struct {
	Name   string
	Secret string
}

// Verifier holds the keys whose signatures are accepted. It is immutable and
// safe for concurrent use.
type Verifier struct {
	keys      []verifyingKey
	tolerance time.Duration
}

// verifyingKey keeps hash states already keyed with the secret, because keying
// costs two SHA-256 blocks and four allocations a request otherwise.
type verifyingKey struct {
	name   string
	states *sync.Pool // of *state
}

// state is one keyed hash and the small buffers that would escape to the heap
// if they were locals handed to the hash.Hash interface.
type state struct {
	mac    hash.Hash
	prefix []byte
	sum    []byte
}

// New makes a Verifier that accepts the signatures of any of keys whose
// timestamp is at most tolerance away from the time given to Verify.
//
// It refuses no keys at all, a key without a secret or a name, two keys of one
// name, and a tolerance that isn't positive. The errors name keys by position
// and name, never by secret.
func New(keys []Key, tolerance time.Duration) (*Verifier, error) {
	if len(keys) == 0 {
		return nil, errors.New("signature: no signing key")
	}
	if tolerance <= 0 {
		return nil, fmt.Errorf("signature: tolerance %v isn't positive", tolerance)
	}
	v := &Verifier{tolerance: tolerance}
	names := make(map[string]bool, len(keys))
	for i, k := range keys {
		switch {
		case k.Name == "":
			return nil, fmt.Errorf("signature: key %d has no name", i+1)
		case k.Secret == "":
			return nil, fmt.Errorf("signature: key %d (%s) is empty", i+1, k.Name)
		case names[k.Name]:
			return nil, fmt.Errorf("signature: two keys named %s", k.Name)
		}
		names[k.Name] = true
		v.keys = append(v.keys, newVerifyingKey(k))
	}
	return v, nil
}

func newVerifyingKey(k Key) verifyingKey {
	secret := []byte(k.Secret)
	return verifyingKey{name: k.Name, states: &sync.Pool{New: func() any {
		return &state{
			mac:    hmac.New(sha256.New, secret),
			prefix: make([]byte, 0, len(version)+maxTimestampDigits+1),
			sum:    make([]byte, 0, sha256.Size),
		}
	}}}
}

// KeyNames are the names of the accepted keys, in the order given to New.
func (v *Verifier) KeyNames() []string {
	names := make([]string, len(v.keys))
	for i, k := range v.keys {
		names[i] = k.name
	}
	return names
}

// Verify checks a request: timestamp and signature are the two header values
// exactly as received, body the raw bytes before any decoding, now the time of
// receipt. It returns the name of the key that made the signature, or one of
// [ErrMissing], [ErrMalformed], [ErrStale] and [ErrMismatch].
//
// Every key is tried and compared in constant time, also after one has
// matched, so the time taken tells neither how close a guess came nor which
// key is in use. The body is neither copied nor kept.
func (v *Verifier) Verify(timestamp, signature string, body []byte, now time.Time) (keyName string, err error) {
	if timestamp == "" || signature == "" {
		return "", ErrMissing
	}
	seconds, ok := parseTimestamp(timestamp)
	if !ok {
		return "", ErrMalformed
	}
	var got [sha256.Size]byte
	if !parseSignature(&got, signature) {
		return "", ErrMalformed
	}
	// Sub saturates, so timestamps centuries away stay stale.
	if age := now.Sub(time.Unix(seconds, 0)); age > v.tolerance || age < -v.tolerance {
		return "", ErrStale
	}
	match := -1
	for i := range v.keys {
		equal := v.keys[i].compare(timestamp, body, &got)
		match = subtle.ConstantTimeSelect(equal, i, match)
	}
	if match < 0 {
		return "", ErrMismatch
	}
	return v.keys[match].name, nil
}

// compare is 1 when got is this key's signature, else 0.
func (k *verifyingKey) compare(timestamp string, body []byte, got *[sha256.Size]byte) int {
	s := k.states.Get().(*state)
	s.sign(timestamp, body)
	equal := subtle.ConstantTimeCompare(s.sum, got[:])
	k.states.Put(s)
	return equal
}

// sign leaves the MAC in s.sum and the hash ready for the next use.
func (s *state) sign(timestamp string, body []byte) {
	s.prefix = append(append(append(s.prefix[:0], version...), timestamp...), ':')
	s.mac.Reset()
	// hash.Hash says that Write never fails.
	s.mac.Write(s.prefix)
	s.mac.Write(body)
	s.sum = s.mac.Sum(s.sum[:0])
}

// Sign makes the X-CIO-Signature value for a body sent with this
// X-CIO-Timestamp value. It is what a sender (a test, a demo) does; key is the
// secret itself.
func Sign(key, timestamp string, body []byte) string {
	k := newVerifyingKey(Key{Secret: key})
	s := k.states.Get().(*state)
	s.sign(timestamp, body)
	return hex.EncodeToString(s.sum)
}

// parseTimestamp reads a plain decimal integer: digits only.
func parseTimestamp(s string) (seconds int64, ok bool) {
	if s == "" || len(s) > maxTimestampDigits {
		return 0, false
	}
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		seconds = seconds*10 + int64(c-'0')
	}
	return seconds, true
}

// parseSignature reads 64 lower-case hex digits and nothing else. It isn't
// constant in time: what it reads comes from the caller and is no secret.
func parseSignature(dst *[sha256.Size]byte, s string) bool {
	if len(s) != hex.EncodedLen(len(dst)) {
		return false
	}
	for i := range dst {
		high, ok1 := lowerHexDigit(s[2*i])
		low, ok2 := lowerHexDigit(s[2*i+1])
		if !ok1 || !ok2 {
			return false
		}
		dst[i] = high<<4 | low
	}
	return true
}

func lowerHexDigit(c byte) (value byte, ok bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}
