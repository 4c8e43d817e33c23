package config

import (
	"bytes"
	"maps"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// program is a command line as cmd has it: two commands with all settings, and a flag that isn't a setting.
type program struct {
	Serve struct {
		Config
		Own string `default:"own" env:"SLUICE_TEST_OWN" help:"Not a setting."`
	} `cmd:"" help:"Serve."`
	Show struct {
		Config
	} `cmd:"" help:"Show."`
	Tail struct {
		Config `groups:"Kafka,Topics"`
		Since  string `help:"Not a setting."`
	} `cmd:"" help:"Tail."`
	Send struct {
		Topic string `default:"own" help:"Not a setting either."`
	} `cmd:"" help:"Send."`
}

func parse(t *testing.T, args ...string) (*program, *kong.Context, string, error) {
	t.Helper()
	var p program
	var out bytes.Buffer
	parser, err := kong.New(&p, kong.Name("sluice"), kong.Writers(&out, &out), kong.Exit(func(int) {}), kong.ValueFormatter(FlagHelp), Grammar())
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parser.Parse(args)
	return &p, parsed, out.String(), err
}

func TestFlagsOf(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want map[string]string
	}{
		{"none", []string{"serve"}, nil},
		{"with and without =", []string{"serve", "--listen=:1", "--topic", "t"}, map[string]string{"listen": ":1", "topic": "t"}},
		{"unreadable values are taken as they are", []string{"serve", "--retention=30 days", "--max-body", "much"}, map[string]string{"retention": "30 days", "max-body": "much"}},
		{"the last wins", []string{"serve", "--listen=:1", "--listen=:2"}, map[string]string{"listen": ":2"}},
		{"bool alone", []string{"serve", "--kafka-tls", "--listen=:1"}, map[string]string{"kafka-tls": "true", "listen": ":1"}},
		{"bool with value", []string{"serve", "--kafka-tls=false"}, map[string]string{"kafka-tls": "false"}},
		{"bool switched off", []string{"serve", "--no-create-topics"}, map[string]string{"create-topics": "false"}},
		{"empty", []string{"serve", "--redis-password="}, map[string]string{"redis-password": ""}},
		{"negative", []string{"serve", "--partitions=-1"}, map[string]string{"partitions": "-1"}},
		{"a list stays one text", []string{"serve", "--kafka-brokers=a:1,b:2"}, map[string]string{"kafka-brokers": "a:1,b:2"}},
		{"another command", []string{"show", "--listen=:1"}, map[string]string{"listen": ":1"}},
		{"flags that aren't settings", []string{"serve", "--own=x"}, nil},
		{"flags of the same name that aren't settings", []string{"send", "--topic=x"}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, parsed, _, err := parse(t, test.args...)
			if err != nil {
				t.Fatal(err)
			}
			if got := FlagsOf(parsed); !maps.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestKongTouchesNothing: neither kong's defaults nor the environment reach the fields; only Load fills them.
func TestKongTouchesNothing(t *testing.T) {
	t.Setenv("SLUICE_LISTEN", ":9")
	t.Setenv("SLUICE_TEST_OWN", "from env")
	p, _, _, err := parse(t, "serve", "--topic=x")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fieldsOf(&p.Serve.Config) {
		if !f.value.IsZero() {
			t.Errorf("%s: kong set it to %s", f.Flag, formatValue(f.value))
		}
	}
	if p.Serve.Own != "from env" || p.Send.Topic != "own" {
		t.Errorf("other flags lost what kong does for them: %q, %q", p.Serve.Own, p.Send.Topic)
	}
}

func TestFlagNeedsValue(t *testing.T) {
	for _, args := range [][]string{{"serve", "--listen"}, {"serve", "--listen", "--topic=x"}} {
		if _, _, _, err := parse(t, args...); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}

func TestHelp(t *testing.T) {
	_, _, out, _ := parse(t, "serve", "--help")
	got := strings.Join(strings.Fields(out), " ") // as if lines weren't wrapped
	for _, want := range []string{
		" HTTP: --listen=HOST:PORT Address that receives webhooks, at POST /webhook. (default :8080; SLUICE_LISTEN)",
		" Limits: ", " Signature: ", " Kafka: ", " Topics: ", " Dedupe: ", " Spool: ", " Log: ",
		"--max-body=SIZE", "--max-in-flight=N", "--request-timeout=DURATION", "--log-level=debug|info|warn|error", "--log-format=json|console",
		"Between 200ms and 3.5s: the sender waits 4s",
		"(default none; SLUICE_SIGNING_KEYS or SLUICE_SIGNING_KEYS_FILE)",
		"--[no-]create-topics",
		"Not a setting ($SLUICE_TEST_OWN).",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the help lacks %q", want)
		}
	}
	for _, f := range fieldsOf(&Config{}) {
		if !strings.Contains(got, f.Env) {
			t.Errorf("the help lacks %s", f.Env)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

// TestGroups checks that a command with some groups has only their flags, and minds only their mistakes.
func TestGroups(t *testing.T) {
	if _, _, _, err := parse(t, "tail", "--listen=:1"); err == nil {
		t.Error("a flag of another group is taken")
	}
	environ := []string{"SLUICE_LISTEN=nowhere", "SLUICE_KAFKA_BROKERS=k:1", "SLUICE_INSTANCE=i", "SLUICE_REDIS_URL=redis://r/0"}
	p, parsed, _, err := parse(t, "tail", "--topic=t", "--config=", "--since=1h")
	if err != nil {
		t.Fatal(err)
	}
	report, err := Load(&p.Tail.Config, SourcesOf(parsed, environ))
	if err != nil || len(report.Warnings) != 0 {
		t.Errorf("without a signing key and with a wrong listen address: %v, warnings %q", err, report.Warnings)
	}
	if p.Tail.Topic != "t" || p.Tail.KafkaBrokers[0] != "k:1" || p.Tail.Since != "1h" {
		t.Errorf("got %+v", p.Tail)
	}
	for _, wrong := range []string{"SLUICE_KAFKA_BROKERS=nowhere", "SLUICE_KAFKA_BROKER=k:1"} {
		if _, err := Load(&p.Tail.Config, SourcesOf(parsed, []string{wrong})); err == nil {
			t.Errorf("%s is passed over", wrong)
		}
	}
	p, parsed, _, err = parse(t, "show")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Load(&p.Show.Config, SourcesOf(parsed, environ)); err == nil {
		t.Error("a command with all settings minds none")
	}
}
