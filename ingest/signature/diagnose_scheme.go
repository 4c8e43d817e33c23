package signature

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // recognises signatures that were made with it, and accepts none
	"crypto/sha256"
	"crypto/sha512"
	"hash"
)

// scheme is a way of making the signed text: before + timestamp + between +
// body, without the timestamp where it isn't signed.
type scheme struct {
	before, between    string
	untimed, bodyFirst bool
	weight             int
	words              string
}

// schemes are this sender's, then those of others.
func schemes() []scheme {
	return []scheme{
		{before: version, between: ":"},
		{untimed: true, weight: 1, words: "the body alone"},
		{between: ".", weight: 1, words: `timestamp + "." + body`},
		{between: ":", weight: 1, words: `timestamp + ":" + body, without "v0:"`},
		{before: "v0=", between: ":", weight: 1, words: `"v0=" + timestamp + ":" + body`},
		{before: "v0=", between: "=", weight: 1, words: `"v0=" + timestamp + "=" + body`},
		{weight: 1, words: "timestamp + body"},
		{before: "v1:", between: ":", weight: 1, words: `"v1:" + timestamp + ":" + body`},
		{before: "v0.", between: ".", weight: 1, words: `"v0." + timestamp + "." + body`},
		{before: "v0:", untimed: true, weight: 2, words: `"v0:" + body`},
		{before: version, weight: 2, words: `"v0:" + timestamp + body`},
		{bodyFirst: true, weight: 2, words: "body + timestamp"},
		{bodyFirst: true, between: ".", weight: 2, words: `body + "." + timestamp`},
		{between: "\n", weight: 2, words: "timestamp + a line break + body"},
	}
}

func (s *scheme) finding() []Finding {
	if s.words == "" {
		return nil
	}
	return []Finding{{CodeSignedText, "The signature was made for " + s.words + `. Customer.io signs "v0:" + timestamp + ":" + body.`}}
}

// write gives the hash the signed text.
func (s *scheme) write(h hash.Hash, stamp string, body []byte) {
	// hash.Hash says that Write never fails.
	switch {
	case s.untimed:
		h.Write([]byte(s.before))
		h.Write(body)
	case s.bodyFirst:
		h.Write(body)
		h.Write([]byte(s.between + stamp))
	default:
		h.Write([]byte(s.before + stamp + s.between))
		h.Write(body)
	}
}

// digestWay is a way of hashing with a key.
type digestWay struct {
	size     int
	weight   int
	keyed    func(secret string) hash.Hash
	findings []Finding
}

// digestWays are HMACs by the length of what came, then hashes of another kind.
func digestWays() []digestWay {
	mac := func(of func() hash.Hash) func(string) hash.Hash {
		return func(secret string) hash.Hash { return hmac.New(of, []byte(secret)) }
	}
	other := func(name string) []Finding {
		return []Finding{{CodeHash, "The signature is an HMAC with " + name + ". Customer.io's is made with SHA-256."}}
	}
	notHMAC := func(what string) []Finding {
		return []Finding{{CodeNotHMAC, "The signature is a plain SHA-256 of " + what + ". Make an HMAC-SHA256 with the key."}}
	}
	return []digestWay{
		{sha256.Size, 0, mac(sha256.New), nil},
		{sha1.Size, 0, mac(sha1.New), other("SHA-1")},
		{sha512.Size, 0, mac(sha512.New), other("SHA-512")},
		{sha512.Size384, 0, mac(sha512.New384), other("SHA-384")},
		{sha256.Size, 2, func(secret string) hash.Hash { return &seeded{sha256.New(), secret} }, notHMAC("the key and the signed text")},
		{sha256.Size, 2, func(string) hash.Hash { return sha256.New() }, notHMAC("the signed text, without any key")},
	}
}

// seeded is a hash that begins with a text, also after Reset.
type seeded struct {
	hash.Hash
	seed string
}

// Reset implements hash.Hash.
func (s *seeded) Reset() {
	s.Hash.Reset()
	s.Hash.Write([]byte(s.seed))
}
