package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/testenv"
)

// redisTrouble is a way in which a real Redis stops doing what is asked of it.
type redisTrouble struct {
	name string
	args []string // of redis-server
	// begin begins it, end ends it; both may wait.
	begin, end func(t *testing.T, r *troubledRedis)
	kinds      []string // labels of sluice_redis_errors_total, any of which tells it
	forgets    bool     // Redis comes back without its data
}

type troubledRedis struct {
	*testenv.RedisServer
	proxy  *testenv.TCPProxy
	dir    string        // of its data
	loaded chan struct{} // closed when it has loaded its data
}

func redisTroubles() []redisTrouble {
	type r = *troubledRedis
	cli := func(commands ...string) func(*testing.T, r) {
		return func(t *testing.T, r r) {
			for _, c := range commands {
				r.CLI(t, strings.Fields(c)...)
			}
		}
	}
	return []redisTrouble{
		{
			name: "killed", kinds: []string{"dial", "connection"}, forgets: true,
			begin: func(t *testing.T, r r) { r.Kill(t) },
			end:   func(t *testing.T, r r) { r.Restart(t) },
		}, {
			name: "killed and restarted from its log", kinds: []string{"dial", "connection"}, args: []string{"--appendonly", "yes"},
			begin: func(t *testing.T, r r) { r.Kill(t) },
			end:   func(t *testing.T, r r) { r.Restart(t) },
		}, {
			name: "stopped", kinds: []string{"timeout"},
			begin: func(t *testing.T, r r) { r.Stop(t) },
			end:   func(t *testing.T, r r) { r.Cont(t) },
		}, {
			name: "black hole", kinds: []string{"timeout"},
			begin: func(t *testing.T, r r) { r.proxy.Set(t, testenv.BlackHole) },
			end:   func(t *testing.T, r r) { r.proxy.Set(t, testenv.Pass) },
		}, {
			name: "replica", kinds: []string{"readonly"},
			begin: cli("REPLICAOF 127.0.0.1 1"), end: cli("REPLICAOF NO ONE"),
		}, {
			name: "full", kinds: []string{"oom"}, args: []string{"--maxmemory-policy", "noeviction"},
			begin: cli("CONFIG SET maxmemory 1"), end: cli("CONFIG SET maxmemory 0"),
		}, {
			name: "loading", kinds: []string{"loading"},
			args: []string{"--enable-debug-command", "yes", "--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024"},
			begin: func(t *testing.T, r r) {
				r.CLI(t, "DEBUG", "POPULATE", "4000", "other", "1000")
				port := r.Addr()[strings.LastIndexByte(r.Addr(), ':')+1:]
				reload := exec.CommandContext(t.Context(), "redis-cli", "-p", port, "DEBUG", "RELOAD")
				go func() {
					defer close(r.loaded)
					_ = reload.Run()
				}()
			},
			end: func(_ *testing.T, r r) { <-r.loaded },
		}, {
			name: "can't persist", kinds: []string{"misconf"}, args: []string{"--save", "3600 1"},
			begin: func(t *testing.T, r r) {
				if err := os.RemoveAll(r.dir); err != nil {
					t.Fatal(err)
				}
				r.CLI(t, "SET", "other", "1")
				r.CLI(t, "BGSAVE")
				testenv.Eventually(t, 20*time.Second, func() error {
					if !strings.Contains(r.CLI(t, "INFO", "persistence"), "rdb_last_bgsave_status:err") {
						return errors.New("it has saved")
					}
					return nil
				})
			},
			end: cli("CONFIG SET stop-writes-on-bgsave-error no"),
		}, {
			name: "password changed", kinds: []string{"auth"},
			begin: cli("ACL SETUSER sluice resetpass >other", "CLIENT KILL USER sluice"), end: cli("ACL SETUSER sluice >pw"),
		}, {
			name: "right taken", kinds: []string{"permission"},
			begin: cli("ACL SETUSER sluice -set"), end: cli("ACL SETUSER sluice +set"),
		},
	}
}

// TestRedisTrouble breaks a real Redis under two instances, one of which accepts without it (the default) and one doesn't:
// every answer is the one that DESIGN.md names and comes in time, no event is stored twice, the metrics name the kind, and
// everything heals by itself.
func TestRedisTrouble(t *testing.T) {
	t.Parallel() // it mostly waits
	for _, trouble := range redisTroubles() {
		t.Run(trouble.name, func(t *testing.T) {
			t.Parallel()
			redisTroubled(t, trouble)
		})
	}
}

func redisTroubled(t *testing.T, trouble redisTrouble) {
	env := testenv.Fake(t) // for its Kafka
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"--dir", dir, "--user", "sluice", "on", ">pw", "~slu:*", "+set", "+get", "+eval", "+del", "+pexpire"}, trouble.args...)
	r := &troubledRedis{RedisServer: testenv.Redis(t, args...), dir: dir, loaded: make(chan struct{})}
	r.proxy = testenv.Proxy(t, r.Addr())
	url := "SLUICE_REDIS_URL=redis://sluice:pw@" + r.proxy.Addr()
	open := serve(t, settings(env, url, "SLUICE_INSTANCE=open"))
	closed := serve(t, settings(env, url, "SLUICE_INSTANCE=closed", "SLUICE_DEDUPE_WHEN_DOWN=closed"))
	event := func(id string) request {
		return request{body: fmt.Appendf(nil, `{"event_id":%q,"event_type":"email_sent"}`, id)}
	}
	// post wants an answer in time and 200, or 503 where that may be.
	post := func(s *running, id string, may503 bool) answer {
		t.Helper()
		a := event(id).must(t, s.url)
		right := a.code == http.StatusOK || may503 && a.code == http.StatusServiceUnavailable && a.retryAfter != ""
		if !right || a.took > 2500*time.Millisecond {
			t.Errorf("%s: %+v", id, a)
		}
		return a
	}
	up := func(s *running, want string) {
		t.Helper()
		testenv.Eventually(t, 30*time.Second, func() error {
			if !strings.Contains(scrape(t, s.admin), "\nsluice_redis_up "+want+"\n") {
				return errors.New("sluice_redis_up isn't " + want)
			}
			return nil
		})
	}
	events := []string{"before"}
	if a := event("before").insist(t, open.url); a.Status != "published" {
		t.Errorf("%+v", a)
	}
	if a := event("before").insist(t, closed.url); a.Status != "duplicate" {
		t.Errorf("%+v", a)
	}

	trouble.begin(t, r)
	for _, s := range []*running{open, closed} {
		told := func() bool {
			text := scrape(t, s.admin)
			return slices.ContainsFunc(trouble.kinds, func(kind string) bool {
				line := "sluice_redis_errors_total{kind=\"" + kind + "\"} "
				return strings.Contains(text, line) && !strings.Contains(text, line+"0\n")
			})
		}
		deadline := time.Now().Add(30 * time.Second)
		for i := 0; !told(); i++ {
			if time.Now().After(deadline) {
				t.Fatalf("no error of kind %q", trouble.kinds)
			}
			id := fmt.Sprintf("during-%t-%d", s == open, i)
			post(s, id, s == closed)
			events = append(events, id)
		}
	}
	// This instance remembers its own.
	for _, id := range []string{"during-true-0", "before"} {
		if a := post(open, id, false); a.Status != "duplicate" {
			t.Errorf("%s again: %+v", id, a)
		}
	}

	trouble.end(t, r)
	up(open, "1")
	up(closed, "1")
	for _, id := range events {
		for _, s := range []*running{closed, open} {
			if a := event(id).insist(t, s.url); a.code != http.StatusOK {
				t.Errorf("%s afterwards: %+v", id, a)
			}
		}
		testenv.Eventually(t, 30*time.Second, func() error {
			if got := r.CLI(t, "GET", "slu:"+id); got != "done" {
				return fmt.Errorf("%s holds %q", id, got)
			}
			return nil
		})
	}
	if trouble.forgets {
		repaired(t, "lost", open.admin, closed.admin) // whoever is first
	}
	count := map[string]int{}
	for _, x := range env.Records(t) {
		id, _ := x.Header("ce_id")
		count[id]++
	}
	for _, id := range events {
		if count[id] != 1 {
			t.Errorf("%d records of %s", count[id], id)
		}
	}
}
