package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// testKey is a signing key with an = inside, so that misreading it shows.
const testKey = "test=signing-key-0001"

// loadCase is one set of sources; the zero value is valid but for the missing signing key.
type loadCase struct {
	flags   map[string]string
	env     []string
	yaml    string            // content of sluice.yaml, named by SLUICE_CONFIG if not empty
	files   map[string]string // further files
	hostErr error
}

func (lc loadCase) sources() Sources {
	files := maps.Clone(lc.files)
	if files == nil {
		files = make(map[string]string)
	}
	env := slices.Clone(lc.env)
	if lc.yaml != "" {
		files["sluice.yaml"] = lc.yaml
		env = append(env, "SLUICE_CONFIG=sluice.yaml")
	}
	return Sources{
		Flags:   lc.flags,
		Environ: env,
		ReadFile: func(path string) ([]byte, error) {
			content, found := files[path]
			if !found {
				return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
			}
			return []byte(content), nil
		},
		Hostname: func() (string, error) { return "test-host", lc.hostErr },
	}
}

// load loads the case with a signing key added.
func load(t *testing.T, lc loadCase) (Config, Report) {
	t.Helper()
	lc.env = append(slices.Clone(lc.env), "SLUICE_SIGNING_KEYS=main="+testKey)
	var cfg Config
	report, err := Load(&cfg, lc.sources())
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return cfg, report
}

// problems loads the case as it is and returns what is wrong.
func problems(t *testing.T, lc loadCase) []string {
	t.Helper()
	var cfg Config
	_, err := Load(&cfg, lc.sources())
	if err == nil {
		return nil
	}
	var invalid *InvalidError
	if !errors.As(err, &invalid) {
		t.Fatalf("Load returned a %T: %v", err, err)
	}
	return invalid.Problems
}

func rowOf(t *testing.T, report Report, name string) Row {
	t.Helper()
	for _, row := range report.Rows {
		if row.Name() == name {
			return row
		}
	}
	t.Fatalf("no row for %s", name)
	return Row{}
}

func TestDefaults(t *testing.T) {
	cfg, report := load(t, loadCase{})
	want := Config{
		HTTP: HTTP{
			Listen: ":8080", AdminListen: "127.0.0.1:8081", ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 20 * time.Second,
			IdleTimeout: 90 * time.Second, ShutdownTimeout: 25 * time.Second,
		},
		Limits:    Limits{MaxBody: 8 << 20, MaxInFlight: 10000, MaxInFlightBytes: 256 << 20, RequestTimeout: 1500 * time.Millisecond},
		Signature: Signature{SigningKeys: cfg.SigningKeys},
		Kafka:     Kafka{KafkaBrokers: []string{"127.0.0.1:9092"}, KafkaClientID: "sluice"},
		Topics: Topics{
			Topic: "customerio_{event_type}", Key: "customer", DeadLetterTopic: "customerio_dead_letter", OverflowTopic: "customerio_other",
			MaxTopics: 200, Partitions: -1, Replication: -1, Retention: Retention(720 * time.Hour), CreateTopics: true,
		},
		Dedupe: Dedupe{
			RedisURL: cfg.RedisURL, RedisPrefix: "slu:", RedisTimeout: 150 * time.Millisecond, ClaimTimeout: 200 * time.Millisecond,
			DedupeTTL: 192 * time.Hour, DedupeID: "event_id", DedupeLease: time.Minute, DedupeWhenDown: "open", DedupeRepair: true, DedupeRepairRate: 5000, Instance: "test-host",
		},
		Spool: Spool{SpoolAfter: 500 * time.Millisecond, SpoolMaxBytes: 1 << 30},
		Log:   Log{LogLevel: "info"},
	}
	if !reflect.DeepEqual(cfg, want) {
		t.Errorf("got  %+v\nwant %+v", cfg, want)
	}
	if got := cfg.RedisURL.Reveal(); got != "redis://127.0.0.1:6379/0" {
		t.Errorf("redis_url: got %q", got)
	}
	if got := cfg.SigningKeys; len(got) != 1 || got[0].Name != "main" || got[0].Key.Reveal() != testKey {
		t.Errorf("signing_keys: got %v with key %q", got, got[0].Key.Reveal())
	}
	if got := cfg.EffectiveTolerance(); got != cfg.DedupeTTL {
		t.Errorf("EffectiveTolerance: got %s, want dedupe-ttl", got)
	}
	if cfg.SingleTopic() {
		t.Error("SingleTopic: got true with a placeholder in the topic")
	}
	if len(report.Warnings) > 0 {
		t.Errorf("warnings about the defaults: %q", report.Warnings)
	}
}

// samples has a value for every setting that differs from its default, is accepted beside all the others, and is
// written as the setting is printed.
func samples() map[string]string {
	return map[string]string{
		"listen": "127.0.0.1:18080", "admin_listen": ":18081", "read_header_timeout": "6s", "read_timeout": "30s",
		"idle_timeout": "100s", "shutdown_timeout": "5s", "shutdown_delay": "3s", "max_body": "1MiB", "max_in_flight": "20", "max_in_flight_bytes": "64MiB",
		"request_timeout": "2s", "signing_keys": "a=" + testKey, "insecure_no_signature": "true", "signature_tolerance": "190h",
		"kafka_brokers": "k1:9092,k2:9093", "kafka_client_id": "other", "kafka_tls": "true", "kafka_tls_ca": "/ca.pem",
		"kafka_tls_cert": "/cert.pem", "kafka_tls_key": "/key.pem", "kafka_tls_server_name": "kafka.example", "kafka_tls_insecure_skip_verify": "true",
		"kafka_sasl_mechanism": "scram-sha-512", "kafka_sasl_username": "user", "kafka_sasl_password": "kafka-password",
		"topic": "other_{event_type}", "key": "event_type", "dead_letter_topic": "dead", "overflow_topic": "rest", "max_topics": "17",
		"partitions": "6", "replication": "3", "retention": "unlimited", "create_topics": "false",
		"topic_overrides": "email_sent:partitions=12,retention=200h;push_sent:replication=2", "redis_url": "rediss://redis.example:6380/1",
		"redis_password": "redis-password", "redis_prefix": "x:", "redis_timeout": "100ms", "claim_timeout": "300ms", "dedupe_ttl": "200h",
		"dedupe_id": "delivery_id", "dedupe_lease": "30s", "dedupe_when_down": "closed", "dedupe_repair": "false", "dedupe_repair_rate": "70", "instance": "one", "spool_dir": "/var/lib/sluice", "spool_after": "700ms", "spool_max_bytes": "2GiB", "log_level": "debug", "log_format": "json",
	}
}

// TestEverySetting gives each setting through each source and expects it to arrive, with that origin.
func TestEverySetting(t *testing.T) {
	for _, f := range fieldsOf(&Config{}) {
		if f.Key == "" {
			continue
		}
		text, found := samples()[f.Key]
		if !found {
			t.Errorf("%s: no sample; add one", f.Key)
			continue
		}
		sources := map[Origin]loadCase{
			{SourceFlag, "--" + f.Flag}:          {flags: map[string]string{f.Flag: text}},
			{SourceEnv, f.Env}:                   {env: []string{f.Env + "=" + text}},
			{SourceFile, "sluice.yaml:" + f.Key}: {yaml: f.Key + ": " + fmt.Sprintf("%q", text) + "\n"},
		}
		if f.FileEnv != "" {
			sources[Origin{SourceEnv, f.FileEnv}] = loadCase{env: []string{f.FileEnv + "=/secret"}, files: map[string]string{"/secret": text + "\n"}}
		}
		for origin, lc := range sources {
			t.Run(origin.String(), func(t *testing.T) {
				var cfg Config
				// Other problems, such as a part of a pair alone, are of no interest here.
				report, _ := Load(&cfg, lc.sources())
				row := rowOf(t, report, f.Key)
				if row.Origin != origin {
					t.Errorf("origin: got %q, want %q", row.Origin, origin)
				}
				for _, loaded := range fieldsOf(&cfg) {
					if loaded.Key == f.Key && reveal(loaded) != text {
						t.Errorf("value: got %q, want %q", reveal(loaded), text)
					}
				}
			})
		}
	}
}

// reveal is formatValue without masks.
func reveal(f *field) string {
	switch value := f.pointer().(type) {
	case *Secret:
		return value.Reveal()
	case *URL:
		return value.Reveal()
	case *SigningKeys:
		var parts []string
		for _, key := range *value {
			parts = append(parts, key.Name+"="+key.Key.Reveal())
		}
		return strings.Join(parts, ",")
	default:
		return formatValue(f.value)
	}
}

// TestPrecedence gives a setting through two sources at a time, for every pair of them.
func TestPrecedence(t *testing.T) {
	const secretFile = Source("env _FILE")
	order := []Source{SourceFlag, SourceEnv, secretFile, SourceFile, SourceDefault}
	want := map[Source]string{
		SourceFlag: "redis://flag:1", SourceEnv: "redis://env:1", secretFile: "redis://env-file:1",
		SourceFile: "redis://file:1", SourceDefault: "redis://127.0.0.1:6379/0",
	}
	give := func(lc *loadCase, source Source) {
		switch source {
		case SourceFlag:
			lc.flags = map[string]string{"redis-url": want[source]}
		case SourceEnv:
			lc.env = append(lc.env, "SLUICE_REDIS_URL="+want[source])
		case secretFile:
			lc.env = append(lc.env, "SLUICE_REDIS_URL_FILE=/secret")
			lc.files = map[string]string{"/secret": want[source] + "\n"}
		case SourceFile:
			lc.yaml = "redis_url: " + want[source] + "\n"
		}
	}
	for i, higher := range order {
		for _, lower := range order[i+1:] {
			if higher == SourceEnv && lower == secretFile {
				continue // refused together: see TestProblems
			}
			t.Run(string(higher)+" over "+string(lower), func(t *testing.T) {
				var lc loadCase
				give(&lc, higher)
				give(&lc, lower)
				cfg, report := load(t, lc)
				if got := cfg.RedisURL.Reveal(); got != want[higher] {
					t.Errorf("got %s, want %s", got, want[higher])
				}
				origin := rowOf(t, report, "redis_url").Origin
				if source := Source(strings.TrimSuffix(string(higher), " _FILE")); origin.Source != source {
					t.Errorf("origin: got %s, want %s", origin, source)
				}
			})
		}
	}
}

func TestConfigFileChosen(t *testing.T) {
	files := map[string]string{"flag.yaml": "listen: ':1'\n", "env.yaml": "listen: ':2'\n"}
	tests := []struct {
		name, want string
		lc         loadCase
	}{
		{"flag over environment", ":1", loadCase{flags: map[string]string{"config": "flag.yaml"}, env: []string{"SLUICE_CONFIG=env.yaml"}, files: files}},
		{"environment", ":2", loadCase{env: []string{"SLUICE_CONFIG=env.yaml"}, files: files}},
		{"none", ":8080", loadCase{files: files}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if cfg, _ := load(t, test.lc); cfg.Listen != test.want {
				t.Errorf("listen: got %q, want %q", cfg.Listen, test.want)
			}
		})
	}
}

func TestEmptyVariableIsNotSet(t *testing.T) {
	cfg, report := load(t, loadCase{env: []string{"SLUICE_LISTEN=", "SLUICE_REDIS_PASSWORD=", "SLUICE_REDIS_PASSWORD_FILE=/p"}, files: map[string]string{"/p": "from file\r\n"}})
	if cfg.Listen != ":8080" || rowOf(t, report, "listen").Origin.Source != SourceDefault {
		t.Errorf("listen: got %q from %s", cfg.Listen, rowOf(t, report, "listen").Origin)
	}
	if got := cfg.RedisPassword.Reveal(); got != "from file" {
		t.Errorf("redis_password: got %q", got)
	}
}

// TestEmptyFlagIsSet: unlike a variable, a flag is there because somebody typed it.
func TestEmptyFlagIsSet(t *testing.T) {
	cfg, _ := load(t, loadCase{flags: map[string]string{"redis-password": ""}, yaml: "redis_password: x\n"})
	if cfg.RedisPassword.IsSet() {
		t.Error("the empty flag didn't replace the file's value")
	}
}
