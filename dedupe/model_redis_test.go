package dedupe

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// trouble is how a Redis fails.
type trouble int

const (
	works trouble = iota
	refusesDial
	hangs       // nothing is executed, and nothing answered
	losesReply  // executed, not answered
	executeLate // after the caller has gone
	breaks      // the connection ends in the midst of the flight; some of what is not answered has been executed
	loads       // an error reply that passes
	anything    // any of these, or none, a flight
)

// modelRedis is a Redis with the commands that a Deduper sends.
type modelRedis struct {
	mu        sync.Mutex
	rng       *rand.Rand
	trouble   [2]trouble // as each instance sees it
	keys      map[string]modelValue
	lost      time.Time // all data
	stretches []stretch // of any trouble
}

// stretch is a time in which something was wrong for somebody. It ends with the next step that ends all of it.
type stretch struct{ from, to time.Time }

type modelValue struct {
	value string
	until time.Time
}

func newModelRedis(seed uint64) *modelRedis {
	return &modelRedis{rng: rand.New(rand.NewPCG(seed, 1)), keys: make(map[string]modelValue)}
}

// set has the instances see the trouble from now on.
func (m *modelRedis) set(t trouble, instances ...int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.trouble != [2]trouble{}
	for _, i := range instances {
		m.trouble[i] = t
	}
	switch after := m.trouble != [2]trouble{}; {
	case after && !before:
		m.stretches = append(m.stretches, stretch{from: time.Now()})
	case before && !after:
		m.stretches[len(m.stretches)-1].to = time.Now()
	}
}

func (m *modelRedis) flush() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lost = time.Now()
	clear(m.keys)
}

// outlastsLeases reports whether troubles since then may have kept a renewal or a mark from being written in time. One
// that is shorter than a second doesn't, with the pause before the probe that notices its end.
func (m *modelRedis) outlastsLeases(since time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, s := range m.stretches {
		switch {
		case s.to.IsZero():
			s.to = time.Now()
		case s.to.Before(since):
			continue
		}
		if n++; n > 1 || s.to.Sub(s.from) >= time.Second {
			return true
		}
	}
	return false
}

func (m *modelRedis) lostAt() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lost
}

func (m *modelRedis) get(key string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.look(key)
}

// look is the key's value. m.mu is held.
func (m *modelRedis) look(key string) string {
	v, ok := m.keys[key]
	if ok && !time.Now().Before(v.until) {
		delete(m.keys, key)
		v = modelValue{}
	}
	return v.value
}

// execute does what a command's words say.
func (m *modelRedis) execute(args []any) any {
	m.mu.Lock()
	defer m.mu.Unlock()
	millis := func(v any) time.Time { return time.UnixMilli(time.Now().UnixMilli() + v.(int64)) }
	switch args[0] {
	case "get":
		if v := m.look(args[1].(string)); v != "" {
			return v
		}
		return nil
	case "set":
		key := args[1].(string)
		if len(args) > 5 && m.look(key) != "" {
			return nil
		}
		m.keys[key] = modelValue{args[2].(string), millis(args[4])}
		return "OK"
	case "eval":
		script, key := args[1].(string), args[3].(string)
		v := m.look(key)
		if strings.Contains(script, "==ARGV[1]") && v != args[4] || v == "" {
			return int64(0)
		}
		if strings.Contains(script, "'del'") {
			delete(m.keys, key)
		} else {
			m.keys[key] = modelValue{v, millis(args[5])}
		}
		return int64(1)
	}
	return errorReply("ERR unknown command")
}

// errorReply is an error reply.
type errorReply string

func (r errorReply) Error() string { return string(r) }

// RedisError makes it one for go-redis.
func (r errorReply) RedisError() {}

// modelHook stands in for the network of one client.
type modelHook struct {
	redis    *modelRedis
	instance int
	gone     func() bool // the process has ended
}

func (h *modelHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h *modelHook) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error {
		err := errorReply("ERR unknown command")
		cmd.SetErr(err)
		return err
	}
}

func (h *modelHook) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		m := h.redis
		m.mu.Lock()
		how, there, back := m.trouble[h.instance], time.Duration(m.rng.IntN(4))*time.Millisecond, time.Duration(m.rng.IntN(4))*time.Millisecond
		if how == anything {
			how = trouble(m.rng.IntN(int(anything)))
		}
		cut, delay, executed := m.rng.IntN(len(cmds)), time.Duration(m.rng.IntN(20_000))*time.Millisecond, m.rng.IntN(2) == 0
		m.mu.Unlock()
		words := make([][]any, len(cmds))
		for i, cmd := range cmds {
			for _, word := range cmd.Args() {
				if text, ok := word.(*string); ok {
					word = *text
				}
				words[i] = append(words[i], word)
			}
		}
		<-time.After(there)
		if h.gone() {
			how = hangs
		}
		fail := func(err error, cmds ...redis.Cmder) error {
			for _, cmd := range cmds {
				cmd.SetErr(err)
			}
			return err
		}
		switch how {
		case refusesDial:
			return fail(&net.OpError{Op: "dial", Err: errors.New("refused")}, cmds...)
		case loads:
			return fail(errorReply("LOADING Redis is loading the dataset in memory"), cmds...)
		case losesReply:
			for _, w := range words {
				m.execute(w)
			}
		case executeLate:
			go func() {
				<-time.After(delay)
				for _, w := range words {
					m.execute(w)
				}
			}()
		case breaks:
			err := h.answer(words[:cut], cmds[:cut])
			if executed {
				for _, w := range words[cut:] {
					m.execute(w)
				}
			}
			return errors.Join(err, fail(io.EOF, cmds[cut:]...))
		case works:
			err := h.answer(words, cmds)
			<-time.After(back)
			return err
		}
		<-ctx.Done()
		return fail(ctx.Err(), cmds...)
	}
}

// answer executes commands and gives them their replies, as go-redis does.
func (h *modelHook) answer(words [][]any, cmds []redis.Cmder) (first error) {
	for i, cmd := range cmds {
		switch v := h.redis.execute(words[i]).(type) {
		case nil:
			cmd.SetErr(redis.Nil)
		case error:
			cmd.SetErr(v)
		case int64:
			cmd.(*redis.IntCmd).SetVal(v)
		case string:
			switch cmd := cmd.(type) {
			case *redis.StatusCmd:
				cmd.SetVal(v)
			case *redis.StringCmd:
				cmd.SetVal(v)
			}
		}
		if first == nil {
			first = cmd.Err()
		}
	}
	return first
}
