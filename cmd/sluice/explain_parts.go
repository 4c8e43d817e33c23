package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"sluice/dedupe"
	"sluice/event"
	"sluice/ingest"
	"sluice/ingest/signature"
	"sluice/publisher"
)

// explanation is everything that can be said of a request. Its JSON form is
// for programs.
type explanation struct {
	Request   explainedRequest   `json:"request"`
	Signature explainedSignature `json:"signature"`
	Event     explainedEvent     `json:"event"`
	Topic     explainedTopic     `json:"topic"`
	Key       explainedKey       `json:"record_key"`
	Dedupe    explainedID        `json:"dedupe"`
	Redis     explainedRedis     `json:"redis"`
	Verdict   explainedVerdict   `json:"verdict"`
}

type explainedRequest struct {
	Method string   `json:"method,omitempty"`
	Path   string   `json:"path,omitempty"`
	Bytes  int      `json:"body_bytes"`
	Notes  []string `json:"notes"`
}

// What became of the signature.
const (
	signatureAccepted  = "accepted"
	signatureRefused   = "refused"
	signatureUnchecked = "unchecked" // no headers were given
	signatureOff       = "off"       // insecure-no-signature
	signatureNoKey     = "no_key"    // no key is configured
)

type explainedSignature struct {
	Status   string              `json:"status"`
	Key      string              `json:"key,omitempty"`   // that made it, also if it is refused
	Error    string              `json:"error,omitempty"` // why it is refused
	Findings []signature.Finding `json:"findings"`
	// At is the time to judge the request by, if its own timestamp is too old.
	At string `json:"judge_at,omitempty"`
}

type explainedEvent struct {
	Type   string `json:"type,omitempty"`
	Rule   string `json:"rule,omitempty"`
	Known  string `json:"known,omitempty"` // described, documented or unknown
	ID     string `json:"event_id,omitempty"`
	Time   string `json:"time,omitempty"`
	Reason string `json:"reason,omitempty"` // of a dead letter
	Cause  string `json:"cause,omitempty"`
}

type explainedTopic struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

type explainedKey struct {
	Value string `json:"value,omitempty"`
	From  string `json:"from,omitempty"`
}

type explainedID struct {
	ID   string `json:"id"`
	From string `json:"from"`
	Key  string `json:"redis_key"`
}

// What Redis said, beside what package dedupe knows.
const (
	redisNotAsked = "not_asked"
	redisFailed   = "failed"
)

type explainedRedis struct {
	Status    string  `json:"status"`
	Instance  string  `json:"instance,omitempty"`
	Remaining float64 `json:"remaining_seconds,omitempty"`
	Forever   bool    `json:"forever,omitempty"`
	Error     string  `json:"error,omitempty"`
}

type explainedVerdict struct {
	Code   int    `json:"code"`
	Status string `json:"status"`
	Why    string `json:"why,omitempty"`
}

// explain goes the way of a request with the parts that serve uses. Nothing is written.
func (c *explainCmd) explain(ctx context.Context, a *asked) (*explanation, error) {
	mode, err := dedupe.ParseMode(c.DedupeID)
	if err != nil {
		return nil, err
	}
	d := &ingest.Delivery{Body: a.body, CIODeliveryID: a.header.Get("X-CIO-Delivery-ID")}
	d.Event, d.RejectCause = event.Parse(a.body)
	if failed, ok := errors.AsType[*event.ParseError](d.RejectCause); ok {
		d.Reject = failed.Reason
	}
	e := &explanation{
		Request: explainedRequest{Method: a.method, Path: a.path, Bytes: len(a.body), Notes: append([]string{}, a.notes...)},
		Event:   explainEvent(d),
		Topic:   explainTopic(topicOptions(&c.Config), d),
		Key:     explainKey(publisher.KeyMode(c.Key), &d.Event),
	}
	if e.Signature, err = c.explainSignature(a); err != nil {
		return nil, err
	}
	id := identify(mode, d)
	e.Dedupe = explainedID{ID: id, From: idSource(id), Key: dedupe.Key(c.RedisPrefix, id)}
	e.Redis = c.explainRedis(ctx, id)
	e.Verdict = judge(e)
	return e, nil
}

func (c *explainCmd) explainSignature(a *asked) (explainedSignature, error) {
	s := explainedSignature{Findings: []signature.Finding{}}
	switch {
	case c.InsecureNoSignature:
		s.Status = signatureOff
		return s, nil
	case !a.described:
		s.Status = signatureUnchecked
		return s, nil
	case len(c.SigningKeys) == 0:
		s.Status = signatureNoKey
		return s, nil
	}
	now, err := c.now()
	if err != nil {
		return s, err
	}
	stamp := a.header.Get("X-CIO-Timestamp")
	d, err := signature.Diagnose(signature.Attempt{
		Keys: signingKeys(&c.Config), Tolerance: c.EffectiveTolerance(), Timestamp: stamp, Signature: a.header.Get("X-CIO-Signature"),
		Body: a.body, Original: a.original, Now: now,
	})
	if err != nil {
		return s, err
	}
	s.Status, s.Key = signatureAccepted, d.KeyName
	if !d.Accepted() {
		s.Status, s.Error = signatureRefused, d.Err.Error()
		s.Findings = append(s.Findings, d.Findings...)
	}
	stale := slices.ContainsFunc(d.Findings, func(f signature.Finding) bool { return f.Code == signature.CodeTimestampStale })
	if stale && len(stamp) <= 11 && strings.Trim(stamp, "0123456789") == "" {
		s.At = stamp
	}
	return s, nil
}

// ruleWords say how a type was found.
func ruleWords(r event.Rule) string {
	switch r {
	case event.RuleNames:
		return "from object_type and metric"
	case event.RuleEventType:
		return "from event_type"
	case event.RuleInferred:
		return "from metric; fields of data tell the channel"
	case event.RuleMetric:
		return "from metric alone; nothing tells the channel"
	}
	return string(r)
}

func explainEvent(d *ingest.Delivery) explainedEvent {
	e := explainedEvent{ID: d.Event.ID}
	if !d.Event.Time.IsZero() {
		e.Time = d.Event.Time.Format(time.RFC3339Nano)
	}
	if d.Reject != "" {
		e.Reason = string(d.Reject)
		if failed, ok := errors.AsType[*event.ParseError](d.RejectCause); ok {
			e.Cause = failed.Err.Error()
		}
		return e
	}
	e.Type, e.Rule = d.Event.Type, ruleWords(d.Event.Rule)
	switch {
	case isDescribed(e.Type):
		e.Known = "described"
	case event.IsKnown(e.Type):
		e.Known = "documented"
	default:
		e.Known = "unknown"
	}
	return e
}

func isDescribed(name string) bool {
	return slices.ContainsFunc(event.Described(), func(t event.Type) bool { return t.Name == name })
}

func explainTopic(o publisher.TopicOptions, d *ingest.Delivery) explainedTopic {
	if d.Reject != "" {
		return explainedTopic{o.DeadLetter, "the topic of dead letters"}
	}
	t := explainedTopic{Name: o.Name(d.Event.Type)}
	switch {
	case !o.PerType():
		t.Why = "the one topic of all events"
	case t.Name == o.Overflow:
		t.Why = "the overflow topic, because the type's own would be a special one or have too long a name"
	case isDescribed(d.Event.Type):
		t.Why = "the type's own, there from the start"
	case !o.Create:
		t.Why = "the type's own, if it exists, since create-topics is off; else " + o.Overflow
	default:
		t.Why = fmt.Sprintf("the type's own, created when its first event comes; %s if there are %d topics already (max-topics)", o.Overflow, o.Max)
	}
	return t
}

func explainKey(mode publisher.KeyMode, e *event.Event) explainedKey {
	k := explainedKey{Value: e.Key, From: e.KeyField}
	if mode == publisher.KeyEventType {
		k = explainedKey{Value: e.Type, From: "event type"}
	}
	if k.Value == "" {
		k.From = ""
	}
	return k
}

func idSource(id string) string {
	switch source := dedupe.SourceOf(id); source {
	case dedupe.SourceEventID:
		return "event_id"
	case dedupe.SourceEventIDHash:
		return "hash of event_id, which is long or not plain"
	case dedupe.SourceDelivery:
		return "X-CIO-Delivery-ID"
	case dedupe.SourceDeliveryHash:
		return "hash of X-CIO-Delivery-ID, which is long or not plain"
	case dedupe.SourceBodyHash:
		return "hash of the body, for want of a usable event_id"
	case dedupe.SourceDeliveryAndBody:
		return "hash of X-CIO-Delivery-ID and the body, for want of a usable event_id"
	default:
		return string(source)
	}
}

// leastRedisTimeout is for people, who wait longer than requests do and may be
// further away.
const leastRedisTimeout = time.Second

func (c *explainCmd) explainRedis(ctx context.Context, id string) explainedRedis {
	if c.Offline {
		return explainedRedis{Status: redisNotAsked}
	}
	entry, err := dedupe.Lookup(ctx, dedupe.Options{
		URL: c.RedisURL.Reveal(), Password: c.RedisPassword.Reveal(), Prefix: c.RedisPrefix,
		Timeout: max(c.RedisTimeout, leastRedisTimeout),
	}, id)
	if err != nil {
		return explainedRedis{Status: redisFailed, Error: err.Error()}
	}
	return explainedRedis{
		Status: string(entry.Status), Instance: entry.Instance, Remaining: entry.Remaining.Seconds(), Forever: entry.Forever,
	}
}

// judge is what serve would answer if Kafka takes the record.
func judge(e *explanation) explainedVerdict {
	switch {
	case e.Request.Method != "" && e.Request.Method != http.MethodPost:
		return explainedVerdict{http.StatusMethodNotAllowed, "refused", "webhooks are sent by POST"}
	case e.Signature.Status == signatureRefused:
		return explainedVerdict{http.StatusUnauthorized, "refused", e.Signature.Error}
	case e.Redis.Status == string(dedupe.StatusPending):
		return explainedVerdict{http.StatusServiceUnavailable, "refused", "it is being handled at this moment; a retry after that is a duplicate"}
	}
	v := explainedVerdict{Code: http.StatusOK, Status: "published"}
	switch {
	case e.Redis.Status == string(dedupe.StatusDone), e.Redis.Status == string(dedupe.StatusDeadLettered):
		v.Status = "duplicate"
	case e.Event.Reason != "":
		v.Status = "dead_lettered"
	}
	var conditions []string
	switch e.Signature.Status {
	case signatureUnchecked, signatureNoKey:
		conditions = append(conditions, "its signature is right")
	}
	if e.Redis.Status == redisNotAsked || e.Redis.Status == redisFailed {
		conditions = append(conditions, "it hasn't come before")
	}
	if len(conditions) > 0 {
		v.Why = "if " + strings.Join(conditions, " and ")
	}
	return v
}
