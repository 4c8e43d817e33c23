package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"sluice/internal/testenv"
)

const (
	starts    = 11
	startGoal = 300 * time.Millisecond
)

// quickStart starts sluice again and again on topics that are there, and measures the time from exec until it says that it
// is ready, and until it has answered a webhook that was sent as soon as the port was open. The second is what a sender
// waits for: without Kafka's answer there is none.
func quickStart(b *bed, _ limitsOptions, out io.Writer) {
	s := b.stage
	target, kept := b.startSluice(b.options.binary, "start")
	b.end(target)
	admin := net.JoinHostPort("127.0.0.1", strconv.Itoa(testenv.FreePort(s)))
	webhook := net.JoinHostPort("127.0.0.1", strconv.Itoa(testenv.FreePort(s)))
	environ := b.environ("start", "SLUICE_LISTEN="+webhook, "SLUICE_ADMIN_LISTEN="+admin)
	r := new(requests)
	var ready, answered []float64
	for i := range starts {
		if i > 0 {
			b.end(target)
		}
		kept.fill(r, 1)
		began := time.Now()
		target = &server{name: "sluice", addr: webhook, admin: "http://" + admin, proc: testenv.Process(s, b.options.binary, environ, "serve")}
		c := knock(s, webhook)
		var err error
		r.outcomes[0], err = c.exchange(r.at(0))
		s.must(err)
		answered = append(answered, milliseconds(time.Since(began)))
		hangUp([]*client{c})
		kept.add(r)
		var line struct{ Time time.Time }
		s.must(json.Unmarshal([]byte(target.proc.WaitLog(s, startWait, `"msg":"listening"`)), &line))
		ready = append(ready, milliseconds(line.Time.Sub(began)))
	}
	complaints(s, target, kept)
	found := b.finish(target, kept)
	t := table.NewWriter()
	t.AppendHeader(table.Row{"", "median ms", "lowest", "highest", fmt.Sprintf("below %s", startGoal)})
	for _, x := range []struct {
		name   string
		values []float64
	}{{"ready", ready}, {"the first webhook answered", answered}} {
		of := spread(x.values)
		t.AppendRow(table.Row{x.name, fmt.Sprintf("%.0f", of.median), fmt.Sprintf("%.0f", of.low), fmt.Sprintf("%.0f", of.high), goal(of.median < milliseconds(startGoal))})
	}
	fmt.Fprintf(out, "%d starts, topics there; answers: %s; read back with kcat: %s\n\n%s\n", starts, answers(kept.codes()), &found, t.RenderMarkdown())
}

// knock connects to a port that is about to be opened.
func knock(s *stage, addr string) *client {
	for deadline := time.Now().Add(startWait); ; sleepUntil(time.Now().Add(time.Millisecond)) {
		found, err := clients(s.ctx, addr, 1, deadline)
		if err == nil {
			return found[0]
		}
		if time.Now().After(deadline) {
			s.Fatal(err)
		}
	}
}
