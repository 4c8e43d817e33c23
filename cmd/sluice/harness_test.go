package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/event"
	"sluice/ingest/signature"
	"sluice/internal/testenv"
)

const testKey = "cio-test-signing-key-0001" // the one that signed the corpus

// onBoth runs a test on kfake and miniredis, and unchanged on real servers.
func onBoth(t *testing.T, f func(t *testing.T, env *testenv.Env)) {
	t.Run("fake", func(t *testing.T) { f(t, testenv.Fake(t)) })
	t.Run("real", func(t *testing.T) { f(t, testenv.Real(t)) })
}

// settings are the environment of a sluice for the test's servers.
func settings(env *testenv.Env, extra ...string) []string {
	return append([]string{
		"SLUICE_LISTEN=127.0.0.1:0", "SLUICE_ADMIN_LISTEN=127.0.0.1:0",
		"SLUICE_SIGNING_KEYS=test=" + testKey + ",other=another-key-0002",
		"SLUICE_KAFKA_BROKERS=" + strings.Join(env.Brokers(), ","), "SLUICE_REDIS_URL=" + env.RedisURL(),
		"SLUICE_TOPIC=" + env.Topic(`{event_type}`), "SLUICE_DEAD_LETTER_TOPIC=" + env.Topic("dead_letter"),
		"SLUICE_OVERFLOW_TOPIC=" + env.Topic("other"), "SLUICE_PARTITIONS=2", "SLUICE_LOG_LEVEL=info", "SLUICE_LOG_FORMAT=json",
	}, extra...)
}

// running is a sluice serving inside the test binary.
type running struct {
	url, admin string
	logs       *logWatch
	stop       func() (code int)
}

// serve starts the real command in this process and waits for its listeners.
func serve(t *testing.T, environ []string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	logs := &logWatch{listening: make(chan map[string]any, 1)}
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"serve"}, &process{environ: environ, stdout: io.Discard, stderr: logs})
	}()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of sluice:\n%s", logs)
		}
	})
	select {
	case line := <-logs.listening:
		stopped := sync.OnceValue(func() int {
			http.DefaultClient.CloseIdleConnections() // or the drain would wait two seconds for them
			cancel()
			return <-code
		})
		t.Cleanup(func() { stopped() })
		return &running{url: line["webhook"].(string), admin: line["admin"].(string), logs: logs, stop: stopped}
	case c := <-code:
		cancel()
		t.Fatalf("sluice ended with code %d:\n%s", c, logs)
	case <-time.After(20 * time.Second):
		cancel()
		t.Fatalf("sluice doesn't listen:\n%s", logs)
	}
	return nil
}

// logWatch keeps the log and finds the line that names the listeners.
type logWatch struct {
	mu        sync.Mutex
	buf       bytes.Buffer
	listening chan map[string]any
}

func (l *logWatch) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Write(b)
	var line map[string]any
	if json.Unmarshal(b, &line) == nil && line["msg"] == "listening" {
		l.listening <- line
	}
	return len(b), nil
}

func (l *logWatch) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// answer is what a webhook request got.
type answer struct {
	code       int
	Status     string `json:"status"`
	Reason     string `json:"reason"`
	EventID    string `json:"event_id"`
	EventType  string `json:"event_type"`
	retryAfter string
	took       time.Duration
	again      bool // it was refused before, and may have been kept all the same
}

// request is one webhook; zero fields get what a valid one has.
type request struct {
	body       []byte
	key        string
	timestamp  string
	signature  *string
	deliveryID string
	client     *http.Client
}

func (r request) send(ctx context.Context, url string) (answer, error) {
	if r.timestamp == "" {
		r.timestamp = strconv.FormatInt(time.Now().Unix(), 10)
	}
	if r.key == "" {
		r.key = testKey
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(r.body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-CIO-Timestamp", r.timestamp)
	sig := signature.Sign(r.key, r.timestamp, r.body)
	if r.signature != nil {
		sig = *r.signature
	}
	if sig != "" {
		req.Header.Set("X-CIO-Signature", sig)
	}
	if r.deliveryID != "" {
		req.Header.Set("X-CIO-Delivery-ID", r.deliveryID)
	}
	if r.client == nil {
		r.client = http.DefaultClient
	}
	began := time.Now()
	res, err := r.client.Do(req)
	if err != nil {
		return answer{took: time.Since(began)}, err
	}
	defer res.Body.Close()
	a := answer{code: res.StatusCode, retryAfter: res.Header.Get("Retry-After")}
	if res.ContentLength != 0 { // the goodbye to an idle connection has no body
		err = json.NewDecoder(res.Body).Decode(&a)
	}
	a.took = time.Since(began)
	return a, err
}

func (r request) must(t *testing.T, url string) answer {
	t.Helper()
	a, err := r.send(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// insist sends again while the answer is 503, as the sender does.
func (r request) insist(t *testing.T, url string) (a answer) {
	t.Helper()
	tries := 0
	testenv.Eventually(t, 60*time.Second, func() (err error) {
		tries++
		a, err = r.send(t.Context(), url)
		if err == nil && a.code == http.StatusServiceUnavailable {
			return errUnavailable
		}
		return err
	})
	a.again = tries > 1
	return a
}

// sample is a body and what should become of it.
type sample struct {
	name, id, eventType string // eventType "" = dead letter
	body                []byte
	timestamp, sig      string
}

// corpus reads the shared bodies and their expectations, plus the malformed
// ones. It is skipped where they are absent.
func corpus(t *testing.T) (samples []sample) {
	t.Helper()
	dir := filepath.Join("..", "..", "..", "shared", "corpus")
	table, err := os.ReadFile(filepath.Join(dir, "EXPECT.tsv"))
	if err != nil {
		t.Skipf("the shared corpus isn't here: %v", err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(table)), "\n")[1:] {
		f := strings.Split(line, "\t")
		body, err := os.ReadFile(filepath.Join(dir, "valid", f[0]))
		if err != nil {
			t.Fatal(err)
		}
		typ := f[5]
		if typ == "DEAD_LETTER" {
			typ = ""
		}
		samples = append(samples, sample{name: f[0], id: f[3], eventType: typ, body: body, timestamp: f[7], sig: f[8]})
	}
	malformed, err := filepath.Glob(filepath.Join(dir, "malformed", "*"))
	if err != nil || len(malformed) == 0 {
		t.Fatalf("no malformed bodies: %v", err)
	}
	for _, name := range malformed {
		body, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		samples = append(samples, sample{name: filepath.Base(name), body: body})
	}
	return samples
}

// ownSamples are the project's own bodies, and one of every described type.
func ownSamples(t *testing.T) (samples []sample) {
	t.Helper()
	for _, typ := range event.Described() {
		samples = append(samples, sample{
			name: typ.Name, id: "own-" + typ.Name, eventType: typ.Name,
			body: []byte(`{"event_id":"own-` + typ.Name + `","event_type":"` + typ.Name + `","data":{"identifiers":{"id":"c"}}}`),
		})
	}
	for name, body := range map[string]string{
		"empty": "", "not json": "a=b", "array": `[{"event_id":"x"}]`, "binary": "\x00\xff", "no type": `{"event_id":"own-none"}`,
		"bad type": `{"event_id":"own-bad","event_type":"no/slash"}`,
	} {
		samples = append(samples, sample{name: name, body: []byte(body)})
	}
	return samples
}
