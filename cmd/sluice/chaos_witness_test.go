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

// span is a stretch of time. Without an end it lasts.
type span struct{ begin, end time.Time }

func (s span) meets(other span) bool {
	return (s.end.IsZero() || !s.end.Before(other.begin)) && (other.end.IsZero() || !other.end.Before(s.begin))
}

func meetsAny(spans []span, s span) bool { return slices.ContainsFunc(spans, s.meets) }

// post is one request and its answer.
type post struct {
	span
	instance int
	code     int // 0: none
	late     bool
	earlier  []*post // posts of the same event that were begun before
	twin     bool    // another post of the same event was begun while this one was under way
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
	p := &post{span: span{begin: time.Now()}, instance: w.random.IntN(len(w.hosts)), earlier: w.events[event]}
	for _, other := range p.earlier {
		other.twin = other.twin || other.end.IsZero()
	}
	w.events[event] = append(slices.Clone(p.earlier), p)
	w.posts = append(w.posts, p)
	return p
}

// CloseIdleConnections is called by the sender at its end.
func (w *witness) CloseIdleConnections() { w.base.CloseIdleConnections() }

// troubles are when something was wrong, as the one knows who does it.
type troubles struct {
	strikes []span         // from the first blow until all is as before
	away    map[int][]span // when an instance was dead, frozen or restarting
	full    []span         // when the disk was full and Kafka away, until all was as before
}

// judge says what is wrong with a post's answer; nil if it is what it has to be.
func (tr *troubles) judge(p *post) error {
	away := meetsAny(tr.away[p.instance], p.span)
	took := p.end.Sub(p.begin).Round(time.Millisecond)
	switch {
	case p.code == 0 && away:
		return nil // nobody was there to answer
	case p.code == 0:
		return fmt.Errorf("no answer after %v", took)
	case p.code == http.StatusRequestTimeout && away:
		return nil // what a drain tells a connection that was idle, and that a request has crossed
	case took > slowestAnswer && !away:
		return fmt.Errorf("%d after %v", p.code, took)
	case p.code == http.StatusOK:
		return nil
	case p.code == http.StatusServiceUnavailable && (tr.claimed(p) || meetsAny(tr.full, p.span)):
		return nil
	}
	return fmt.Errorf("%d after %v", p.code, took)
}

// claimed reports whether another post of the same event may hold the claim on it: it is under way while something is
// wrong, or it was with an instance that died or stood still over it.
func (tr *troubles) claimed(p *post) bool {
	if meetsAny(tr.strikes, p.span) && (p.twin || slices.ContainsFunc(p.earlier, func(e *post) bool { return e.meets(p.span) })) {
		return true
	}
	return slices.ContainsFunc(p.earlier, func(e *post) bool { return e.code == 0 })
}
