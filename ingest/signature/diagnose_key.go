package signature

import (
	"encoding/hex"
	"strings"
)

// keyVariant is what a sender may have taken for a key.
type keyVariant struct {
	name     string // of the configured key
	secret   string
	weight   int
	findings []Finding
}

// keyVariants are the keys as they are, then what they may have been made of
// on either side.
func keyVariants(keys []Key) []keyVariant {
	var all []keyVariant
	for _, k := range keys {
		all = append(all, keyVariant{name: k.Name, secret: k.Secret})
	}
	for _, k := range keys {
		all = append(all, misreadKey(k)...)
	}
	if len(keys) > 0 {
		pairs := make([]string, len(keys))
		for i, k := range keys {
			pairs[i] = k.Name + "=" + k.Secret
		}
		all = append(all, keyVariant{
			keys[0].Name, strings.Join(pairs, ","), 2,
			[]Finding{{CodeKeyWithName, "The signature was made with the whole setting (NAME=KEY,NAME=KEY) as the key. Sign with one KEY alone."}},
		})
	}
	return all
}

func misreadKey(k Key) []keyVariant {
	var all []keyVariant
	seen := map[string]bool{k.Secret: true, "": true}
	add := func(secret string, weight int, code Code, text string) {
		if !seen[secret] {
			seen[secret] = true
			all = append(all, keyVariant{k.Name, secret, weight, []Finding{{code, "Key " + k.Name + ": " + text}}})
		}
	}
	const (
		spacedHere  = "the configured key has white space around it that the sender's hasn't. Remove it."
		spacedThere = "the signature was made with white space or a line break around the key, as when it is read from a file. Trim it at the sender's."
		quotedHere  = "the configured key stands in quotes that the sender's doesn't have. Remove them."
		quotedThere = "the signature was made with the key in quotes. Remove them at the sender's."
	)
	bare, spaces, _ := unwrap(k.Secret)
	add(strings.TrimSpace(k.Secret), 1, CodeKeySpaces, spacedHere)
	if spaces {
		add(bare, 1, CodeKeySpaces, spacedHere)
	} else {
		add(bare, 1, CodeKeyQuoted, quotedHere)
	}
	for _, around := range [][2]string{{"", "\n"}, {"", "\r\n"}, {"", " "}, {" ", ""}, {"", "\r"}} {
		add(around[0]+k.Secret+around[1], 1, CodeKeySpaces, spacedThere)
	}
	for _, quote := range []string{`"`, "'"} {
		add(quote+k.Secret+quote, 1, CodeKeyQuoted, quotedThere)
	}
	if raw, err := hex.DecodeString(k.Secret); err == nil {
		add(string(raw), 1, CodeKeyHex, "the signature was made with the bytes that the key's hex digits stand for. Sign with the digits themselves, as text.")
	}
	if raw, ok := fromBase64(k.Secret); ok {
		add(string(raw), 1, CodeKeyBase64, "the signature was made with the bytes that the key is the base64 of. Sign with the key itself, as text.")
	}
	add(k.Name+"="+k.Secret, 1, CodeKeyWithName, "the signature was made with NAME=KEY as the key. Sign with KEY alone.")
	if _, after, found := strings.Cut(k.Secret, "="); found {
		add(after, 1, CodeKeyWithName, "the configured key has a name and '=' at its beginning that don't belong to it. Remove them.")
	}
	add(k.Name+":"+k.Secret, 2, CodeKeyWithName, "the signature was made with NAME:KEY as the key. Sign with KEY alone.")
	add(k.Name, 2, CodeKeyWithName, "the signature was made with the key's name in place of the key.")
	add(hex.EncodeToString([]byte(k.Secret)), 2, CodeKeyHex, "the signature was made with the key written in hex. Sign with the key itself, as text.")
	add(strings.ToLower(k.Secret), 2, CodeKeyCase, "the signature was made with the key in lower case. Copy it as it is shown.")
	add(strings.ToUpper(k.Secret), 2, CodeKeyCase, "the signature was made with the key in upper case. Copy it as it is shown.")
	return all
}
