// Package examples holds no code: its folders are consumers to start from, and its test runs each of them.
package examples

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"sluice/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// wait bounds what takes seconds on an idle machine.
const wait = time.Minute

// language is a consumer: its folder, and the command of README.md that runs it there.
type language struct {
	name    string
	need    []testenv.Server
	folder  string
	files   []string // what the command needs of the folder, beside what .ci/examples has put there
	command string
}

func languages() []language {
	return []language{
		{name: "go", command: "go run ./docs/examples/subscriber"},
		{
			name: "python", need: []testenv.Server{testenv.ServerPython}, folder: "python",
			files: []string{"subscriber.py"}, command: ".venv/bin/python subscriber.py",
		},
		{
			name: "typescript", need: []testenv.Server{testenv.ServerNode}, folder: "typescript",
			files: []string{"package.json", "subscriber.ts"}, command: "node subscriber.ts",
		},
	}
}

// TestReadme checks that every command in README.md is one that TestConsumers runs, or that .ci/examples has run for it.
func TestReadme(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	run := map[string]bool{}
	for _, l := range languages() {
		run[l.command] = false
	}
	for line := range strings.SplitSeq(read(filepath.Join("..", "..", ".ci", "examples")), "\n") {
		run[strings.TrimSpace(line)] = true
	}
	_, rest, found := strings.Cut(read("README.md"), "```sh\n")
	for found {
		var block string
		block, rest, _ = strings.Cut(rest, "\n```\n")
		for command := range strings.SplitSeq(block, "\n") {
			if _, ok := run[command]; !ok {
				t.Errorf("README.md: nobody runs %q", command)
			}
			run[command] = true
		}
		_, rest, found = strings.Cut(rest, "```sh\n")
	}
	for _, l := range languages() {
		if !run[l.command] {
			t.Errorf("README.md doesn't have %q", l.command)
		}
	}
}

// TestConsumers runs each consumer as a process on the real broker: it prints every event once and exactly, loses nothing to
// a kill, leaves what it has committed alone, and ends in good order.
func TestConsumers(t *testing.T) {
	t.Parallel()
	kafka := testenv.SharedKafka(t)
	for _, l := range languages() {
		t.Run(l.name, func(t *testing.T) {
			testenv.Need(t, l.need...)
			t.Parallel() // they mostly wait
			c := &consumer{
				command: l.install(t), group: "example-" + l.name, prefix: l.name + "_",
				admin: kafka.Admin(t), brokers: kafka.Bootstrap(), producer: newProducer(t, kafka.Bootstrap()),
			}
			for _, topic := range c.topics() {
				kafka.CreateTopic(t, topic, 2, nil)
			}
			c.test(t)
		})
	}
}

// install returns the command with whole paths, in a folder of its own that has the packages beside the files.
func (l language) install(t *testing.T) []string {
	t.Helper()
	if l.folder == "" {
		return []string{testenv.Binary(t, "./docs/examples/subscriber")}
	}
	dir, made := t.TempDir(), filepath.Join(testenv.Examples(), l.folder)
	for _, name := range l.files {
		text, err := os.ReadFile(filepath.Join(l.folder, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{".venv", "node_modules"} {
		if _, err := os.Stat(filepath.Join(made, name)); err != nil {
			continue
		}
		if err := os.Symlink(filepath.Join(made, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	program, file, _ := strings.Cut(l.command, " ")
	if strings.Contains(program, "/") {
		program = filepath.Join(dir, program)
	} else {
		program = filepath.Join(testenv.Examples(), "bin", program)
	}
	return []string{program, filepath.Join(dir, file)}
}

// eventTypes is what the consumers are asked to read.
var eventTypes = []string{"email_sent", "push_opened", "unsubscribed"}

// consumer is one of the consumers, and what the test needs around it.
type consumer struct {
	command       []string
	group, prefix string
	brokers       []string
	admin         *kadm.Client
	producer      *kgo.Client
}

func (c *consumer) topics() (topics []string) {
	for _, eventType := range eventTypes {
		topics = append(topics, c.prefix+eventType)
	}
	return topics
}

func (c *consumer) start(t *testing.T) *testenv.Proc {
	t.Helper()
	return testenv.Process(t, c.command[0], []string{
		"KAFKA_BROKERS=" + strings.Join(c.brokers, ","), "GROUP=" + c.group, "TOPIC_PREFIX=" + c.prefix,
		"EVENT_TYPES=" + strings.Join(eventTypes, ","), "HOME=" + t.TempDir(),
	}, c.command[1:]...)
}

func (c *consumer) test(t *testing.T) {
	before := c.produce(t, "before", 300)
	first := c.start(t)
	c.await(t, before, first)
	c.awaitCommits(t)

	// Killed in the middle of what comes next.
	during := map[string]string{}
	produced := make(chan struct{})
	go func() {
		defer close(produced)
		during = c.produce(t, "during", 1000)
	}()
	testenv.Eventually(t, wait, func() error {
		if !strings.Contains(first.Logs(), "-during-") {
			return fmt.Errorf("printed:\n%s", last(first.Logs()))
		}
		return nil
	})
	first.Kill(t)
	<-produced
	c.evict(t) // instead of waiting until the dead member's session ends

	second := c.start(t)
	after := c.produce(t, "after", 50)
	c.await(t, after, second)
	c.await(t, during, first, second)
	if n := strings.Count(second.Logs(), "-before-"); n > 0 {
		t.Errorf("%d events were printed again that had been committed", n)
	}
	c.awaitCommits(t)
	if code := second.Terminate(t, wait); code != 0 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
	groups, err := c.admin.DescribeGroups(t.Context(), c.group)
	if err != nil || len(groups[c.group].Members) > 0 {
		t.Errorf("the group is left with %v, %v", groups[c.group].Members, err)
	}
}

// produce writes n events over all topics, some of them twice with the same ce_id, and returns the line for each id: that
// of its first record.
func (c *consumer) produce(t *testing.T, name string, n int) map[string]string {
	var records []*kgo.Record
	for i := range n {
		eventType := eventTypes[i%len(eventTypes)]
		id := fmt.Sprintf("event-%s-%d", name, i)
		// Ids of all kinds: a number that no float64 holds, a string, none, and a body that isn't JSON.
		body := fmt.Sprintf([]string{
			`{"event_id":%q,"data":{"campaign_id":9007199254740993}}`, `{"event_id":%q,"data":{"campaign_id":"17"}}`,
			`{"event_id":%q,"data":{"campaign_id":null}}`, `{"event_id":%q,"data":`,
		}[i%4], id)
		for range 1 + i%5/4 {
			records = append(records, &kgo.Record{
				Topic: c.prefix + eventType, Key: fmt.Appendf(nil, "person-%d", i%7), Value: []byte(body),
				Headers: []kgo.RecordHeader{{Key: "event-type", Value: []byte(eventType)}, {Key: "ce_id", Value: []byte(id)}},
			})
		}
	}
	lines := map[string]string{}
	for _, result := range c.producer.ProduceSync(context.WithoutCancel(t.Context()), records...) {
		if result.Err != nil {
			t.Error(result.Err)
			continue
		}
		r := result.Record
		id := string(r.Headers[1].Value)
		campaign := "-"
		switch {
		case strings.Contains(string(r.Value), "9007199254740993"):
			campaign = "9007199254740993"
		case strings.Contains(string(r.Value), `"17"`):
			campaign = "17"
		}
		line := fmt.Sprintf("%s  %-16s  customer %-12q  campaign %-6s  %s  %s[%d]@%d", r.Timestamp.UTC().Format(time.TimeOnly),
			r.Headers[0].Value, r.Key, campaign, id, r.Topic, r.Partition, r.Offset)
		lines[id] = cmp.Or(lines[id], line)
	}
	return lines
}

// await waits until the processes have printed every line, and checks that none has printed one twice.
func (c *consumer) await(t *testing.T, lines map[string]string, processes ...*testenv.Proc) {
	t.Helper()
	testenv.Eventually(t, wait, func() error {
		printed := map[string]bool{}
		for _, p := range processes {
			for line := range strings.Lines(p.Logs()) {
				printed[strings.TrimSuffix(line, "\n")] = true
			}
		}
		for id, line := range lines {
			if !printed[line] {
				return fmt.Errorf("%s isn't printed: want\n%s\nafter\n%s", id, line, last(processes[len(processes)-1].Logs()))
			}
		}
		return nil
	})
	for _, p := range processes {
		var ids []string
		for line := range strings.Lines(p.Logs()) {
			for word := range strings.FieldsSeq(line) {
				if strings.HasPrefix(word, "event-") {
					ids = append(ids, word)
				}
			}
		}
		slices.Sort(ids)
		if unique := slices.Compact(slices.Clone(ids)); len(unique) != len(ids) {
			t.Errorf("%d lines of %d events in one life", len(ids), len(unique))
		}
	}
}

// awaitCommits waits until the group has committed everything that the topics hold.
func (c *consumer) awaitCommits(t *testing.T) {
	t.Helper()
	testenv.Eventually(t, wait, func() error {
		ends, err := c.admin.ListEndOffsets(t.Context(), c.topics()...)
		if err != nil {
			return err
		}
		committed, err := c.admin.FetchOffsets(t.Context(), c.group)
		if err != nil {
			return err
		}
		for _, end := range ends.Offsets().Sorted() {
			if at, _ := committed.Lookup(end.Topic, end.Partition); at.At != end.At && end.At > 0 {
				return fmt.Errorf("%s[%d]: %d is committed of %d", end.Topic, end.Partition, at.At, end.At)
			}
		}
		return nil
	})
}

// evict removes the members of the group.
func (c *consumer) evict(t *testing.T) {
	t.Helper()
	groups, err := c.admin.DescribeGroups(t.Context(), c.group)
	if err != nil {
		t.Fatal(err)
	}
	request := kmsg.NewPtrLeaveGroupRequest()
	request.Group = c.group
	for _, member := range groups[c.group].Members {
		leaving := kmsg.NewLeaveGroupRequestMember()
		leaving.MemberID = member.MemberID
		request.Members = append(request.Members, leaving)
	}
	if _, err := request.RequestWith(t.Context(), c.producer); err != nil {
		t.Fatal(err)
	}
}

func newProducer(t *testing.T, brokers []string) *kgo.Client {
	t.Helper()
	producer, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(producer.Close)
	return producer
}

// last is the end of an output.
func last(text string) string { return text[max(0, len(text)-1500):] }
