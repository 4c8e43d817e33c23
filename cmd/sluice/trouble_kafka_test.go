package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"sluice/internal/testenv"
)

// The tests of DESIGN.md's table of troubles with Kafka: each has a sluice with a spool under load while something
// happens, and holds what it has answered against the topics when Kafka is well again.

// trouble is such a sluice.
type trouble struct {
	*instance
	env   *testenv.Env
	kafka *testenv.Cluster
	login string
	runs  int
}

// types are those of the load's events.
func loadTypes() []string { return []string{"email_sent", "email_opened", "email_clicked"} }

func troubled(t *testing.T, kafka *testenv.Cluster, extra ...string) *trouble {
	t.Helper()
	env := testenv.RealOn(t, kafka)
	return &trouble{instance: startProcess(t, env, append(extra, "SLUICE_SPOOL_DIR="+t.TempDir())...), env: env, kafka: kafka}
}

// login are the settings for a user of the cluster's.
func login(user testenv.User) []string {
	return []string{
		"SLUICE_KAFKA_SASL_MECHANISM=scram-sha-256", "SLUICE_KAFKA_SASL_USERNAME=" + user.Name, "SLUICE_KAFKA_SASL_PASSWORD=" + user.Password,
	}
}

// posts is what a load has been told.
type posts struct {
	*ledger
	x       *trouble
	begun   map[string]time.Time // guarded by ledger.mu, as are the others
	counts  map[string]int       // of answers, by status, and by type and status
	spooled map[string]bool      // answered so
	clients int
}

// during has clients post while fault goes on, which leaves Kafka well. It waits for the end of every backlog, and wants
// answers that the sender can live with. What Kafka itself lost isn't known here: see check.
func (x *trouble) during(t *testing.T, fault func(l *posts)) *posts {
	t.Helper()
	l := &posts{ledger: newLedger(), x: x, begun: map[string]time.Time{}, counts: map[string]int{}, clients: 6}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	x.runs++
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for c := range l.clients {
		wg.Go(func() { l.post(ctx, fmt.Sprintf("r%d-c%d", x.runs, c)) })
	}
	l.await(t, "published", 30)
	fault(l)
	l.await(t, "published", 30)
	cancel()
	wg.Wait()
	x.drained(t)
	if len(l.codes) != 1 || l.codes[http.StatusOK] == 0 || l.worst > 4*time.Second {
		t.Errorf("answers %v, slowest %v", l.codes, l.worst)
	}
	return l
}

// post sends one event after another until ctx ends: what isn't acknowledged comes again, as the sender does it.
func (l *posts) post(ctx context.Context, name string) {
	client := &http.Client{Transport: &http.Transport{}, Timeout: 4 * time.Second}
	defer client.CloseIdleConnections()
	for i := 0; ctx.Err() == nil; i++ {
		l.send(ctx, client, fmt.Sprintf("%s-%06d", name, i), loadTypes()[i%3], "p"+strconv.Itoa(i%7), "")
		sleep(ctx, 10*time.Millisecond)
	}
}

// send posts an event until it is acknowledged or ctx ends.
func (l *posts) send(ctx context.Context, client *http.Client, id, eventType, customer, padding string) (a answer) {
	body := fmt.Appendf(nil, `{"event_id":%q,"event_type":%q,"data":{"identifiers":{"id":%q},"x":%q}}`, id, eventType, customer, padding)
	l.mu.Lock()
	l.begun[id] = time.Now()
	l.mu.Unlock()
	for ctx.Err() == nil {
		var err error
		if a, err = (request{body: body, client: client}).send(context.WithoutCancel(ctx), l.x.url); err != nil {
			a.code = -1
		}
		l.note(id, a)
		l.mu.Lock()
		l.counts[a.Status]++
		l.counts[eventType+" "+a.Status]++
		l.mu.Unlock()
		if a.code == http.StatusOK {
			return a
		}
		sleep(ctx, 50*time.Millisecond)
	}
	return a
}

// await waits for n more answers with that status.
func (l *posts) await(t *testing.T, status string, n int) {
	t.Helper()
	count := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.counts[status]
	}
	wanted := count() + n
	testenv.Eventually(t, time.Minute, func() error {
		if got := count(); got < wanted {
			l.mu.Lock()
			defer l.mu.Unlock()
			return fmt.Errorf("%d of %d answers %q; all: %v %v", got-wanted+n, n, status, l.counts, l.codes)
		}
		return nil
	})
}

func (l *posts) awaitType(t *testing.T, eventType, status string, n int) {
	t.Helper()
	l.await(t, eventType+" "+status, n)
}

// drained waits until Kafka is known to have everything.
func (x *trouble) drained(t *testing.T) {
	t.Helper()
	testenv.Eventually(t, time.Minute, func() error {
		return errors.Join(x.metricIs(t, "sluice_spool_events", 0), x.metricIs(t, "sluice_spool_unsettled", 0))
	})
}

// check wants each acknowledged event once, but for those that Kafka has lost, and in order if asked to: the events of a
// client stand in the order in which they were sent.
func (l *posts) check(t *testing.T, ordered bool, kafkaLost func(id string) bool) map[string][]testenv.Record {
	t.Helper()
	found := map[string][]testenv.Record{}
	last := map[string]string{}
	disordered := 0
	for _, r := range l.x.kafka.ConsumeBulk(t, l.x.kafka.Topics(t, l.x.env.Prefix)...) {
		id, _ := r.Header("ce_id")
		found[id] = append(found[id], r)
		if _, ours := l.begun[id]; !ours {
			continue
		}
		client, _, _ := strings.Cut(id, "-0")
		line := fmt.Sprint(r.Topic, r.Partition, client)
		if id < last[line] {
			disordered++
		}
		last[line] = id
	}
	lost, doubled, forgiven := 0, 0, 0
	for id := range l.begun {
		switch n := len(found[id]); {
		case n > 1:
			doubled++
		case n == 0 && l.acked[id] && kafkaLost != nil && kafkaLost(id):
			forgiven++
		case n == 0 && l.acked[id]:
			lost++
		}
	}
	t.Logf("answers %v %v, slowest %v; acknowledged %d, lost by Kafka %d, lost %d, doubled %d, out of order %d",
		l.codes, l.counts, l.worst.Round(time.Millisecond), len(l.acked), forgiven, lost, doubled, disordered)
	if lost+doubled > 0 || ordered && disordered > 0 || len(l.acked) == 0 {
		t.Errorf("lost %d, doubled %d, out of order %d", lost, doubled, disordered)
	}
	return found
}

// began is when the event was first posted.
func (l *posts) began(id string) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.begun[id]
}

// eventType is the type that the load gave the event; "" if it isn't the load's.
func (l *posts) eventType(id string) string {
	_, number, _ := strings.Cut(id, "-0")
	if n, err := strconv.Atoi(number); err == nil {
		return loadTypes()[n%3]
	}
	return ""
}

// metric reads a metric, with its labels; 0 if there is none.
func (x *trouble) metric(t *testing.T, name string) (value float64) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, x.admin+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		if text, is := strings.CutPrefix(lines.Text(), name+" "); is {
			value, err = strconv.ParseFloat(text, 64)
		}
	}
	if err := errors.Join(err, lines.Err()); err != nil {
		t.Fatal(err)
	}
	return value
}

func (x *trouble) metricIs(t *testing.T, name string, want float64) error {
	t.Helper()
	if got := x.metric(t, name); got != want {
		return fmt.Errorf("%s is %v, want %v", name, got, want)
	}
	return nil
}

// grown wants a metric to be above 0 by and by.
func (x *trouble) grown(t *testing.T, name string) {
	t.Helper()
	testenv.Eventually(t, 30*time.Second, func() error {
		if x.metric(t, name) == 0 {
			return fmt.Errorf("%s is 0", name)
		}
		return nil
	})
}

// produceError is the counter of a code of Kafka's.
func produceError(code int) string {
	return fmt.Sprintf(`sluice_kafka_produce_errors_total{code="%d"}`, code)
}

// logged waits for a line of the log.
func (x *trouble) logged(t *testing.T, parts ...string) {
	t.Helper()
	x.WaitLog(t, 30*time.Second, parts...)
}

// ended wants a clean exit.
func (x *trouble) ended(t *testing.T) {
	t.Helper()
	os.WriteFile("/tmp/h/kafka/logs/"+strings.ReplaceAll(t.Name(), "/", "_"), []byte(x.Logs()), 0o600) // XXX
	if code := x.Terminate(t, 30*time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// alter sets a setting of topics; "" takes it back.
func alter(t *testing.T, admin *kadm.Client, name, value string, topics ...string) {
	t.Helper()
	res, err := admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{change(name, value)}, topics...)
	for _, r := range res {
		err = errors.Join(err, r.Err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// alterCluster sets a setting of all brokers.
func alterCluster(t *testing.T, admin *kadm.Client, name, value string) {
	t.Helper()
	res, err := admin.AlterBrokerConfigs(t.Context(), []kadm.AlterConfig{change(name, value)})
	for _, r := range res {
		err = errors.Join(err, r.Err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func change(name, value string) kadm.AlterConfig {
	if value == "" {
		return kadm.AlterConfig{Op: kadm.DeleteConfig, Name: name}
	}
	return kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: new(value)}
}

// padding makes an event large.
func padding(size int) string { return string(bytes.Repeat([]byte("x"), size)) }
