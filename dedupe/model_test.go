package dedupe

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// TestModel has instances with several lives claim, publish, settle and die over a Redis that fails in every way, and
// judges what is published against the windows that DESIGN.md names. Time is synctest's.
func TestModel(t *testing.T) {
	for range 10 { // each is as many runs as rapid makes, 100 if not told otherwise
		rapid.Check(t, modelRun(t))
	}
}

func modelRun(t *testing.T) func(*rapid.T) {
	return func(rt *rapid.T) {
		succeeds := rapid.Bool().Draw(rt, "with a spool")
		down := rapid.SampledFrom([]WhenDown{Open, Closed}).Draw(rt, "when down")
		seed := rapid.Uint64().Draw(rt, "seed")
		steps := rapid.SliceOfN(rapid.Custom(drawStep), 1, 60).Draw(rt, "steps")
		var wrong, history []string
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, seed, succeeds, down)
			for _, s := range steps {
				<-time.After(s.Pause)
				w.do(s)
			}
			w.heal()
			wrong, history = w.wrong, w.history
		})
		if len(wrong) > 0 {
			rt.Fatalf("%s; what came before:\n%s", wrong[0], strings.Join(history, "\n"))
		}
	}
}

// happening is one thing that happens.
type happening struct {
	What     string
	Pause    time.Duration // before it
	Instance int
	ID       string
	// Of a claim:
	Patience, Work, Answer time.Duration // of the caller; until the record is encoded; until Kafka answers
	Outcome                string
	// Of a trouble of Redis:
	Trouble trouble
	Both    bool // instances see it
}

func drawStep(rt *rapid.T) happening {
	millis := func(label string, most int) time.Duration {
		return time.Duration(rapid.IntRange(0, most).Draw(rt, label)) * time.Millisecond
	}
	s := happening{
		What:     rapid.SampledFrom([]string{"claim", "claim", "claim", "claim", "claim", "kill", "trouble", "peace", "flush"}).Draw(rt, "what"),
		Pause:    millis("pause", rapid.SampledFrom([]int{0, 10, 300, 9000}).Draw(rt, "longest pause")),
		Instance: rapid.IntRange(0, 1).Draw(rt, "instance"),
	}
	switch s.What {
	case "claim":
		s.ID = rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "id")
		s.Patience = 50*time.Millisecond + millis("patience", 400)
		s.Work = millis("work", rapid.SampledFrom([]int{0, 5, 30_000}).Draw(rt, "longest work"))
		s.Answer = millis("answer", rapid.SampledFrom([]int{0, 5, 30_000}).Draw(rt, "longest answer"))
		s.Outcome = rapid.SampledFrom([]string{"kept", "kept", "kept", "dead letter", "refused", "unknown", "unknown and kept"}).Draw(rt, "outcome")
	case "trouble":
		s.Both = rapid.Bool().Draw(rt, "both")
		s.Trouble = trouble(rapid.IntRange(int(refusesDial), int(anything)).Draw(rt, "trouble"))
	}
	return s
}

// life is one process of an instance.
type life struct {
	name     string
	instance int
	d        *Deduper
	dead     bool
}

func (l *life) String() string { return l.name }

// attempt is a claim that was handed out.
type attempt struct {
	life    *life
	claim   *Claim
	id      string
	asked   time.Time
	settled bool
}

// record is what a life has published.
type record struct {
	life       *life
	id         string
	at         time.Time
	dead       bool // letter
	skipped    bool
	left       bool      // its claim was left, as nobody knew of the record
	confirmed  time.Time // zero: not yet
	inherited  bool      // its life ended, and the next one was told of it
	unresolved bool      // its life ended, and neither the next one nor Redis was told of it
}

type world struct {
	t        *testing.T
	redis    *modelRedis
	succeeds bool
	down     WhenDown
	lived    int
	lives    [2]*life
	wg       sync.WaitGroup

	mu       sync.Mutex // guards what follows and the fields of the above
	attempts []*attempt
	records  []*record
	wrong    []string
	history  []string
	born     time.Time
}

const (
	modelLease   = 8 * time.Second
	modelMargin  = modelLease / 4
	modelTimeout = 150 * time.Millisecond
	// flights is how long the next two take at most while nothing is wrong.
	flights = 20 * time.Millisecond
)

func newWorld(t *testing.T, seed uint64, succeeds bool, down WhenDown) *world {
	w := &world{t: t, born: time.Now(), succeeds: succeeds, down: down, redis: newModelRedis(seed)}
	for i := range w.lives {
		w.lives[i] = w.bear(i)
	}
	return w
}

func (w *world) bear(instance int) *life {
	d, err := New(Options{
		URL: "redis://model:1", Instance: fmt.Sprint("i", instance), Succeeds: w.succeeds, WhenDown: w.down,
		Lease: modelLease, Timeout: modelTimeout,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.lived++
	l := &life{name: fmt.Sprint("instance ", instance, " life ", w.lived), instance: instance, d: d}
	d.client.AddHook(&modelHook{redis: w.redis, instance: instance, gone: func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return l.dead
	}})
	return l
}

func (w *world) do(s happening) {
	w.mu.Lock()
	w.note("%+v", s)
	w.mu.Unlock()
	switch s.What {
	case "claim":
		l := w.lives[s.Instance]
		w.wg.Go(func() { w.attempt(l, s) })
	case "kill":
		w.kill(s.Instance)
	case "trouble":
		w.redis.set(s.Trouble, s.Instance)
		if s.Both {
			w.redis.set(s.Trouble, 0, 1)
		}
	case "peace":
		w.redis.set(works, 0, 1)
	case "flush":
		w.redis.flush()
	}
}

// kill ends a process in the midst of whatever it does, and starts the next one.
func (w *world) kill(instance int) {
	old := w.lives[instance]
	w.mu.Lock()
	old.dead = true
	now := time.Now()
	for _, r := range w.records {
		unmarked := r.inherited && r.life.instance == instance && now.Sub(r.confirmed) < flights // killed again at once
		if r.life != old && !unmarked {
			continue
		}
		if w.succeeds {
			r.inherited, r.confirmed = true, now
		} else {
			r.unresolved = r.confirmed.IsZero() || now.Sub(r.confirmed) < flights
		}
	}
	known := slices.Clone(w.records)
	w.mu.Unlock()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_ = old.d.Close(ended)
	next := w.bear(instance)
	for _, r := range known {
		if w.succeeds && r.life.instance == instance {
			next.d.Remember(r.id, r.dead)
		}
	}
	w.lives[instance] = next
}

// attempt is what a request does.
func (w *world) attempt(l *life, s happening) {
	ctx, cancel := context.WithTimeout(context.Background(), s.Patience)
	defer cancel()
	began := time.Now()
	c, err := l.d.Claim(ctx, s.ID)
	if took := time.Since(began); took > l.d.opt.ClaimTimeout {
		w.report("a claim took %v", took)
	}
	if err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.note("%v claims %s: %v", l, s.ID, err)
		return
	}
	a := w.judge(l, c, s.ID, began)
	if a == nil {
		return
	}
	<-time.After(s.Work)
	if w.gone(l) {
		return
	}
	if !c.Live() || s.Outcome == "refused" {
		w.settle(a, c.Release, nil)
		return
	}
	var r *record
	if s.Outcome != "unknown" {
		r = w.publish(a, s.Outcome == "dead letter")
	}
	<-time.After(s.Answer)
	if w.gone(l) {
		return
	}
	switch s.Outcome {
	case "kept":
		w.settle(a, c.Confirm, r)
	case "dead letter":
		w.settle(a, c.ConfirmDeadLetter, r)
	default:
		if r != nil {
			w.mu.Lock()
			r.left = true
			w.mu.Unlock()
		}
		w.settle(a, c.Leave, nil)
	}
}

func (w *world) gone(l *life) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return l.dead
}

func (w *world) report(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.blame(format, args...)
}

// note keeps the history. w.mu is held.
func (w *world) note(format string, args ...any) {
	w.history = append(w.history, fmt.Sprintf("%9.3f  ", time.Since(w.born).Seconds())+fmt.Sprintf(format, args...))
}

// blame takes note of what mustn't be. w.mu is held.
func (w *world) blame(format string, args ...any) {
	w.note("WRONG: "+format, args...)
	w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
}

func (w *world) settle(a *attempt, how func(), r *record) {
	w.mu.Lock()
	w.note("%v settles %s", a.life, a.id)
	a.settled = true
	if r != nil {
		r.confirmed = time.Now()
	}
	w.mu.Unlock()
	how()
}

// judge judges a verdict. nil: there is nothing to do.
func (w *world) judge(l *life, c *Claim, id string, asked time.Time) *attempt {
	lost := w.redis.lostAt()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note("%v claims %s: %v", l, id, c.Verdict())
	switch c.Verdict() {
	case Duplicate, DuplicateDeadLetter:
		if !slices.ContainsFunc(w.records, func(r *record) bool {
			return r.id == id && r.dead == (c.Verdict() == DuplicateDeadLetter)
		}) {
			w.blame("%s is said to be a %v, and nobody has published it so", id, c.Verdict())
		}
		return nil
	}
	for _, o := range w.attempts {
		if o.id != id || o.settled || o.life.dead || l.dead {
			continue
		}
		switch {
		case o.life == l:
			w.blame("%s is claimed twice in one process", id)
		case c.Verdict() == Won && o.claim.Live() && o.claim.Verdict() == Won && lost.Before(o.asked) && lost.Before(asked):
			w.blame("%s has two live leases", id)
		}
	}
	a := &attempt{life: l, claim: c, id: id, asked: asked}
	w.attempts = append(w.attempts, a)
	return a
}

// publish puts a record into Kafka, and judges whether it should be there.
func (w *world) publish(a *attempt, dead bool) *record {
	lost := w.redis.lostAt()
	w.mu.Lock()
	defer w.mu.Unlock()
	r := &record{life: a.life, id: a.id, at: time.Now(), dead: dead, skipped: a.claim.Verdict() == Skipped}
	w.note("%v publishes %s", a.life, a.id)
	for _, p := range w.records {
		if p.id != a.id {
			continue
		}
		own := p.life == a.life || p.inherited && p.life.instance == a.life.instance
		marked := p.inherited && (own || a.asked.Sub(p.confirmed) >= flights) // others learn of it from Redis
		switch {
		case p.left && !marked && (p.skipped || r.at.Sub(p.at) >= modelMargin || !lost.Before(p.at.Add(-modelLease))):
			// Its lease has run out, is lost, or there was none.
		case own:
			w.blame("%s is published a second time by a process that knows of the first", a.id)
		case p.skipped, r.skipped, p.unresolved: // windows
		case !lost.Before(p.at.Add(-modelLease)): // likewise
		case w.redis.outlastsLeases(p.at.Add(-modelLease)): // likewise
		default:
			w.blame("%s is published a second time, %v after the first", a.id, r.at.Sub(p.at))
		}
	}
	w.records = append(w.records, r)
	return r
}

// heal ends all trouble and waits. Then every key says what has happened, and every ID can be claimed.
func (w *world) heal() {
	w.redis.set(works, 0, 1)
	<-time.After(2 * time.Minute) // longer than all work, answers, delays and leases
	w.wg.Wait()
	lost := w.redis.lostAt()
	for _, id := range []string{"a", "b"} {
		value := w.redis.get(Key("slu:", id))
		kept := map[string]bool{}
		must := false
		for _, r := range w.records {
			if r.id != id {
				continue
			}
			kept[map[bool]string{false: valueDone, true: valueDoneDead}[r.dead]] = true
			told := !r.confirmed.IsZero() && !r.life.dead || r.inherited
			must = must || told && lost.Before(r.confirmed)
		}
		switch {
		case value == "" && must:
			w.report("%s is kept, and its key is missing", id)
		case value != "" && !kept[value]:
			w.report("the key of %s holds %q in the end, and what was kept is %v", id, value, kept)
		}
	}
	for _, l := range w.lives {
		for _, id := range []string{"a", "b"} {
			c, err := l.d.Claim(context.Background(), id)
			if err != nil {
				w.report("with nothing under way, %s can't be claimed: %v", id, err)
			} else if c.Verdict() == Skipped {
				w.report("with Redis there, the claim of %s is skipped", id)
			} else {
				c.Release()
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		if err := l.d.Close(ctx); err != nil {
			w.report("closing: %v", err)
		}
		cancel()
	}
}
