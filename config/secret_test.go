package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.yaml.in/yaml/v3"
)

// TestSecretsNeverPrinted sends a whole configuration through everything that prints, and looks for its secrets.
func TestSecretsNeverPrinted(t *testing.T) {
	const hidden = "hunter2hunter2hunter2"
	cfg, report := load(t, loadCase{
		flags: map[string]string{"signing-keys": "prod=" + hidden},
		env: []string{
			"SLUICE_REDIS_URL=redis://user:" + hidden + "@redis:6379/0?sentinel_password=" + hidden, "SLUICE_KAFKA_SASL_PASSWORD=" + hidden,
			"SLUICE_KAFKA_SASL_USERNAME=u", "SLUICE_KAFKA_SASL_MECHANISM=plain",
		},
	})
	if cfg.KafkaSASLPassword.Reveal() != hidden || cfg.SigningKeys[0].Key.Reveal() != hidden || !strings.Contains(cfg.RedisURL.Reveal(), hidden) {
		t.Fatal("the secrets didn't arrive, so the test would show nothing")
	}
	unexported := struct {
		secret Secret
		url    URL
		keys   SigningKeys
	}{cfg.KafkaSASLPassword, cfg.RedisURL, cfg.SigningKeys}

	printed := make(map[string]string)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X", "%T", "%t", "%o", "%100v"} {
		for name, value := range map[string]any{
			"config": cfg, "pointer": &cfg, "secret": cfg.KafkaSASLPassword, "url": cfg.RedisURL, "keys": cfg.SigningKeys, "unexported": unexported, "report": report,
		} {
			printed[name+" with "+verb] = fmt.Sprintf(verb, value)
		}
	}
	for name, value := range map[string]any{"config": cfg, "keys": cfg.SigningKeys, "url": cfg.RedisURL, "report": report} {
		asJSON, err := json.Marshal(value)
		if err != nil {
			t.Fatalf("JSON of %s: %v", name, err)
		}
		asYAML, err := yaml.Marshal(value)
		if err != nil {
			t.Fatalf("YAML of %s: %v", name, err)
		}
		printed[name+" as JSON"], printed[name+" as YAML"] = string(asJSON), string(asYAML)
	}
	var logged bytes.Buffer
	for _, encoder := range []zapcore.Encoder{zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig())} {
		log := zap.New(zapcore.NewCore(encoder, zapcore.AddSync(&logged), zap.DebugLevel))
		log.Info("zap", zap.Any("config", cfg), zap.Reflect("pointer", &cfg), zap.Any("url", cfg.RedisURL), zap.Stringer("keys", cfg.SigningKeys), zap.Any("secret", cfg.KafkaSASLPassword))
	}
	slog.New(slog.NewTextHandler(&logged, nil)).Info("slog", "config", cfg, "secret", cfg.KafkaSASLPassword, "url", cfg.RedisURL)
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("slog", "config", cfg, "secret", cfg.KafkaSASLPassword, "url", cfg.RedisURL)
	printed["logs"] = logged.String()

	for name, text := range printed {
		for _, form := range []string{hidden, fmt.Sprintf("%x", hidden), fmt.Sprintf("%X", hidden)} {
			if strings.Contains(text, form) {
				t.Errorf("%s shows a secret: %s", name, text)
			}
		}
	}
}

func TestSecretPrints(t *testing.T) {
	set, url := NewSecret("x"), URL{text: NewSecret("redis://u:p@h")}
	tests := []struct{ got, want string }{
		{fmt.Sprint(set), "****"},
		{fmt.Sprint(Secret{}), ""},
		{fmt.Sprintf("%q", set), `"****"`},
		{fmt.Sprintf("%#v", set), `config.Secret("****")`},
		{fmt.Sprintf("%d", set), "****"},
		{fmt.Sprint(url), "redis://u:****@h"},
		{fmt.Sprintf("%#v", url), `config.URL("redis://u:****@h")`},
		{fmt.Sprint(SigningKeys{{Name: "a", Key: set}, {Name: "b", Key: set}}), "a=****,b=****"},
	}
	for _, test := range tests {
		if test.got != test.want {
			t.Errorf("got %q, want %q", test.got, test.want)
		}
	}
	if set.Reveal() != "x" || !set.IsSet() || (Secret{}).IsSet() || NewSecret("").IsSet() {
		t.Error("Reveal or IsSet is wrong")
	}
}

// TestSyntaxErrorHidesValues: YAML takes an unquoted * for an alias and repeats what follows.
func TestSyntaxErrorHidesValues(t *testing.T) {
	got := problems(t, signedFile("redis_password: *hunter2\n"))
	if len(got) != 1 || !strings.HasPrefix(got[0], "sluice.yaml: ") || strings.Contains(got[0], "hunter2") {
		t.Errorf("got %q", got)
	}
}
