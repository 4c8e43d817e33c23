package publisher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	kafka "github.com/segmentio/kafka-go"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"sluice/event"
	"sluice/internal/testenv"
	"sluice/publisher/connect"
	"sluice/publisher/idempotent"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testenv.Wrap(m)) }

// both runs a test on kfake and on real Kafka.
func both(t *testing.T, f func(t *testing.T, env *testenv.Env)) {
	t.Run("fake", func(t *testing.T) { f(t, testenv.Fake(t)) })
	t.Run("real", func(t *testing.T) { f(t, testenv.Real(t)) })
}

func options(prefix string, brokers []string) Options {
	return Options{
		Brokers: brokers,
		Topics: TopicOptions{
			Template: prefix + "_{event_type}", DeadLetter: prefix + "_dead_letter", Overflow: prefix + "_other",
			Types: []string{"email_sent", "email_opened"}, Max: 200, Create: true, Partitions: 2, Replication: -1,
			Retention: 720 * time.Hour, MaxMessageBytes: 9 << 20,
		},
	}
}

func run(t *testing.T, o Options) *Publisher {
	t.Helper()
	if o.Log == nil {
		o.Log = zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel))
	}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = p.Close(ctx) // tests that need it closed clean close it themselves
	})
	return p
}

func message(t *testing.T, body string) *Message {
	t.Helper()
	e, err := event.Parse([]byte(body))
	if pe, ok := errors.AsType[*event.ParseError](err); ok {
		return &Message{Body: []byte(body), Event: e, Reject: pe.Reason, KeyName: "main", DedupeID: func() string { return "~dedupe" }}
	}
	return &Message{Body: []byte(body), Event: e, KeyName: "main", DedupeID: func() string { return "~dedupe" }}
}

// publish retries for a while, as the sender does.
func publish(t *testing.T, p *Publisher, m *Message) Outcome {
	t.Helper()
	var out Outcome
	testenv.Eventually(t, 30*time.Second, func() (err error) {
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		out, err = p.Publish(ctx, m)
		return err
	})
	return out
}

func TestRecord(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		p := run(t, options(env.Prefix, env.Brokers()))
		body := `{"event_id":"01JX","object_type":"email","metric":"sent","timestamp":1767225600,"data":{"delivery_id":"D1","identifiers":{"id":"cust-7"}}}` + "\n"
		m := message(t, body)
		m.Headers = []Header{
			{"X-Cio-Timestamp", "1767225600"},
			{"X-Cio-Signature", "abc"},
			{"X-Cio-Delivery-Id", "D1"},
			{"Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
			{"X-Cio-Huge", strings.Repeat("x", 5000)},
		}
		m.DedupeSkipped = true
		if out := publish(t, p, m); out != Published {
			t.Fatalf("outcome %v", out)
		}
		got := env.Records(t, env.Topic("email_sent"))
		if len(got) != 1 {
			t.Fatalf("%d records", len(got))
		}
		r := got[0]
		if string(r.Value) != body || string(r.Key) != "cust-7" {
			t.Errorf("key %q, value %q", r.Key, r.Value)
		}
		if d := time.Since(r.Time); d < -time.Minute || d > time.Minute {
			t.Errorf("record time %v is not the time of publishing", r.Time)
		}
		want := map[string]string{
			"event-type": "email_sent", "ce_specversion": "1.0", "ce_id": "01JX", "ce_type": "io.customer.email_sent",
			"ce_source": "/customerio/main", "ce_time": "2026-01-01T00:00:00Z", "ce_subject": "D1", "content-type": "application/json",
			"sluice-key": "main", "sluice-dedupe": "skipped", "X-CIO-Timestamp": "1767225600", "X-CIO-Signature": "abc",
			"X-CIO-Delivery-ID": "D1", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		}
		for name, value := range want {
			if v, ok := r.Header(name); !ok || v != value {
				t.Errorf("header %s = %q, want %q", name, v, value)
			}
		}
		if len(r.Headers) != len(want) {
			t.Errorf("%d headers, want %d: %v", len(r.Headers), len(want), r.Headers)
		}
	})
}

func TestForwardedHeadersAreBounded(t *testing.T) {
	p := &Publisher{}
	m := message(t, `{"event_id":"e","event_type":"email_sent"}`)
	for i := range 100 {
		m.Headers = append(m.Headers, Header{fmt.Sprint("X-Cio-Extra-", i), strings.Repeat("x", 4000)})
	}
	sum := 0
	for _, h := range p.eventRecord(m).Headers {
		sum += len(h.Key) + len(h.Value)
	}
	if sum > 17<<10 {
		t.Errorf("%d bytes of headers", sum)
	}
}

func TestDeadLetters(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		p := run(t, options(env.Prefix, env.Brokers()))
		for _, body := range []string{"", "not json", `{"event_id":"e1"}`, "\xff\xfe\x00"} {
			if out := publish(t, p, message(t, body)); out != DeadLettered {
				t.Errorf("%q: outcome %v", body, out)
			}
		}
		got := env.Records(t, env.Topic("dead_letter"))
		if len(got) != 4 {
			t.Fatalf("%d dead letters", len(got))
		}
		for _, r := range got {
			reason, _ := r.Header("sluice-reason")
			step, _ := r.Header("sluice-step")
			at, _ := r.Header("sluice-time")
			if _, err := time.Parse(time.RFC3339Nano, at); err != nil || step != "parse" {
				t.Errorf("%q: step %q, time %q", r.Value, step, at)
			}
			if want := map[bool]string{true: "no_event_type", false: "not_json"}[bytes.HasPrefix(r.Value, []byte("{"))]; reason != want {
				t.Errorf("%q: reason %q, want %q", r.Value, reason, want)
			}
		}
	})
}

func TestNewTypesGetTopicsUpToTheCap(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		o := options(env.Prefix, env.Brokers())
		o.Topics.Max = 4
		o.Topics.Overrides = map[string]TopicOverride{"line_sent": {Partitions: 5, Retention: time.Hour}}
		p := run(t, o)
		testenv.Eventually(t, 20*time.Second, func() error {
			if n := len(env.Kafka.Topics(t, env.Prefix)); n < 4 {
				return fmt.Errorf("%d topics created", n)
			}
			return nil
		})
		for i, typ := range []string{"line_sent", "fax_sent", "telex_sent", "pigeon_sent", "line_sent"} {
			if out := publish(t, p, message(t, fmt.Sprintf(`{"event_id":"e%d","event_type":%q}`, i, typ))); out != Published {
				t.Errorf("%s: %v", typ, out)
			}
		}
		want := []string{"dead_letter", "email_opened", "email_sent", "fax_sent", "line_sent", "other"}
		var topics []string
		for _, name := range env.Kafka.Topics(t, env.Prefix) {
			topics = append(topics, strings.TrimPrefix(name, env.Prefix+"_"))
		}
		if !slices.Equal(topics, want) {
			t.Errorf("topics %v, want %v", topics, want)
		}
		if got := env.Records(t, env.Topic("other")); len(got) != 2 {
			t.Errorf("%d records in the overflow topic, want 2", len(got))
		} else if typ, _ := got[0].Header("event-type"); typ != "telex_sent" && typ != "pigeon_sent" {
			t.Errorf("event type %q in the overflow topic", typ)
		}
		if info, _ := p.prod.Topic(env.Topic("line_sent")); info.Partitions != 5 {
			t.Errorf("line_sent has %d partitions, want the override's 5", info.Partitions)
		}
	})
}

func TestCreationSwitchedOff(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		o := options(env.Prefix, env.Brokers())
		o.Topics.Create = false
		o.Log = zap.NewNop()
		p := run(t, o)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if out, err := p.Publish(ctx, message(t, `{"event_id":"e","event_type":"email_sent"}`)); out != NotKept || !errors.Is(err, ErrUnavailable) {
			t.Errorf("without any topic: %v, %v", out, err)
		}
		create(t, env, env.Topic("email_sent"), env.Topic("other"))
		if out := publish(t, p, message(t, `{"event_id":"e","event_type":"email_sent"}`)); out != Published {
			t.Errorf("outcome %v", out)
		}
		publish(t, p, message(t, `{"event_id":"f","event_type":"fax_sent"}`))
		if n := len(env.Records(t, env.Topic("other"))); n < 1 {
			t.Error("the overflow topic is empty")
		}
		if got := env.Kafka.Topics(t, env.Prefix); len(got) != 2 {
			t.Errorf("topics %v", got)
		}
	})
}

func create(t *testing.T, env *testenv.Env, names ...string) {
	t.Helper()
	for _, name := range names {
		env.Kafka.(interface {
			CreateTopic(testing.TB, string, int, map[string]string)
		}).CreateTopic(t, name, 1, nil)
	}
}

func TestSingleTopic(t *testing.T) {
	both(t, func(t *testing.T, env *testenv.Env) {
		o := options(env.Prefix, env.Brokers())
		o.Topics.Template, o.Key = env.Prefix+"_all", KeyEventType
		p := run(t, o)
		publish(t, p, message(t, `{"event_id":"e","event_type":"email_sent","data":{"identifiers":{"id":"c"}}}`))
		publish(t, p, message(t, `{"event_id":"f","event_type":"fax_sent"}`))
		var keys []string
		for _, r := range env.Records(t, env.Topic("all")) {
			keys = append(keys, string(r.Key))
		}
		slices.Sort(keys)
		if !slices.Equal(keys, []string{"email_sent", "fax_sent"}) {
			t.Errorf("keys %v", keys)
		}
	})
}

// TestTooLarge publishes a record that the event's topic doesn't take, beside
// ordinary ones in the same batch.
func TestTooLarge(t *testing.T) {
	env := testenv.Real(t)
	env.Kafka.(*testenv.Cluster).CreateTopic(t, env.Topic("email_sent"), 1, map[string]string{"max.message.bytes": "20000"})
	p := run(t, options(env.Prefix, env.Brokers()))
	publish(t, p, message(t, `{"event_id":"first","event_type":"email_sent"}`))
	var wg sync.WaitGroup
	for i := range 50 {
		body, want := fmt.Sprintf(`{"event_id":"e%d","event_type":"email_sent"}`, i), Published
		if i%10 == 7 {
			body, want = fmt.Sprintf(`{"event_id":"e%d","event_type":"email_sent","data":%q}`, i, strings.Repeat("x", 30000)), DeadLettered
		}
		wg.Go(func() {
			if out := publish(t, p, message(t, body)); out != want {
				t.Errorf("event %d: %v, want %v", i, out, want)
			}
		})
	}
	wg.Wait()
	if n := len(env.Records(t, env.Topic("email_sent"))); n != 46 {
		t.Errorf("%d records, want 46", n)
	}
	dead := env.Records(t, env.Topic("dead_letter"))
	if len(dead) != 5 {
		t.Fatalf("%d dead letters, want 5", len(dead))
	}
	if reason, _ := dead[0].Header("sluice-reason"); reason != "refused_by_topic" {
		t.Errorf("reason %q", reason)
	}
	if typ, _ := dead[0].Header("event-type"); typ != "email_sent" {
		t.Errorf("event type %q", typ)
	}
}

// TestStartBeforeKafka checks that a publisher without Kafka answers in time
// and connects when Kafka comes.
func TestStartBeforeKafka(t *testing.T) {
	c := testenv.Kafka(t, testenv.WithProxies())
	proxy := c.Broker(0).Proxy()
	proxy.Set(t, testenv.Refuse)
	p := run(t, options("early", c.Bootstrap()))
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	m := message(t, `{"event_id":"e","event_type":"email_sent"}`)
	if out, err := p.Publish(ctx, m); out != NotKept || !errors.Is(err, ErrUnavailable) {
		t.Errorf("%v, %v", out, err)
	}
	if up, _, err := p.State(); up || err == nil {
		t.Errorf("state: up %v, %v", up, err)
	}
	proxy.Set(t, testenv.Pass)
	if out := publish(t, p, m); out != Published {
		t.Errorf("outcome %v", out)
	}
	if up, _, err := p.State(); !up || err != nil {
		t.Errorf("state: up %v, %v", up, err)
	}
	if n := len(c.Consume(t, "early_email_sent")); n != 1 {
		t.Errorf("%d records, want 1", n)
	}
}

func TestDeletedTopicComesBack(t *testing.T) {
	env := testenv.Real(t)
	p := run(t, options(env.Prefix, env.Brokers()))
	publish(t, p, message(t, `{"event_id":"e1","event_type":"email_sent"}`))
	tr := &kafka.Transport{}
	defer tr.CloseIdleConnections()
	cl := &kafka.Client{Addr: kafka.TCP(env.Brokers()...), Transport: tr}
	if _, err := cl.DeleteTopics(t.Context(), &kafka.DeleteTopicsRequest{Topics: []string{env.Topic("email_sent")}}); err != nil {
		t.Fatal(err)
	}
	// A record acknowledged while the broker is still about to drop the log
	// goes with it. From the deletion's effect on, nothing may be lost.
	testenv.Eventually(t, 20*time.Second, func() error {
		if info, _ := p.prod.Topic(env.Topic("email_sent")); info.Missing {
			return nil
		}
		p.prod.Refresh()
		return errors.New("the deletion isn't seen yet")
	})
	if out := publish(t, p, message(t, `{"event_id":"e2","event_type":"email_sent"}`)); out != Published {
		t.Errorf("outcome %v", out)
	}
	if got := env.Records(t, env.Topic("email_sent")); len(got) != 1 {
		t.Errorf("%d records, want 1", len(got))
	}
}

func TestLogins(t *testing.T) {
	user := testenv.User{Name: "sluice", Password: "hush-hush"}
	c := testenv.Kafka(t, testenv.WithSASL(user), testenv.WithTLS())
	for _, mechanism := range []string{"plain", "scram-sha-256", "scram-sha-512"} {
		t.Run(mechanism, func(t *testing.T) {
			o := options("login-"+mechanism, c.Bootstrap())
			o.Connect = connect.Options{
				TLS:  &connect.TLS{CAFile: c.TLS().CAFile},
				SASL: &connect.SASL{Mechanism: mechanism, Username: user.Name, Password: user.Password},
			}
			if out := publish(t, run(t, o), message(t, `{"event_id":"e","event_type":"email_sent"}`)); out != Published {
				t.Errorf("outcome %v", out)
			}
			o.Connect.SASL = &connect.SASL{Mechanism: mechanism, Username: user.Name, Password: "wrong"}
			o.Log = zap.NewNop()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			p := run(t, o)
			if _, err := p.Publish(ctx, message(t, `{"event_id":"f","event_type":"email_sent"}`)); !errors.Is(err, ErrUnavailable) {
				t.Errorf("with a wrong password: %v", err)
			}
			if _, _, err := p.State(); !errors.Is(err, kafka.SASLAuthenticationFailed) {
				t.Errorf("state says %v", err)
			}
		})
	}
}

func TestConnectOptionsAreChecked(t *testing.T) {
	for name, c := range map[string]connect.Options{
		"unknown mechanism": {SASL: &connect.SASL{Mechanism: "gssapi"}},
		"no such CA":        {TLS: &connect.TLS{CAFile: "testdata/missing.pem"}},
		"not a CA":          {TLS: &connect.TLS{CAFile: "publisher.go"}},
		"half a pair":       {TLS: &connect.TLS{CertFile: "publisher.go"}},
	} {
		o := options("x", []string{"127.0.0.1:1"})
		o.Connect = c
		if _, err := New(o); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestClientCertificate(t *testing.T) {
	c := testenv.Kafka(t, testenv.WithClientCerts())
	o := options("mtls", c.Bootstrap())
	o.Connect.TLS = &connect.TLS{CAFile: c.TLS().CAFile, CertFile: c.TLS().ClientCertFile, KeyFile: c.TLS().ClientKeyFile}
	if out := publish(t, run(t, o), message(t, `{"event_id":"e","event_type":"email_sent"}`)); out != Published {
		t.Errorf("outcome %v", out)
	}
}

// TestPartitioner holds the choice of partition to Kafka's Java client:
// org.apache.kafka.common.utils.Utils.toPositive(murmur2(key)) % 12.
func TestPartitioner(t *testing.T) {
	p := &Publisher{}
	for key, want := range map[string]int32{"21": murmur2Java("21"), "foobar": murmur2Java("foobar"), "a-little-bit-long-string": murmur2Java("a-little-bit-long-string")} {
		if got := p.partition(&idempotent.Record{Key: []byte(key)}, 12); got != want {
			t.Errorf("%q → %d, want %d", key, got, want)
		}
	}
}

// murmur2Java are the hashes that Kafka's own UtilsTest.testMurmur2 expects.
func murmur2Java(key string) int32 {
	hash := map[string]int32{"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536}[key]
	return (hash & 0x7fffffff) % 12
}
