package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice/internal/testenv"
)

// Killed at any moment and gone on with, an import has written every line once and marked it, and nothing that Redis had.
func TestImportKilled(t *testing.T) { //nolint:tparallel // its parts run one after another
	t.Parallel() // it mostly waits
	onBoth(t, func(t *testing.T, env *testenv.Env) {
		const n = 3000
		redis, topic := newRedisOf(t, env), env.Topic("email_sent")
		createTopic(t, env, topic)
		var lines strings.Builder
		for i := range n {
			fmt.Fprintf(&lines, `{"event_id":"e%d","object_type":"email","metric":"sent","data":{"identifiers":{"id":"c%d"}}}`+"\n", i, i%20)
			switch i % 10 {
			case 0:
				redis.put(fmt.Sprint("e", i), "done")
			case 1:
				redis.put(fmt.Sprint("e", i), "done:dl")
			}
		}
		file := filepath.Join(t.TempDir(), "bodies.ndjson")
		if err := os.WriteFile(file, []byte(lines.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		client, err := kgo.NewClient(kgo.SeedBrokers(env.Brokers()...))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		admin := kadm.NewClient(client)
		binary, args := testenv.Binary(t, "./cmd/sluice"), []string{"import", file, "--dedupe", "--rate=3000"}
		for killed := range 5 {
			p := testenv.Process(t, binary, environment(env, ""), args...)
			until := held(t, admin, topic) + 1 + rand.Int64N(300)
			testenv.Eventually(t, 60*time.Second, func() error {
				select {
				case <-p.Exited():
					t.Fatalf("it ended after %d kills:\n%s", killed, p.Logs())
				default:
				}
				if held(t, admin, topic) < until {
					return errNotYet
				}
				return nil
			})
			p.Kill(t)
			if killed == 0 {
				args = append(args, "--resume")
			}
		}
		p := testenv.Process(t, binary, environment(env, ""), args...)
		if code := p.Wait(t, 60*time.Second); code != exitOK {
			t.Fatalf("exit code %d:\n%s", code, p.Logs())
		}
		times := map[string]int{}
		for _, r := range env.Records(t, topic) {
			id, _ := r.Header("ce_id")
			times[id]++
		}
		marks := redis.all()
		for i := range n {
			id, want := fmt.Sprint("e", i), 1
			if i%10 == 0 {
				want = 0
			}
			if times[id] != want || marks["slu:"+id] != "done" {
				t.Errorf("%s is there %d times, want %d, and marked %q", id, times[id], want, marks["slu:"+id])
			}
		}
	})
}
