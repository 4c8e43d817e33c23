package main

import (
	"fmt"
	"strings"

	"sluice/config"
)

// signingKey finds the key to sign with: the one of that name, or the first. No key and no error mean that nothing is to
// be signed.
func signingKey(c *config.Config, named string) (name, secret string, err error) {
	if len(c.SigningKeys) == 0 {
		if c.InsecureNoSignature && named == "" {
			return "", "", nil
		}
		return "", "", &config.InvalidError{Problems: []string{
			"no signing key: set SLUICE_SIGNING_KEYS (or SLUICE_SIGNING_KEYS_FILE) as for the receiver, or, if it takes unsigned requests, SLUICE_INSECURE_NO_SIGNATURE=true",
		}}
	}
	names := make([]string, len(c.SigningKeys))
	for i, k := range c.SigningKeys {
		if names[i] = k.Name; named == "" || named == k.Name {
			return k.Name, k.Key.Reveal(), nil
		}
	}
	return "", "", &config.InvalidError{Problems: []string{
		fmt.Sprintf("--sign-with=%s: there is no signing key of that name, but %s", named, strings.Join(names, ", ")),
	}}
}
