package config

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// signed adds a signing key to the environment.
func signed(env ...string) loadCase {
	return loadCase{env: append(env, "SLUICE_SIGNING_KEYS="+testKey)}
}

func signedFile(yaml string) loadCase {
	return loadCase{env: []string{"SLUICE_SIGNING_KEYS=" + testKey}, yaml: yaml}
}

func TestProblems(t *testing.T) {
	tests := []struct {
		name string
		lc   loadCase
		want []string // nil: the configuration is accepted
	}{
		{"no key", loadCase{}, []string{"no signing key: set SLUICE_SIGNING_KEYS (or SLUICE_SIGNING_KEYS_FILE) to the webhook signing key that Customer.io shows, or, to accept every request unsigned, SLUICE_INSECURE_NO_SIGNATURE=true"}},
		{"insecure", loadCase{env: []string{"SLUICE_INSECURE_NO_SIGNATURE=true"}}, nil},
		{"key and insecure", signed("SLUICE_INSECURE_NO_SIGNATURE=1"), []string{`SLUICE_INSECURE_NO_SIGNATURE="1": SLUICE_SIGNING_KEYS is set as well: remove it to accept every request unsigned, or remove this to check signatures`}},
		{"key misread", loadCase{env: []string{"SLUICE_SIGNING_KEYS=good=0123456789abcdef,se cret=hidden"}}, []string{"SLUICE_SIGNING_KEYS=****: entry 2: what stands before '=' isn't a name (1 to 40 of A-Z a-z 0-9 . _ -); if the '=' belongs to the key, write NAME=KEY"}},

		{"duration in the environment", signed("SLUICE_RETENTION=30 days"), []string{`SLUICE_RETENTION="30 days": want a duration such as 720h or 30d, or unlimited`}},
		{"duration flag", loadCase{env: signed().env, flags: map[string]string{"dedupe-ttl": "8 days"}}, []string{`--dedupe-ttl="8 days": want a duration such as 720h or 30d`}},
		{"duration in the file", signedFile("# comment\nread_timeout: soon\n"), []string{`sluice.yaml:2: read_timeout="soon": want a duration such as 720h or 30d`}},
		{"retention too short", signed("SLUICE_RETENTION=30s"), []string{`SLUICE_RETENTION="30s": want at least 60s, or unlimited`}},
		{"size", signed("SLUICE_MAX_BODY=8MB"), []string{`SLUICE_MAX_BODY="8MB": ` + errSize.Error()}},
		{"bool", signed("SLUICE_CREATE_TOPICS=si"), []string{`SLUICE_CREATE_TOPICS="si": want true or false`}},
		{"number", signed("SLUICE_MAX_TOPICS=many"), []string{`SLUICE_MAX_TOPICS="many": want a whole number`}},
		{"word", signed("SLUICE_LOG_LEVEL=loud"), []string{`SLUICE_LOG_LEVEL="loud": want debug, info, warn or error`}},
		{"word that may be empty", signed("SLUICE_LOG_FORMAT=xml"), []string{`SLUICE_LOG_FORMAT="xml": want json, console or nothing`}},
		{"word in capitals", signed("SLUICE_LOG_LEVEL=INFO"), nil},

		{"over the bounds", signed("SLUICE_REQUEST_TIMEOUT=5s"), []string{`SLUICE_REQUEST_TIMEOUT="5s": want between 200ms and 3.5s: the sender waits 4s, and reading the body comes on top`}},
		{"under the bounds", signed("SLUICE_IDLE_TIMEOUT=30s"), []string{`SLUICE_IDLE_TIMEOUT="30s": want at least 75s: proxies in front keep idle connections for about 60s, and one that Sluice closes first loses the request just sent on it`}},
		{"at the bounds", signed("SLUICE_IDLE_TIMEOUT=75s", "SLUICE_REQUEST_TIMEOUT=3500ms", "SLUICE_MAX_BODY=1KiB"), nil},

		{"unknown variable", signed("SLUICE_LISTN=:1"), []string{"SLUICE_LISTN: no such setting; did you mean SLUICE_LISTEN?"}},
		{"unknown variable, a word missing", signed("SLUICE_BROKERS=k:1"), []string{"SLUICE_BROKERS: no such setting; did you mean SLUICE_KAFKA_BROKERS?"}},
		{"unknown variable, like nothing", signed("SLUICE_XYZZY_PLUGH=1"), []string{"SLUICE_XYZZY_PLUGH: no such setting; sluice config lists them all"}},
		{"unknown and empty", signed("SLUICE_LISTN="), []string{"SLUICE_LISTN: no such setting; did you mean SLUICE_LISTEN?"}},
		{"unknown _FILE", signed("SLUICE_SIGNING_KEY_FILE=/x"), []string{"SLUICE_SIGNING_KEY_FILE: no such setting; did you mean SLUICE_SIGNING_KEYS_FILE?"}},
		{"_FILE of no secret", signed("SLUICE_LISTEN_FILE=/x"), []string{"SLUICE_LISTEN_FILE: only settings that hold secrets can be read from a file of their own; set SLUICE_LISTEN"}},
		{"foreign variables", signed("SLUICEGATE=1", "sluice_listn=1", "KAFKA_BROKERS=x", "HOME"), nil},
		{"variables of Kubernetes", signed(
			"SLUICE_SERVICE_HOST=10.0.0.1", "SLUICE_SERVICE_PORT=80", "SLUICE_SERVICE_PORT_HTTP=80", "SLUICE_PORT=tcp://10.0.0.1:80",
			"SLUICE_PORT_80_TCP=tcp://10.0.0.1:80", "SLUICE_PORT_80_TCP_PROTO=tcp", "SLUICE_PORT_80_TCP_PORT=80", "SLUICE_PORT_80_TCP_ADDR=10.0.0.1",
			"SLUICE_REDIS_SERVICE_HOST=10.0.0.2", "SLUICE_REDIS_PORT=tcp://10.0.0.2:6379", "SLUICE_REDIS_PORT_6379_TCP_ADDR=10.0.0.2",
		), nil},
		{"a port that isn't Kubernetes'", signed("SLUICE_REDIS_PORT=6379"), []string{"SLUICE_REDIS_PORT: no such setting; did you mean SLUICE_REDIS_URL?"}},

		{"both ways", loadCase{env: []string{"SLUICE_SIGNING_KEYS=" + testKey, "SLUICE_SIGNING_KEYS_FILE=/keys"}}, []string{"SLUICE_SIGNING_KEYS=****: SLUICE_SIGNING_KEYS_FILE is set as well; set only one of the two"}},
		{"both ways and a flag", loadCase{flags: map[string]string{"signing-keys": testKey}, env: []string{"SLUICE_SIGNING_KEYS=" + testKey, "SLUICE_SIGNING_KEYS_FILE=/keys"}}, []string{"SLUICE_SIGNING_KEYS=****: SLUICE_SIGNING_KEYS_FILE is set as well; set only one of the two"}},
		{"secret's file missing", loadCase{env: []string{"SLUICE_SIGNING_KEYS_FILE=/keys"}}, []string{`SLUICE_SIGNING_KEYS_FILE="/keys": open /keys: file does not exist`}},
		{"secret's file empty", loadCase{env: []string{"SLUICE_SIGNING_KEYS_FILE=/keys"}, files: map[string]string{"/keys": "\n"}}, []string{`SLUICE_SIGNING_KEYS_FILE="/keys": the file is empty`}},
		{"secret's file not needed", loadCase{flags: map[string]string{"signing-keys": testKey}, env: []string{"SLUICE_SIGNING_KEYS_FILE=/keys"}}, nil},
		{"bad content of a secret's file", loadCase{env: []string{"SLUICE_SIGNING_KEYS_FILE=/keys"}, files: map[string]string{"/keys": "a=x1\nb=\n"}}, []string{`SLUICE_SIGNING_KEYS_FILE="/keys": entry 2: no key follows the name`}},

		{"file missing", loadCase{env: append(signed().env, "SLUICE_CONFIG=/none.yaml")}, []string{`SLUICE_CONFIG="/none.yaml": open /none.yaml: file does not exist`}},
		{"unknown key", signedFile("listen: ':1'\n\nkafka_broker: k:1\n"), []string{"sluice.yaml:3: kafka_broker: no such setting; did you mean kafka_brokers?"}},
		{"key with dashes", signedFile("max-body: 1MiB\n"), []string{"sluice.yaml:1: max-body: no such setting; did you mean max_body?"}},
		{"key as variable", signedFile("SLUICE_LISTEN: ':1'\n"), []string{"sluice.yaml:1: SLUICE_LISTEN: no such setting; did you mean listen?"}},
		{"key like nothing", signedFile("xyzzy_plugh: 1\n"), []string{"sluice.yaml:1: xyzzy_plugh: no such setting; sluice config lists them all"}},
		{"file names a file", signedFile("config: other.yaml\n"), []string{"sluice.yaml:1: config: a file can't name another; use --config or SLUICE_CONFIG"}},
		{"key twice", signedFile("listen: ':1'\nlisten: ':2'\n"), []string{"sluice.yaml:2: listen stands there again, after line 1"}},
		{"key without value", signedFile("listen:\n"), []string{`sluice.yaml:1: listen="": no value follows; remove the line, or write "" for an empty text`}},
		{"list for a single value", signedFile("listen: [a, b]\n"), []string{`sluice.yaml:1: listen="": want a single value, not a list`}},
		{"mapping for a single value", signedFile("kafka_brokers: {a: b}\n"), []string{`sluice.yaml:1: kafka_brokers="": want a single value, not a mapping`}},
		{"comma in a list", signedFile("kafka_brokers:\n  - a:1\n  - b:1,c:1\n"), []string{`sluice.yaml:1: kafka_brokers="": want a list of single values without commas in them; line 3 isn't one`}},
		{"not a mapping", signedFile("- listen\n"), []string{"sluice.yaml:1: want lines of the form key: value"}},
		{"two documents", signedFile("listen: ':1'\n---\nlisten: ':2'\n"), []string{"sluice.yaml:2: a second document begins; want only one"}},
		{"only comments", signedFile("# nothing yet\n"), nil},
		{"only a document's start", signedFile("---\n"), nil},
		{"lists and mappings where they belong", signedFile("kafka_brokers: [a:1, b:2]\ntopic_overrides: {email_sent: {partitions: 3, retention: 9d}}\n"), nil},
		{"bad override in a mapping", signedFile("topic_overrides: {email_sent: {partition: 3}}\n"), []string{`sluice.yaml:1: topic_overrides="email_sent:partition=3": email_sent: "partition=3": want partitions=, replication= or retention=`}},
		{"override without mapping", signedFile("topic_overrides: {email_sent: 3}\n"), []string{`sluice.yaml:1: topic_overrides="": want a mapping under email_sent, such as {partitions: 12, retention: 168h}`}},

		{"address", signed("SLUICE_LISTEN=8080"), []string{`SLUICE_LISTEN="8080": want HOST:PORT, such as 127.0.0.1:8080 or :8080`}},
		{"address, port too high", signed("SLUICE_ADMIN_LISTEN=:65536"), []string{`SLUICE_ADMIN_LISTEN=":65536": want HOST:PORT, such as 127.0.0.1:8080 or :8080`}},
		{"one address for both", signed("SLUICE_ADMIN_LISTEN=:8080"), []string{`SLUICE_ADMIN_LISTEN=":8080": want another address than that of SLUICE_LISTEN`}},
		{"any port for both", signed("SLUICE_LISTEN=127.0.0.1:0", "SLUICE_ADMIN_LISTEN=127.0.0.1:0"), nil},
		{"read timeout under the header's", signed("SLUICE_READ_TIMEOUT=1s"), []string{`SLUICE_READ_TIMEOUT="1s": want at least SLUICE_READ_HEADER_TIMEOUT, which is 5s`}},
		{"bytes in flight under a body's", signed("SLUICE_MAX_IN_FLIGHT_BYTES=1M"), []string{`SLUICE_MAX_IN_FLIGHT_BYTES="1M": want at least SLUICE_MAX_BODY, which is 8MiB: a body of that size would never be let in`}},
		{"claim takes all", signed("SLUICE_CLAIM_TIMEOUT=1500ms"), []string{`SLUICE_CLAIM_TIMEOUT="1500ms": want less than SLUICE_REQUEST_TIMEOUT, which is 1.5s: nothing would be left to publish in`}},
		{"ttl under the lease", signed("SLUICE_DEDUPE_TTL=1m"), []string{`SLUICE_DEDUPE_TTL="1m": want more than SLUICE_DEDUPE_LEASE, which is 60s`}},

		{"brokers", signed("SLUICE_KAFKA_BROKERS=kafka-1:9092,kafka-2"), []string{`SLUICE_KAFKA_BROKERS="kafka-1:9092,kafka-2": want HOST:PORT, or several separated by commas, such as kafka-1:9092,kafka-2:9092`}},
		{"no broker", signed("SLUICE_KAFKA_BROKERS=,"), []string{`SLUICE_KAFKA_BROKERS=",": want HOST:PORT, or several separated by commas, such as kafka-1:9092,kafka-2:9092`}},
		{"brokers by address", signed("SLUICE_KAFKA_BROKERS=10.0.0.1:9092, [::1]:9092"), nil},
		{"client id", signed("SLUICE_KAFKA_CLIENT_ID=a b"), []string{`SLUICE_KAFKA_CLIENT_ID="a b": want 1 to 128 of A-Z a-z 0-9 . _ -`}},
		{"TLS details without TLS", signed("SLUICE_KAFKA_TLS_CA=/ca", "SLUICE_KAFKA_TLS_INSECURE_SKIP_VERIFY=true"), []string{
			`SLUICE_KAFKA_TLS_CA="/ca": has no effect without SLUICE_KAFKA_TLS=true`,
			`SLUICE_KAFKA_TLS_INSECURE_SKIP_VERIFY="true": has no effect without SLUICE_KAFKA_TLS=true`,
		}},
		{"certificate without key", signed("SLUICE_KAFKA_TLS=true", "SLUICE_KAFKA_TLS_CERT=/c"), []string{`SLUICE_KAFKA_TLS_CERT="/c": want SLUICE_KAFKA_TLS_KEY as well`}},
		{"key without certificate", signed("SLUICE_KAFKA_TLS=true", "SLUICE_KAFKA_TLS_KEY=/k"), []string{`SLUICE_KAFKA_TLS_KEY="/k": want SLUICE_KAFKA_TLS_CERT as well`}},
		{"login without mechanism", signed("SLUICE_KAFKA_SASL_USERNAME=u", "SLUICE_KAFKA_SASL_PASSWORD=pass"), []string{
			`SLUICE_KAFKA_SASL_USERNAME="u": has no effect without SLUICE_KAFKA_SASL_MECHANISM`,
			`SLUICE_KAFKA_SASL_PASSWORD=****: has no effect without SLUICE_KAFKA_SASL_MECHANISM`,
		}},
		{"mechanism without login", signed("SLUICE_KAFKA_SASL_MECHANISM=SCRAM-SHA-256"), []string{`SLUICE_KAFKA_SASL_MECHANISM="SCRAM-SHA-256": want SLUICE_KAFKA_SASL_USERNAME and SLUICE_KAFKA_SASL_PASSWORD as well`}},
		{"mechanism unknown", signed("SLUICE_KAFKA_SASL_MECHANISM=gssapi"), []string{`SLUICE_KAFKA_SASL_MECHANISM="gssapi": want plain, scram-sha-256, scram-sha-512 or nothing`}},

		{"topic without placeholder", signed("SLUICE_TOPIC=customerio", "SLUICE_KEY=event_type"), nil},
		{"topic with another placeholder", signed("SLUICE_TOPIC=x_{type}"), []string{`SLUICE_TOPIC="x_{type}": want no placeholder but {event_type}`}},
		{"topic with illegal characters", signed("SLUICE_TOPIC=x/{event_type}"), []string{`SLUICE_TOPIC="x/{event_type}": want a topic name: 1 to 249 of A-Z a-z 0-9 . _ -, and in it {event_type} where the event type belongs`}},
		{"topic of dots", signed("SLUICE_TOPIC=.."), []string{`SLUICE_TOPIC="..": want a topic name: 1 to 249 of A-Z a-z 0-9 . _ -, and in it {event_type} where the event type belongs`}},
		{"topic as long as may be", signed("SLUICE_TOPIC=" + strings.Repeat("p", 129) + "{event_type}"), nil},
		{"topic too long", signed("SLUICE_TOPIC=" + strings.Repeat("p", 130) + "{event_type}"), []string{`SLUICE_TOPIC="` + strings.Repeat("p", 130) + `{event_type}": want it shorter: with an event type of 120 characters the name would have 250, and Kafka allows 249`}},
		{"dead letters", signed("SLUICE_DEAD_LETTER_TOPIC=a b"), []string{`SLUICE_DEAD_LETTER_TOPIC="a b": want a topic name: 1 to 249 of A-Z a-z 0-9 . _ -`}},
		{"dead letters to the overflow", signed("SLUICE_OVERFLOW_TOPIC=customerio_dead_letter"), []string{`SLUICE_OVERFLOW_TOPIC="customerio_dead_letter": want another topic than that of SLUICE_DEAD_LETTER_TOPIC`}},
		{"dead letters to the single topic", signed("SLUICE_TOPIC=one", "SLUICE_DEAD_LETTER_TOPIC=one"), []string{`SLUICE_DEAD_LETTER_TOPIC="one": want another topic than that of SLUICE_TOPIC`}},
		{"partitions", signed("SLUICE_PARTITIONS=0"), []string{`SLUICE_PARTITIONS="0": want a whole number from 1, or -1 for the broker's default`}},
		{"replication", signed("SLUICE_REPLICATION=40000"), []string{`SLUICE_REPLICATION="40000": want a whole number from 1, or -1 for the broker's default`}},

		{"redis scheme", signed("SLUICE_REDIS_URL=http://user:hidden@redis/"), []string{"SLUICE_REDIS_URL=\"http://user:****@redis/\": want a URL such as redis://user:password@host:6379/0, with one of the schemes redis, rediss, unix, redis+cluster, rediss+cluster, redis+sentinel, rediss+sentinel"}},
		{"redis cluster with several hosts", signed("SLUICE_REDIS_URL=redis+cluster://user:p@a:1,b:2,c:3"), nil},
		{"two redis passwords", signed("SLUICE_REDIS_URL=redis://:p@a:1", "SLUICE_REDIS_PASSWORD=q"), []string{"SLUICE_REDIS_PASSWORD=****: SLUICE_REDIS_URL has a password in it as well; give only one of the two"}},
		{"redis user in the URL, password beside it", signed("SLUICE_REDIS_URL=redis://user@a:1", "SLUICE_REDIS_PASSWORD=q"), nil},
		{"redis prefix", signed("SLUICE_REDIS_PREFIX={a}"), []string{`SLUICE_REDIS_PREFIX="{a}": want 1 to 32 printable ASCII characters without spaces and braces, such as slu:`}},
		{"instance", signed("SLUICE_INSTANCE=a/b"), []string{`SLUICE_INSTANCE="a/b": want 1 to 64 of A-Z a-z 0-9 . _ -`}},
		{"long instance", signed("SLUICE_INSTANCE=" + strings.Repeat("a", 65)), []string{`SLUICE_INSTANCE="` + strings.Repeat("a", 65) + `": want 1 to 64 of A-Z a-z 0-9 . _ -`}},
		{"instance unknown", loadCase{env: signed().env, hostErr: errors.New("no host")}, []string{`SLUICE_INSTANCE="" (the default): finding the host's name: no host; set SLUICE_INSTANCE`}},
		{"instance given, host unknown", loadCase{env: signed("SLUICE_INSTANCE=i").env, hostErr: errors.New("no host")}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := problems(t, test.lc); !slices.Equal(got, test.want) {
				t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(test.want, "\n  "))
			}
		})
	}
}

// TestAllProblemsAtOnce has one of each kind, from every source.
func TestAllProblemsAtOnce(t *testing.T) {
	lc := loadCase{
		flags: map[string]string{"request-timeout": "5s"},
		env:   []string{"SLUICE_LISTN=:1", "SLUICE_RETENTION=30 days", "SLUICE_SIGNING_KEYS_FILE=/none"},
		yaml:  "max_bdy: 1\nmax_in_flight: lots\npartitions: 0\n",
	}
	want := []string{
		"SLUICE_LISTN: ", "sluice.yaml:1: max_bdy: ", `sluice.yaml:2: max_in_flight="lots": `, `--request-timeout="5s": `,
		`SLUICE_SIGNING_KEYS_FILE="/none": `, `SLUICE_RETENTION="30 days": `, `sluice.yaml:3: partitions="0": `,
	}
	got := problems(t, lc)
	if len(got) != len(want) {
		t.Fatalf("got %d problems, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("problem %d: got %q, want it to begin with %q", i, got[i], want[i])
		}
	}
}

// TestReportOfInvalid: what could be loaded is reported beside what could not.
func TestReportOfInvalid(t *testing.T) {
	var cfg Config
	report, err := Load(&cfg, signed("SLUICE_LISTEN=:1", "SLUICE_RETENTION=30 days", "SLUICE_REDIS_PASSWORD=hidden", "SLUICE_REDIS_PASSWORD_FILE=/x").sources())
	if err == nil {
		t.Fatal("Load accepted it")
	}
	for name, want := range map[string]Row{
		"listen":         {Value: ":1"},
		"retention":      {Value: "30 days", Refused: true},
		"redis_password": {Value: mask, Refused: true, Masked: true},
		"signing_keys":   {Value: "test=****", Masked: true},
		"max_body":       {Value: "8MiB"},
	} {
		if row := rowOf(t, report, name); row.Value != want.Value || row.Refused != want.Refused || row.Masked != want.Masked {
			t.Errorf("%s: got %q, refused %t, masked %t; want %+v", name, row.Value, row.Refused, row.Masked, want)
		}
	}
}

func TestInvalidErrorText(t *testing.T) {
	one := &InvalidError{Problems: []string{"a: b"}}
	two := &InvalidError{Problems: []string{"a: b", "c: d"}}
	if got, want := one.Error(), "invalid configuration: a: b"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := two.Error(), "invalid configuration, 2 problems:\n  - a: b\n  - c: d"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWarnings(t *testing.T) {
	tests := []struct {
		name string
		lc   loadCase
		want string // "" for none; how the only warning begins otherwise
	}{
		{"none", signed(), ""},
		{"insecure", loadCase{env: []string{"SLUICE_INSECURE_NO_SIGNATURE=true"}}, "SLUICE_INSECURE_NO_SIGNATURE is on: whoever reaches :8080 "},
		{"insecure switched off", signed("SLUICE_INSECURE_NO_SIGNATURE=false"), ""},
		{"short key", loadCase{env: []string{"SLUICE_SIGNING_KEYS=prod=tooshort"}}, "SLUICE_SIGNING_KEYS: key prod is shorter than 16 characters"},
		{"tolerance over ttl", signed("SLUICE_SIGNATURE_TOLERANCE=193h"), "SLUICE_SIGNATURE_TOLERANCE is longer than SLUICE_DEDUPE_TTL"},
		{"tolerance under the retries", signed("SLUICE_SIGNATURE_TOLERANCE=5m"), "SLUICE_SIGNATURE_TOLERANCE is shorter than the 168h for which the sender retries"},
		{"tolerance as ttl", signed("SLUICE_SIGNATURE_TOLERANCE=192h"), ""},
		{"ttl as the retries", signed("SLUICE_DEDUPE_TTL=7d"), "SLUICE_DEDUPE_TTL is not above the 168h"},
		{"ttl above the retries", signed("SLUICE_DEDUPE_TTL=169h"), ""},
		{"retention under ttl", signed("SLUICE_RETENTION=191h"), "SLUICE_RETENTION (191h) is shorter than SLUICE_DEDUPE_TTL (192h)"},
		{"retention as ttl", signed("SLUICE_RETENTION=8d"), ""},
		{"retention for ever", signed("SLUICE_RETENTION=unlimited"), ""},
		{"retention of one type", signedFile("topic_overrides: push_sent:retention=48h;email_sent:retention=unlimited;sms_sent:partitions=3"), "topic_overrides: the retention of push_sent (48h) is shorter than SLUICE_DEDUPE_TTL (192h)"},
		{"overrides of a single topic", signed("SLUICE_TOPIC=one", "SLUICE_TOPIC_OVERRIDES=email_sent:partitions=3"), "SLUICE_TOPIC_OVERRIDES has no effect"},
		{"dot beside underscore", signed("SLUICE_TOPIC=customerio.{event_type}"), "SLUICE_TOPIC=customerio.{event_type}: names with both . and _"},
		{"dots alone", signed("SLUICE_OVERFLOW_TOPIC=customerio.other"), ""},
		{"certificates not checked", signed("SLUICE_KAFKA_TLS=true", "SLUICE_KAFKA_TLS_INSECURE_SKIP_VERIFY=true"), "SLUICE_KAFKA_TLS_INSECURE_SKIP_VERIFY is on"},
		{"password in the clear", signed("SLUICE_KAFKA_SASL_MECHANISM=plain", "SLUICE_KAFKA_SASL_USERNAME=u", "SLUICE_KAFKA_SASL_PASSWORD=p"), "SLUICE_KAFKA_SASL_MECHANISM=plain without TLS"},
		{"password over TLS", signed("SLUICE_KAFKA_TLS=true", "SLUICE_KAFKA_SASL_MECHANISM=plain", "SLUICE_KAFKA_SASL_USERNAME=u", "SLUICE_KAFKA_SASL_PASSWORD=p"), ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var cfg Config
			report, err := Load(&cfg, test.lc.sources())
			if err != nil {
				t.Fatalf("Load: %v", err)
			}
			switch got := report.Warnings; {
			case test.want == "" && len(got) > 0:
				t.Errorf("got %q, want none", got)
			case test.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], test.want)):
				t.Errorf("got %q, want only one that begins with %q", got, test.want)
			}
		})
	}
}
