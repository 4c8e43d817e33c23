package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"sluice/internal/testenv"
)

// subscribers are members of one group, in processes of their own.
type subscribers struct {
	*testing.T
	env   *testenv.Env
	group string
	hook  *webhook
}

func (s *subscribers) start() *testenv.Proc {
	s.Helper()
	environ := tailSettings(s.env, "SLUICE_SIGNING_KEYS="+webhookKey, "SLUICE_PARTITIONS=1", "SLUICE_REPLICATION=1")
	return testenv.Process(s, testenv.Binary(s, "./cmd/sluice"), environ, "subscribe", "--group", s.group, "--http", s.hook.URL,
		"--session", "6s", "--max-wait", "100ms", "email_sent", "email_opened")
}

// write appends events of several people to both topics, and returns their ids.
func (s *subscribers) write(w *tailWriter, from, to int) (ids []string) {
	for n := from; n < to; n++ {
		for _, topic := range []string{"email_sent", "email_opened"} {
			id := fmt.Sprintf("k%d-%s-%d", n%10, topic, n)
			w.writeFor(s.env.Topic(topic), topic, id, fmt.Sprint("k", n%10))
			ids = append(ids, id)
		}
	}
	return ids
}

// eventually waits until the handler has accepted exactly these events, some of them perhaps again.
func (s *subscribers) eventually(want []string) {
	s.Helper()
	slices.Sort(want)
	testenv.Eventually(s, time.Minute, func() error {
		got := slices.Compact(slices.Sorted(slices.Values(s.hook.accepted())))
		if !slices.Equal(got, want) {
			return fmt.Errorf("%d of %d events accepted", len(got), len(want))
		}
		return nil
	})
}

// inOrder checks that each key's events were first accepted in the order of their offsets.
func (s *subscribers) inOrder() {
	s.Helper()
	seen := make(map[string]bool)
	last := make(map[postPlace]int64)
	for i, id := range s.hook.ids {
		if seen[id] {
			continue
		}
		seen[id] = true
		at := s.hook.where[i]
		offset, err := strconv.ParseInt(at.offset, 10, 64)
		if err != nil {
			s.Fatal(err)
		}
		at.offset = ""
		if before, any := last[at]; any && offset <= before {
			s.Errorf("%s was accepted after offset %d of the same key", id, before)
		}
		last[at] = offset
	}
}

func newSubscribers(t *testing.T, judge func(id string, post int) int) (*subscribers, *tailWriter) {
	t.Helper()
	env := testenv.Real(t)
	w := newTailWriter(t, env, "email_sent", "email_opened")
	return &subscribers{T: t, env: env, group: env.Topic("group"), hook: newWebhook(t, webhookKey, judge)}, w
}

// A handler that fails every fifth post, two members, one of them killed: everything arrives, in the order of each key.
func TestSubscribersKilled(t *testing.T) {
	t.Parallel() // it mostly waits
	s, w := newSubscribers(t, func(string, int) int {
		if rand.N(5) == 0 {
			return []int{http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusBadRequest}[rand.N(3)]
		}
		return http.StatusOK
	})
	want := s.write(w, 0, 50)
	first := s.start()
	first.WaitLog(t, time.Minute, "reading 4 of 4 partitions")
	second := s.start()
	second.WaitLog(t, time.Minute, "reading 2 of 4 partitions")
	want = append(want, s.write(w, 50, 100)...)
	testenv.Eventually(t, time.Minute, func() error {
		if n := len(s.hook.accepted()); n < 110 {
			return fmt.Errorf("%d accepted", n)
		}
		return nil
	})
	first.Kill(t)
	want = append(want, s.write(w, 100, 150)...)
	s.eventually(want)
	if code := second.Terminate(t, time.Minute); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	s.inOrder()
}

// A member that is told to end finishes what is under way: with a handler that is well, nothing arrives twice.
func TestSubscribersHandOver(t *testing.T) {
	t.Parallel() // it mostly waits
	s, w := newSubscribers(t, nil)
	want := s.write(w, 0, 20)
	members := []*testenv.Proc{s.start()}
	members[0].WaitLog(t, time.Minute, "reading 4 of 4 partitions")
	members = append(members, s.start())
	for round := range 3 {
		members[round+1].WaitLog(t, time.Minute, "reading 2 of 4 partitions")
		want = append(want, s.write(w, 20+20*round, 40+20*round)...)
		if code := members[round].Terminate(t, time.Minute); code != exitOK {
			t.Errorf("exit code %d", code)
		}
		members = append(members, s.start())
	}
	s.eventually(slices.Clone(want))
	if got := s.hook.accepted(); len(got) != len(want) {
		t.Errorf("%d posts accepted of %d events", len(got), len(want))
	}
	s.inOrder()
}

// What the handler hasn't answered isn't committed: a member that is killed while it waits for the answer leaves the event
// to the next.
func TestSubscriberKilledBeforeTheAnswer(t *testing.T) {
	t.Parallel() // it mostly waits
	reached := make(chan struct{})
	s, w := newSubscribers(t, func(id string, post int) int {
		if id == "k0-email_sent-0" && post == 1 {
			close(reached)
			<-t.Context().Done() // no answer while the test runs
		}
		return http.StatusOK
	})
	want := s.write(w, 0, 10)
	first := s.start()
	<-reached
	first.Kill(t)
	second := s.start()
	s.eventually(want)
	second.Terminate(t, time.Minute)
}
