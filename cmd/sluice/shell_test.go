package main

import "testing"

func TestCommandLineHidesSecrets(t *testing.T) {
	got := commandLine([]string{
		"replay", "--to-http", "https://me:secret@example.com/hook?a=b", "--redis-url=redis://:secret@127.0.0.1/0", "--signing-keys", "main=secret",
		"--kafka-sasl-password=secret", "--jq", "select(.a == 1)", "--to-http=http://example.com/",
	})
	want := `sluice replay --to-http 'https://me:xxxxx@example.com/hook?a=b' '--redis-url=redis://:xxxxx@127.0.0.1/0' ` +
		`--signing-keys ... '--kafka-sasl-password=...' --jq 'select(.a == 1)' '--to-http=http://example.com/'`
	if got != want {
		t.Errorf("%s", got)
	}
}
