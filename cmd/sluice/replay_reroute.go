package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"sluice/config"
	"sluice/dedupe"
	"sluice/event"
	"sluice/internal/stream"
	"sluice/internal/stream/topicsink"
	"sluice/publisher"
)

// reroutedHeader is on what was a dead letter: the reason that it was one for.
const reroutedHeader = "sluice-rerouted"

// rerouteCounts are the dead letters that weren't written.
type rerouteCounts struct {
	Failing map[string]int64 `json:"still_no_event"` // by reason
	Kept    int64            `json:"kept_already"`   // rerouted by an earlier run, or sent again by the sender since
	Other   int64            `json:"taken_by_another_run"`
	Untold  int64            `json:"id_not_told"` // their delivery can't be told any more
}

func (c *rerouteCounts) add(x *rerouteCounts) *rerouteCounts {
	sum := rerouteCounts{Failing: map[string]int64{}}
	for _, part := range []*rerouteCounts{c, x} {
		if part == nil {
			continue
		}
		for reason, n := range part.Failing {
			sum.Failing[reason] += n
		}
		sum.Kept += part.Kept
		sum.Other += part.Other
		sum.Untold += part.Untold
	}
	return &sum
}

// lines are those of the summary.
func (c *rerouteCounts) lines(line func(int64, string)) {
	if c == nil {
		return
	}
	for _, reason := range slices.Sorted(maps.Keys(c.Failing)) {
		line(c.Failing[reason], "are still no event ("+reason+") and stay dead letters")
	}
	for _, x := range []struct {
		n    int64
		text string
	}{
		{c.Kept, "are on their topic already"},
		{c.Other, "are being rerouted by another run; resume that one"},
		{c.Untold, "have lost what their delivery is known by; write them elsewhere with --to-topic"},
	} {
		if x.n > 0 {
			line(x.n, x.text)
		}
	}
}

// reroute sends dead letters on to the topics of their types.
type reroute struct {
	mode dedupe.Mode
	key  publisher.KeyMode
	run  string
	ttl  time.Duration
	sink *takingSink // nil in a dry run

	counts rerouteCounts
}

// wanted is a filter: it leaves out what is still no event.
func (r *reroute) wanted(x *stream.Record) (bool, error) {
	reason := ""
	switch _, err := event.Parse(x.Value); {
	case err != nil:
		reason = string(event.ReasonNotJSON)
		if failed, ok := errors.AsType[*event.ParseError](err); ok {
			reason = string(failed.Reason)
		}
	case identifyRecord(r.mode, x).id == "":
	default:
		return true, nil
	}
	if reason == "" {
		r.counts.Untold++
		return false, nil
	}
	if r.counts.Failing == nil {
		r.counts.Failing = map[string]int64{}
	}
	r.counts.Failing[reason]++
	return false, nil
}

// told is what wasn't written so far.
func (r *reroute) told() *rerouteCounts {
	if r == nil {
		return nil
	}
	c := r.counts.add(nil)
	if r.sink != nil {
		c.Kept, c.Other = r.sink.counts.Kept, r.sink.counts.Other
	}
	return c
}

// taking is the reservation of a dead letter. Its place belongs to the name: there may be two of one delivery.
func (r *reroute) taking(x *stream.Record) (dedupe.Taking, bool) {
	return dedupe.Taking{
		ID: identifyRecord(r.mode, x).id, Name: fmt.Sprintf("reroute-%s.%d.%d", r.run, x.Partition, x.Offset),
		Kept: true, Until: time.Now().Add(r.ttl),
	}, true
}

// written is what serve would write for the event today, with what came with the request, and where it was meanwhile.
func (r *reroute) written(x *stream.Record) stream.Record {
	m := &publisher.Message{
		Body: x.Value, KeyName: x.Header("sluice-key"), DedupeSkipped: x.Header("sluice-dedupe") == "skipped",
		DedupeID: func() string { return identifyRecord(r.mode, x).id },
	}
	m.Event, _ = event.Parse(x.Value) // it was wanted
	for _, h := range x.Headers {
		name := strings.ToLower(h.Key)
		if strings.HasPrefix(name, "x-cio-") || name == "traceparent" || name == "tracestate" {
			m.Headers = append(m.Headers, publisher.Header{Name: http.CanonicalHeaderKey(h.Key), Value: string(h.Value)})
		}
	}
	out := *x
	out.Key, out.Headers = recordParts(publisher.Record(m, r.key, time.Now()))
	reason := stream.Header{Key: reroutedHeader, Value: []byte(x.Header(reasonHeader))}
	out.Headers = append(withOrigin(r.run, &out), reason)
	return out
}

// openReroute opens the target of --reroute.
func (r *replay) openReroute(ctx context.Context) (stream.Sink, error) {
	log := noticesTo(lineWriter(r.show.say))
	marker, err := newTakingMarker(ctx, &r.c.Config, log)
	if err != nil {
		return nil, fmt.Errorf("%w: without Redis nobody can tell what was rerouted already", err)
	}
	sink, err := newTopicTarget(ctx, &r.c.Config, topicsink.Options{
		Journal: journalOf(r.path), State: r.state.Sink, Log: log,
	}, eventTypeOf)
	if err != nil {
		return nil, errors.Join(err, marker.Close())
	}
	x := r.reroute
	x.sink = &takingSink{
		Resumable: sink, marker: marker, of: x.taking, as: x.written, ttl: r.c.DedupeTTL, patience: r.c.DedupeLease + pendingEvery,
	}
	return x.sink, nil
}

// newReroute is a reroute that hasn't got its sink yet.
func (r *replay) newReroute() (*reroute, error) {
	mode, err := dedupe.ParseMode(r.c.DedupeID)
	return &reroute{mode: mode, key: publisher.KeyMode(r.c.Key), run: r.state.ID, ttl: r.c.DedupeTTL}, err
}

// newTakingMarker connects to Redis, and fails if that can't be asked at the start: later it is waited for.
func newTakingMarker(ctx context.Context, c *config.Config, log *zap.Logger) (*dedupe.Marker, error) {
	o := redisOptions(c, log)
	dedupe.RouteClientLog(zap.NewNop())
	if _, err := dedupe.Lookup(ctx, o, "~look"); err != nil {
		return nil, fmt.Errorf("%w; check --redis-url (SLUICE_REDIS_URL), and whether Redis is up", err)
	}
	return dedupe.NewMarker(o)
}
