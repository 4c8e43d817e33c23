package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"sluice/internal/audit"
)

// span is a stretch of time.
type span struct{ begin, end time.Time }

// common is how long two spans are at the same time; of two that don't meet it is negative.
func (s span) common(other span) time.Duration {
	begin, end := s.begin, s.end
	if other.begin.After(begin) {
		begin = other.begin
	}
	if other.end.Before(end) {
		end = other.end
	}
	return end.Sub(begin)
}

func meetsAny(spans []span, s span) bool {
	return slices.ContainsFunc(spans, func(x span) bool { return x.common(s) >= 0 })
}

// post is one request and its answer.
type post struct {
	span
	event    audit.Sum
	instance int
	code     int  // 0: none
	late     bool // none in four seconds
}

// witness carries the sender's posts, each to one of the instances at random, and remembers what came of them.
type witness struct {
	base  http.Transport
	hosts []string

	mu     sync.Mutex // guards what follows
	random *rand.Rand
	events map[audit.Sum][]*post
	posts  []*post
}

func newWitness(random *rand.Rand, instances []*instance) *witness {
	w := &witness{base: http.Transport{MaxIdleConnsPerHost: 1000}, random: random, events: map[audit.Sum][]*post{}}
	for _, s := range instances {
		u, err := url.Parse(s.url)
		if err != nil {
			panic(err) // made from a port
		}
		w.hosts = append(w.hosts, u.Host)
	}
	return w
}

// RoundTrip is the sender's transport.
func (w *witness) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := req.GetBody()
	if err != nil {
		return nil, err
	}
	bytes, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	p := w.begin(sha256.Sum256(bytes))
	req = req.Clone(req.Context())
	req.URL.Host, req.Host = w.hosts[p.instance], ""
	res, err := w.base.RoundTrip(req)
	w.mu.Lock()
	defer w.mu.Unlock()
	p.end = time.Now()
	if err == nil {
		p.code = res.StatusCode
	}
	timeout, is := errors.AsType[net.Error](err)
	p.late = is && timeout.Timeout()
	return res, err
}

func (w *witness) begin(event audit.Sum) *post {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := &post{span: span{begin: time.Now()}, event: event, instance: w.random.IntN(len(w.hosts))}
	w.events[event] = append(w.events[event], p)
	w.posts = append(w.posts, p)
	return p
}

// CloseIdleConnections is called by the sender at its end.
func (w *witness) CloseIdleConnections() { w.base.CloseIdleConnections() }

// troubles are when something was wrong, as the one knows who does it.
type troubles struct {
	away map[int][]span // an instance was dead, frozen or restarting
	full []span         // the disk was full and Kafka away, until all was as before
}

// judge says what is wrong with a post's answer; nil if it is what it has to be. copies are all posts of that event.
func (tr *troubles) judge(p *post, copies []*post) error {
	away := meetsAny(tr.away[p.instance], p.span)
	wrong := fmt.Errorf("%d after %v", p.code, p.end.Sub(p.begin).Round(time.Millisecond))
	switch {
	case away && slices.Contains([]int{
		0,                             // nobody was there to answer
		http.StatusRequestTimeout,     // a drain tells it to idle connections, and a request has crossed that
		http.StatusServiceUnavailable, // its time was up when the process went on
	}, p.code):
		return nil
	case p.end.Sub(p.begin) > slowestAnswer && !away:
		return wrong
	case p.code == http.StatusServiceUnavailable && (p.claimed(copies) || meetsAny(tr.full, p.span)):
		return nil
	case p.code == http.StatusOK:
		return nil
	}
	return wrong
}

// claimed reports whether another post of the same event may have held the claim on it: it was under way, or it was with
// an instance that died or stood still over it.
func (p *post) claimed(copies []*post) bool {
	const most = 200 * time.Millisecond // that Redis may take: it is waited for longer, unless that goes away meanwhile
	return slices.ContainsFunc(copies, func(other *post) bool {
		return other != p && (other.common(p.span) > most/2 || other.code == 0 && other.begin.Before(p.end))
	})
}
