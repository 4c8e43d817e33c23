package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/internal/testenv"
)

// instance is a sluice in a process of its own, which can be killed.
type instance struct {
	*testenv.Proc
	url, admin string
	environ    []string
	before     []string // of the command line, see testenv.SlowSyncs
}

func startProcess(t *testing.T, env *testenv.Env, extra ...string) *instance {
	t.Helper()
	return startProcessBehind(t, env, nil, extra...)
}

func startProcessBehind(t *testing.T, env *testenv.Env, before []string, extra ...string) *instance {
	t.Helper()
	listen, admin := "127.0.0.1:"+strconv.Itoa(testenv.FreePort(t)), "127.0.0.1:"+strconv.Itoa(testenv.FreePort(t))
	environ := append(settings(env, extra...), "SLUICE_LISTEN="+listen, "SLUICE_ADMIN_LISTEN="+admin)
	s := &instance{url: "http://" + listen + "/webhook", admin: "http://" + admin, environ: environ, before: before}
	s.start(t)
	return s
}

// start starts the process, again after it was killed, on the same ports.
func (s *instance) start(t *testing.T) {
	t.Helper()
	command := append(slices.Clone(s.before), testenv.Binary(t, "./cmd/sluice"), "serve")
	s.Proc = testenv.Process(t, command[0], s.environ, command[1:]...)
	s.WaitHTTP(t, 20*time.Second, s.admin+"/readyz", http.StatusOK)
}

// Terminate is Proc's, without the two seconds that a drain gives connections on which nothing comes.
func (s *instance) Terminate(t *testing.T, within time.Duration) int {
	t.Helper()
	http.DefaultClient.CloseIdleConnections()
	return s.Proc.Terminate(t, within)
}

// ledger counts what was acknowledged, to be compared with the topics.
type ledger struct {
	mu    sync.Mutex
	acked map[string]bool
	codes map[int]int
	worst time.Duration
}

func newLedger() *ledger { return &ledger{acked: map[string]bool{}, codes: map[int]int{}} }

func (l *ledger) note(id string, a answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.codes[a.code]++
	l.worst = max(l.worst, a.took)
	if a.code == http.StatusOK {
		l.acked[id] = true
	}
}

// check wants every acknowledged event once, and no event twice.
func (l *ledger) check(t *testing.T, env *testenv.Env) {
	t.Helper()
	if lost, doubled := l.balance(t, env); lost+doubled > 0 || len(l.acked) == 0 {
		t.Errorf("lost %d, doubled %d of %d acknowledged", lost, doubled, len(l.acked))
	}
}

// balance counts acknowledged events that aren't there, and events that are
// there more than once.
func (l *ledger) balance(t *testing.T, env *testenv.Env) (lost, doubled int) {
	t.Helper()
	count := map[string]int{}
	for _, r := range env.Records(t) {
		id, _ := r.Header("ce_id")
		count[id]++
	}
	for id := range l.acked {
		if count[id] == 0 {
			lost++
		}
	}
	for _, n := range count {
		if n > 1 {
			doubled++
		}
	}
	t.Logf("answers %v, slowest %v, acknowledged %d, lost %d, doubled %d", l.codes, l.worst, len(l.acked), lost, doubled)
	return lost, doubled
}

// finish ends the instance and wants a clean exit, a balanced ledger, and no
// answer but 200 and 503.
func (l *ledger) finish(t *testing.T, env *testenv.Env, s *instance) {
	t.Helper()
	if code := s.Terminate(t, 30*time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	l.check(t, env)
	for code := range l.codes {
		if code != http.StatusOK && code != http.StatusServiceUnavailable {
			t.Errorf("answers %v", l.codes)
		}
	}
}

// load posts one event after another from each of n clients until ctx ends;
// what isn't acknowledged is sent again, as the sender does.
func (l *ledger) load(ctx context.Context, t *testing.T, clients int, urls ...string) *sync.WaitGroup {
	t.Helper()
	return l.loadFrom(ctx, t, clients, 0, urls...)
}

// loadFrom is load by clients whose numbers begin with first: no two clients send the same events.
func (l *ledger) loadFrom(ctx context.Context, t *testing.T, clients, first int, urls ...string) *sync.WaitGroup {
	t.Helper()
	var wg sync.WaitGroup
	for c := first; c < first+clients; c++ {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: 4 * time.Second}
			defer client.CloseIdleConnections()
			for i := 0; ctx.Err() == nil; i++ {
				id := fmt.Sprintf("c%d-%d", c, i)
				body := loadBody(c, i)
				for ctx.Err() == nil {
					a, err := request{body: body, client: client}.send(context.WithoutCancel(ctx), urls[(c+i)%len(urls)])
					if err != nil {
						a.code = -1
					}
					l.note(id, a)
					if a.code == http.StatusOK {
						break
					}
					sleep(ctx, 50*time.Millisecond)
				}
			}
		})
	}
	return &wg
}

// loadBody is the i-th event of client c.
func loadBody(c, i int) []byte {
	return fmt.Appendf(nil, `{"event_id":"c%d-%d","object_type":"email","metric":%q,"data":{"identifiers":{"id":"p%d"}}}`,
		c, i, []string{"sent", "opened", "clicked"}[i%3], i%50)
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// TestTwoInstancesOneRecord posts the same event to two processes at the same
// instant, a hundred times.
func TestTwoInstancesOneRecord(t *testing.T) {
	t.Parallel() // it mostly waits
	env := testenv.Real(t)
	a, b := startProcess(t, env), startProcess(t, env)
	for i := range 100 {
		body := fmt.Appendf(nil, `{"event_id":"twin-%d","event_type":"email_sent"}`, i)
		var wg sync.WaitGroup
		for _, s := range []*instance{a, b} {
			wg.Go(func() {
				if x := (request{body: body}).insist(t, s.url); x.code != http.StatusOK {
					t.Errorf("event %d: %+v", i, x)
				}
			})
		}
		wg.Wait()
	}
	if n := len(env.Records(t)); n != 100 {
		t.Errorf("%d records of 100 events", n)
	}
}

// TestWinnerKilled kills an instance that has claimed an event and can't
// publish it; another takes over when the lease has run out, once.
func TestWinnerKilled(t *testing.T) {
	t.Parallel() // it mostly waits
	env, r := testenv.Real(t), testenv.Redis(t)
	proxy := testenv.Proxy(t, env.Brokers()[0])
	proxy.Set(t, testenv.BlackHole)
	const lease = 10 * time.Second // the shortest allowed
	short := "SLUICE_DEDUPE_LEASE=10s"
	store := "SLUICE_REDIS_URL=" + r.URL()
	doomed := startProcess(t, env, short, store, "SLUICE_KAFKA_BROKERS="+proxy.Addr(), "SLUICE_REQUEST_TIMEOUT=3s")
	heir := startProcess(t, env, short, store)
	request{body: []byte(`{"event_id":"warm","event_type":"email_sent"}`)}.insist(t, heir.url)

	body := []byte(`{"event_id":"orphan","event_type":"email_sent"}`)
	go func() { _, _ = request{body: body}.send(context.WithoutCancel(t.Context()), doomed.url) }()
	testenv.Eventually(t, 5*time.Second, func() error {
		if got := r.CLI(t, "GET", "slu:orphan"); !strings.Contains(got, "pending:") {
			return fmt.Errorf("redis has %q", got)
		}
		return nil
	})
	if x := (request{body: body}).must(t, heir.url); x.code != http.StatusServiceUnavailable {
		t.Errorf("the heir isn't kept out: %+v", x)
	}
	began := time.Now()
	doomed.Kill(t)
	x := request{body: body}.insist(t, heir.url)
	if waited := time.Since(began); x.Status != "published" || waited > lease+5*time.Second {
		t.Errorf("%+v after %v", x, waited)
	}
	if n := len(env.Records(t)); n != 2 {
		t.Errorf("%d records, want 2", n)
	}
}

// TestFrozenServers stops Kafka, then Redis, with SIGSTOP: no answer takes
// longer than two seconds, and nothing is lost or doubled.
func TestFrozenServers(t *testing.T) {
	c := testenv.Kafka(t)
	for _, what := range []string{"kafka", "redis"} {
		t.Run(what, func(t *testing.T) {
			r := testenv.Redis(t)
			env := testenv.RealOn(t, c)
			s := startProcess(t, env, "SLUICE_REDIS_URL="+r.URL())
			l := newLedger()
			ctx, cancel := context.WithCancel(t.Context())
			wg := l.load(ctx, t, 16, s.url)
			sleep(ctx, time.Second)
			freeze, thaw := c.Broker(0).Stop, c.Broker(0).Cont
			if what == "redis" {
				freeze, thaw = r.Stop, r.Cont
			}
			freeze(t)
			sleep(ctx, 5*time.Second) // longer than the sender waits
			thaw(t)
			sleep(ctx, 2*time.Second)
			cancel()
			wg.Wait()
			l.finish(t, env, s)
			if l.worst > 2*time.Second {
				t.Errorf("an answer took %v", l.worst)
			}
		})
	}
}

// TestKilledServers kills Kafka, then Redis, under load and starts them again.
func TestKilledServers(t *testing.T) {
	c := testenv.Kafka(t)
	r := testenv.Redis(t, "--appendonly", "yes")
	env := testenv.RealOn(t, c)
	s := startProcess(t, env, "SLUICE_REDIS_URL="+r.URL())
	l := newLedger()
	ctx, cancel := context.WithCancel(t.Context())
	wg := l.load(ctx, t, 16, s.url)
	sleep(ctx, time.Second)
	c.Broker(0).Kill(t)
	c.Broker(0).Restart(t)
	sleep(ctx, 2*time.Second)
	r.Kill(t)
	sleep(ctx, time.Second)
	r.Restart(t)
	sleep(ctx, 2*time.Second)
	cancel()
	wg.Wait()
	l.finish(t, env, s)
}

// TestKilledUnderLoad kills sluice itself. What it has acknowledged is kept.
// What it had published and not yet marked may come again when the lease is
// over: at most what was in flight, one event a client and kill. The spool
// will close that window.
func TestKilledUnderLoad(t *testing.T) {
	t.Parallel() // it mostly waits
	const clients, kills = 16, 2
	env := testenv.Real(t)
	s := startProcess(t, env, "SLUICE_DEDUPE_LEASE=10s")
	l := newLedger()
	ctx, cancel := context.WithCancel(t.Context())
	wg := l.load(ctx, t, clients, s.url)
	for range kills {
		sleep(ctx, 2*time.Second)
		s.Kill(t)
		s.start(t)
	}
	sleep(ctx, 13*time.Second) // past the leases
	cancel()
	wg.Wait()
	if code := s.Terminate(t, 30*time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	lost, doubled := l.balance(t, env)
	if lost > 0 || doubled > clients*kills || len(l.acked) == 0 {
		t.Errorf("lost %d, doubled %d of %d acknowledged", lost, doubled, len(l.acked))
	}
}

// TestThreeBrokersOneKilled runs on a cluster of three that loses leaders and
// a broker under load.
func TestThreeBrokersOneKilled(t *testing.T) {
	c := testenv.Kafka(t, testenv.WithBrokers(3), testenv.WithConfig("min.insync.replicas", "2"),
		testenv.WithConfig("default.replication.factor", "3"))
	env := testenv.RealOn(t, c)
	s := startProcess(t, env)
	l := newLedger()
	ctx, cancel := context.WithCancel(t.Context())
	wg := l.load(ctx, t, 16, s.url)
	sleep(ctx, time.Second)
	c.Broker(0).Terminate(t) // its leaders move
	c.Broker(0).Restart(t)
	sleep(ctx, time.Second)
	c.Broker(1).Kill(t)
	sleep(ctx, 4*time.Second)
	c.Broker(1).Restart(t)
	sleep(ctx, time.Second)
	cancel()
	wg.Wait()
	l.finish(t, env, s)
}

// TestTerminatedUnderLoad sends SIGTERM while keep-alive clients post without
// pause. A request that was begun gets its answer.
func TestTerminatedUnderLoad(t *testing.T) {
	env := testenv.Real(t)
	s := startProcess(t, env)
	l := newLedger()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var cut []error
	for c := range 64 {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}
			defer client.CloseIdleConnections()
			for i := 0; ctx.Err() == nil; i++ {
				id := fmt.Sprintf("c%d-%d", c, i)
				a, err := request{body: fmt.Appendf(nil, `{"event_id":%q,"event_type":"email_sent"}`, id), client: client}.send(ctx, s.url)
				if err != nil {
					if !refused(err) {
						mu.Lock()
						cut = append(cut, err)
						mu.Unlock()
					}
					return
				}
				l.note(id, a)
			}
		})
	}
	sleep(ctx, 2*time.Second)
	began := time.Now()
	if code := s.Terminate(t, 30*time.Second); code != 0 {
		t.Errorf("exit code %d\n%s", code, s.Logs())
	}
	t.Logf("ended %v after SIGTERM", time.Since(began))
	wg.Wait()
	if len(cut) > 0 {
		t.Errorf("%d requests were cut off, such as: %v", len(cut), cut[0])
	}
	l.check(t, env)
}

// refused reports whether a connection could not be opened, which is what a
// client gets from a server that has gone.
func refused(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// TestStartWithoutServers starts with neither Kafka nor Redis there.
func TestStartWithoutServers(t *testing.T) {
	t.Parallel() // it mostly waits
	c := testenv.Kafka(t, testenv.WithProxies())
	r := testenv.Redis(t)
	kafka, redis := c.Broker(0).Proxy(), testenv.Proxy(t, r.Addr())
	kafka.Set(t, testenv.Refuse)
	redis.Set(t, testenv.Refuse)
	env := testenv.RealOn(t, c)
	s := startProcess(t, env, "SLUICE_REDIS_URL=redis://"+redis.Addr()+"/0")
	body := []byte(`{"event_id":"early","event_type":"email_sent"}`)
	if a := (request{body: body}).must(t, s.url); a.code != http.StatusServiceUnavailable || a.retryAfter == "" {
		t.Errorf("without Kafka: %+v", a)
	}
	kafka.Set(t, testenv.Pass)
	if a := (request{body: body}).insist(t, s.url); a.Status != "published" {
		t.Errorf("without Redis: %+v", a)
	}
	if a := (request{body: body}).insist(t, s.url); a.Status != "duplicate" {
		t.Errorf("again, still without Redis: %+v", a)
	}
	redis.Set(t, testenv.Pass)
	testenv.Eventually(t, 10*time.Second, func() error {
		if got := strings.TrimSpace(r.CLI(t, "GET", "slu:early")); !strings.Contains(got, "done") {
			return fmt.Errorf("redis has %q", got)
		}
		return nil
	})
	got := env.Records(t)
	if len(got) != 1 {
		t.Fatalf("%d records, want 1", len(got))
	}
	if v, _ := got[0].Header("sluice-dedupe"); v != "skipped" {
		t.Errorf("sluice-dedupe = %q", v)
	}
	s.Signal(t, syscall.SIGTERM)
	if code := s.Wait(t, 30*time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestWrongRedisPasswordRefusesToStart(t *testing.T) {
	r := testenv.Redis(t, "--requirepass", "right")
	env := testenv.Fake(t)
	p := testenv.Process(t, testenv.Binary(t, "./cmd/sluice"),
		settings(env, "SLUICE_REDIS_URL="+r.URL(), "SLUICE_REDIS_PASSWORD=wrong"), "serve")
	if code := p.Wait(t, 20*time.Second); code != exitFailure {
		t.Errorf("exit code %d\n%s", code, p.Logs())
	}
	if !strings.Contains(p.Logs(), "WRONGPASS") || strings.Contains(p.Logs(), "=wrong") {
		t.Errorf("log:\n%s", p.Logs())
	}
}

// TestBusyPort wants a message that names the port.
func TestBusyPort(t *testing.T) {
	env := testenv.Fake(t)
	s := serve(t, settings(env))
	addr := strings.TrimSuffix(strings.TrimPrefix(s.url, "http://"), "/webhook")
	var stderr logWatch
	code := run(t.Context(), []string{"serve"}, &process{environ: settings(env, "SLUICE_LISTEN="+addr), stdout: os.Stdout, stderr: &stderr})
	if code != exitFailure || !strings.Contains(stderr.String(), addr) {
		t.Errorf("code %d:\n%s", code, stderr.String())
	}
}
