package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/testenv"
	"sluice/publisher/balance"
	"sluice/publisher/idempotent"
	"sluice/publisher/spool"
)

// truth is what the clients of one life of a sluice know.
type truth struct {
	mu       sync.Mutex
	begun    int64            // posts with a valid signature
	answered int64            // those of them that have their answer
	answers  map[string]int64 // by status
	kept     map[string]bool  // events that were acknowledged, in all lives
}

func (tr *truth) now() (begun, answered int64, answers map[string]int64) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.begun, tr.answered, maps.Clone(tr.answers)
}

// next is the truth at the beginning of another life.
func (tr *truth) next() *truth { return &truth{answers: map[string]int64{}, kept: tr.kept} }

// load posts from n clients until ctx ends: events of two types and bodies that are none, every fifth of them again later, and
// some with a wrong signature. What isn't acknowledged is sent again.
func (tr *truth) load(ctx context.Context, t *testing.T, n int, name, url string) *sync.WaitGroup {
	t.Helper()
	var wg sync.WaitGroup
	for c := range n {
		wg.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}
			defer client.CloseIdleConnections()
			for i := 0; ctx.Err() == nil; i++ {
				id := fmt.Sprintf("%s-%d-%d", name, c, i-i%5/4*3) // the fifth is the second again
				body := fmt.Appendf(nil, `{"event_id":%q,"event_type":"email_%s","data":{"identifiers":{"id":"p%d"}}}`, id, []string{"sent", "opened"}[c%2], i%7)
				if i%10 == 3 {
					body = fmt.Appendf(nil, `{"event_id":%q}`, id)
				}
				if i%10 == 7 {
					if a, err := (request{body: body, key: "wrong", client: client}).send(t.Context(), url); err == nil && a.code != http.StatusUnauthorized {
						t.Errorf("a wrong signature: %+v", a)
					}
				}
				for ctx.Err() == nil && !tr.post(t.Context(), request{body: body, client: client}, id, url) {
					sleep(ctx, 20*time.Millisecond)
				}
			}
		})
	}
	return &wg
}

// post sends one event once.
func (tr *truth) post(ctx context.Context, r request, id, url string) (kept bool) {
	tr.mu.Lock()
	tr.begun++
	tr.mu.Unlock()
	a, err := r.send(ctx, url)
	if err != nil {
		return false // a sluice that was killed
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.answered++
	tr.answers[a.Status]++
	if a.code == http.StatusOK {
		tr.kept[id] = true
	}
	return a.code == http.StatusOK
}

// instants takes balances until ctx ends, from /readyz and /metrics in turn, and wants each to hold and to lie between what
// the clients know before and after it.
func (tr *truth) instants(ctx context.Context, t *testing.T, admin string) (taken int) {
	t.Helper()
	for ; ctx.Err() == nil && !t.Failed(); taken++ {
		_, answered, before := tr.now()
		n, err := readBalance(t.Context(), admin, taken%2 == 0)
		if err != nil {
			continue // it is being killed
		}
		begun, _, _ := tr.now()
		holds(t, n)
		if n.Accepted < answered || n.Accepted > begun {
			t.Errorf("%d accepted, with %d answered before and %d begun after", n.Accepted, answered, begun)
		}
		if n.Duplicate < before["duplicate"] {
			t.Errorf("%d duplicates, with %d answered before", n.Duplicate, before["duplicate"])
		}
		if kept := n.Published + n.DeadLettered + n.Spooled - n.Recovered; kept < before["published"]+before["dead_lettered"]+before["spooled"] {
			t.Errorf("%d are kept, with %v answered before", kept, before)
		}
	}
	return taken
}

// holds wants the sum, and no account below zero.
func holds(t *testing.T, n balance.Balance) {
	t.Helper()
	sum := int64(0)
	for _, x := range []int64{n.Published, n.Duplicate, n.DeadLettered, n.Refused, n.Lost, n.Spooled, n.InFlight} {
		sum += x
		if x < 0 {
			t.Errorf("an account is below zero: %+v", n)
		}
	}
	if sum != n.Accepted+n.Recovered {
		t.Errorf("the sum doesn't hold: %+v", n)
	}
}

// check compares a balance with the truth once no request is under way.
func (tr *truth) check(t *testing.T, n balance.Balance) {
	t.Helper()
	holds(t, n)
	begun, _, answers := tr.now()
	if n.Accepted != begun || n.Duplicate != answers["duplicate"] || n.Lost != 0 {
		t.Errorf("%+v, want %d accepted with the answers %v", n, begun, answers)
	}
	// A 503 leaves an event refused, in flight, or kept after all.
	kept := n.Published + n.DeadLettered + n.Spooled - n.Recovered
	if late := kept - answers["published"] - answers["dead_lettered"] - answers["spooled"]; late < 0 || late+n.Refused+n.InFlight != answers["refused"] {
		t.Errorf("%+v, want it to explain the answers %v", n, answers)
	}
}

// readBalance asks a running sluice.
func readBalance(ctx context.Context, admin string, metrics bool) (n balance.Balance, err error) {
	path := "/readyz"
	if metrics {
		path = "/metrics"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, admin+path, http.NoBody)
	if err != nil {
		return n, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return n, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return n, err
	}
	if !metrics {
		var h struct{ Balance *balance.Balance }
		h.Balance = &n
		return n, json.Unmarshal(body, &h)
	}
	for name, to := range map[string]*int64{
		"sluice_accepted_total": &n.Accepted, "sluice_recovered_total": &n.Recovered,
		`sluice_settled_total{as="published"}`: &n.Published, `sluice_settled_total{as="duplicate"}`: &n.Duplicate,
		`sluice_settled_total{as="dead_lettered"}`: &n.DeadLettered, `sluice_settled_total{as="refused"}`: &n.Refused,
		`sluice_settled_total{as="lost"}`: &n.Lost, "sluice_spool_events": &n.Spooled, "sluice_in_flight_events": &n.InFlight,
	} {
		_, rest, found := strings.Cut("\n"+string(body), "\n"+name+" ")
		var value float64
		if _, err := fmt.Sscan(rest, &value); !found || err != nil {
			return n, fmt.Errorf("no %s: %w", name, err)
		}
		*to = int64(value)
	}
	return n, nil
}

// mustBalance is the balance of a running sluice, the same in both places.
func mustBalance(t *testing.T, admin string) balance.Balance {
	t.Helper()
	a, err := readBalance(t.Context(), admin, false)
	if err != nil {
		t.Fatal(err)
	}
	b, err := readBalance(t.Context(), admin, true)
	if err != nil {
		t.Fatal(err)
	}
	if a != b {
		t.Errorf("/readyz says %+v, and /metrics %+v", a, b)
	}
	return a
}

// settled waits until nothing is in flight, nor on disk if drained, and returns the balance.
func settled(t *testing.T, admin string, drained bool) (n balance.Balance) {
	t.Helper()
	testenv.Eventually(t, 2*time.Minute, func() (err error) {
		if n, err = readBalance(t.Context(), admin, false); err == nil && (n.InFlight > 0 || drained && n.Spooled > 0) {
			err = fmt.Errorf("under way: %v", n)
		}
		return err
	})
	return mustBalance(t, admin)
}

// lastBalance is what the log says at the end of a life.
func lastBalance(t *testing.T, logs string) balance.Balance {
	t.Helper()
	var last struct {
		Balance *balance.Balance `json:"balance"`
	}
	for line := range strings.Lines(logs) {
		if strings.Contains(line, `"msg":"balance"`) {
			if err := json.Unmarshal([]byte(line), &last); err != nil {
				t.Fatal(err)
			}
		}
	}
	if last.Balance == nil {
		t.Fatal("no balance in the log")
	}
	holds(t, *last.Balance)
	if warned := strings.Contains(logs, "events are left on disk"); warned != (last.Balance.Spooled > 0) {
		t.Errorf("%d events are left on disk, and the log says so: %t", last.Balance.Spooled, warned)
	}
	return *last.Balance
}

// spooledIn counts the events that an instance's folder holds. Nobody may have it open.
func spooledIn(t *testing.T, dir, instance string) (events int64) {
	t.Helper()
	log, err := spool.Open(spool.Options{Dir: dir, Instance: instance})
	if err != nil {
		t.Fatal(err)
	}
	err = log.Entries(func(e spool.Entry) {
		batch, err := idempotent.ParseEntry(e.Number, append([]byte{}, e.Payload...))
		switch {
		case e.Settled:
		case err == nil:
			events += int64(len(batch.Records))
		default:
			events++ // one that was never sent
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return events
}

// onTopics counts the records of the test's topics, and wants each event that was acknowledged once.
func (tr *truth) onTopics(t *testing.T, env *testenv.Env) (published, deadLettered int64) {
	t.Helper()
	count := map[string]int{}
	for _, r := range env.Records(t) {
		var body struct {
			ID string `json:"event_id"`
		}
		if err := json.Unmarshal(r.Value, &body); err != nil {
			t.Fatal(err)
		}
		count[body.ID]++
		if r.Topic == env.Topic("dead_letter") {
			deadLettered++
		} else {
			published++
		}
	}
	for id := range tr.kept {
		if count[id] != 1 {
			t.Errorf("%s was acknowledged and is there %d times", id, count[id])
		}
	}
	return published, deadLettered
}
