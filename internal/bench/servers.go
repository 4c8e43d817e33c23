package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"sluice/internal/testenv"
)

// allTypes is how many types the AsyncAPI document describes.
const allTypes = 17

// bedOptions are the flags that both modes have.
type bedOptions struct {
	binary     string
	partitions int
	types      int
	settings   []string // SLUICE_...=value
}

func (o *bedOptions) flags(set *flag.FlagSet) {
	set.Func("sluice", "`path` of a sluice binary to measure instead of building this tree's", absolute(&o.binary))
	set.IntVar(&o.partitions, "partitions", -1, "partitions of each topic; -1: the broker's default, which is 1 here")
	set.IntVar(&o.types, "types", allTypes, "event types in turn, and so topics; 4: sent, delivered, opened and clicked e-mails")
	set.Func("set", "`SLUICE_NAME=value`: an environment variable for sluice (may be repeated; leave its log at info or below, which tells its address)", func(setting string) error {
		o.settings = append(o.settings, setting)
		return nil
	})
}

// absolute sets a flag to the whole path: servers have folders of their own.
func absolute(to *string) func(string) error {
	return func(path string) (err error) {
		*to, err = filepath.Abs(path)
		return err
	}
}

// startWait bounds the wait for a server, or for topics, to be there.
const startWait = 60 * time.Second

// bed is the servers that sluice stands on.
type bed struct {
	stage   *stage
	options bedOptions
	kafka   *testenv.Cluster
	redis   *testenv.RedisServer
	events  events
	ledgers uint64 // how many there are
}

// newBed starts Kafka and Redis.
func newBed(s *stage, o bedOptions) *bed {
	testenv.Need(s, testenv.ServerKafka, testenv.ServerRedis, testenv.ServerKcat)
	b := &bed{stage: s, options: o, events: newEvents(o.types)}
	if o.binary == "" {
		b.options.binary = buildSluice(s)
	}
	// Both of Java's compilers, as in production; testenv's own choice is for quick starts.
	b.kafka = testenv.Kafka(s, testenv.WithJVM("-Xms1g", "-Xmx1g", "-XX:TieredStopAtLevel=4"))
	b.redis = testenv.Redis(s)
	return b
}

// buildSluice builds this tree's cmd/sluice, with that module's own dependencies, and returns the binary's path.
func buildSluice(s *stage) string {
	root, err := exec.CommandContext(s.ctx, "go", "list", "-m", "-f", "{{.Dir}}", "sluice").Output()
	if err != nil {
		s.Fatalf("looking for sluice's source (run this in internal/bench): %v", err)
	}
	binary := filepath.Join(s.TempDir(), "sluice")
	cmd := exec.CommandContext(s.ctx, "go", "build", "-trimpath", "-o", binary, "./cmd/sluice") //nolint:gosec // a developer's own tools
	cmd.Dir = strings.TrimSpace(string(root))
	if output, err := cmd.CombinedOutput(); err != nil {
		s.Fatalf("building sluice: %v: %s", err, output)
	}
	return binary
}

// server is a process that answers webhooks.
type server struct {
	name  string
	addr  string
	admin string // base URL of sluice's other port
	proc  *testenv.Proc
	again reuse // it keeps nothing
	plain bool  // its 200 doesn't say "published"
}

// startNoop starts the server of comparison.
func startNoop(s *stage) *server {
	self, err := os.Executable()
	s.must(err)
	proc := testenv.Process(s, self, nil, noopMode)
	line := proc.WaitLog(s, startWait, "noop listens on ")
	return &server{name: "noop", addr: line[strings.LastIndexByte(line, ' ')+1:], proc: proc, again: true}
}

// startSluice starts `sluice serve` on topics of its own, and waits until an event of every type is kept.
func (b *bed) startSluice(binary, prefix string, settings ...string) (*server, *ledger) {
	s := b.stage
	proc := testenv.Process(s, binary, b.environ(prefix, settings...), "serve")
	var line struct{ Webhook, Admin string }
	s.must(json.Unmarshal([]byte(proc.WaitLog(s, startWait, `"msg":"listening"`)), &line))
	at, err := url.Parse(line.Webhook)
	s.must(err)
	kept := b.ledger(prefix)
	target := &server{name: "sluice", addr: at.Host, admin: line.Admin, proc: proc}
	b.prime(target, kept)
	return target, kept
}

// environ is the settings of a sluice on topics with that prefix; of a name that is there twice the last one holds.
func (b *bed) environ(prefix string, settings ...string) []string {
	env := []string{
		"SLUICE_LISTEN=127.0.0.1:0", "SLUICE_ADMIN_LISTEN=127.0.0.1:0", "SLUICE_LOG_FORMAT=json", "SLUICE_INSTANCE=bench",
		"SLUICE_SIGNING_KEYS=bench=" + signingKey,
		"SLUICE_KAFKA_BROKERS=" + strings.Join(b.kafka.Bootstrap(), ","),
		"SLUICE_REDIS_URL=" + b.redis.URL(),
		"SLUICE_TOPIC=" + prefix + "_{event_type}",
		"SLUICE_DEAD_LETTER_TOPIC=" + prefix + "_dead_letter", "SLUICE_OVERFLOW_TOPIC=" + prefix + "_other",
		fmt.Sprintf("SLUICE_PARTITIONS=%d", b.options.partitions),
		"SLUICE_SPOOL_DIR=" + b.stage.TempDir(),
	}
	return append(append(env, b.options.settings...), settings...)
}

// prime sends an event of every type, again and again until it is kept: the topics are being created.
func (b *bed) prime(target *server, kept *ledger) {
	s := b.stage
	ctx, cancel := context.WithTimeout(s.ctx, startWait)
	defer cancel()
	all, err := clients(ctx, target.addr, 1, time.Now().Add(startWait))
	s.must(err)
	defer hangUp(all)
	r := new(requests)
	kept.fill(r, len(b.events.types))
	for i := range r.len() {
		testenv.Eventually(s, startWait, func() error {
			o, err := all[0].exchange(r.at(i))
			r.outcomes[i] = o
			if err == nil && !o.kept() {
				return fmt.Errorf("event %d of %d was answered %d", i+1, r.len(), o)
			}
			return err
		})
	}
	kept.add(r)
}

// ledger is a new ledger for events on the topics with that prefix.
func (b *bed) ledger(prefix string) *ledger {
	b.ledgers++
	return &ledger{events: b.events, prefix: prefix, first: b.ledgers << ledgerBits}
}

// complaints shows what sluice logged above "info" if it answered anything but "published": the reason is there.
func complaints(s *stage, sluice *server, kept *ledger) {
	codes := kept.codes()
	if len(codes) == 1 && codes[published] > 0 {
		return
	}
	const enough = 20
	shown := 0
	for line := range strings.Lines(sluice.proc.Logs()) {
		if !strings.Contains(line, `"level":"info"`) && shown < enough {
			s.Log("sluice: ", strings.TrimSpace(line))
			shown++
		}
	}
}

// end shuts sluice down in good order, once none of its events is only on disk.
func (b *bed) end(target *server) {
	s := b.stage
	testenv.Eventually(s, startWait, func() error {
		values, err := scrape(s.ctx, target.admin)
		if n := values["sluice_spool_events"]; err == nil && n > 0 {
			err = fmt.Errorf("%.0f events are still on disk", n)
		}
		return err
	})
	if code := target.proc.Terminate(s, startWait); code != 0 {
		s.Fatalf("sluice ended with exit code %d", code)
	}
}

// finish shuts sluice down and compares its topics with what it acknowledged. A difference ends the run.
func (b *bed) finish(target *server, kept *ledger) finding {
	s := b.stage
	b.end(target)
	found := newFinding(kept)
	for _, topic := range b.kafka.Topics(s, kept.prefix+"_") {
		s.must(readTopic(s.ctx, b.kafka.Bootstrap(), topic, func(value []byte) { found.record(topic, value) }))
	}
	found.conclude()
	if found.bad() {
		s.Fatalf("the topics don't hold what was acknowledged: %s", found)
	}
	return *found
}

// meters are the processes whose processor time counts.
func (b *bed) meters(target *server) meters {
	m := meters{{"server", target.proc.Pid()}, {"redis", b.redis.Pid()}, {"generator", os.Getpid()}}
	if broker := b.kafka.Broker(0); broker.Running() {
		m = append(m, meter{"kafka", broker.Pid()})
	}
	return m
}
