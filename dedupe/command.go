package dedupe

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

type kind uint8

const (
	askClaim   kind = iota // SET key token NX PX lease
	askValue               // GET key
	tellKept               // SET key done PX ttl
	tellDead               // SET key done:dl PX ttl
	tellLetGo              // compare-and-delete
	renewLease             // compare-and-pexpire
	leaveIt                // nothing is sent: the lease runs out
)

// Scripts are sent whole (EVAL): EVALSHA in a pipeline would fail after every restart or failover, and SCRIPT LOAD
// can't be slipped in between. pcall: a key of another type is not ours, and no error.
const (
	scriptLetGo = `if redis.pcall('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) end return 0`
	scriptRenew = `if redis.pcall('get',KEYS[1])==ARGV[1] then return redis.call('pexpire',KEYS[1],ARGV[2]) end return 0`
)

// Where the question of a live caller stands. The lane and the caller race for it, once.
const (
	asking   int32 = iota
	answered       // by the lane: the caller may read the result
	left           // by the caller: nobody reads the result
)

// command is one Redis command of one claim. Its fields belong to who submits it until it is submitted, then to the
// lane, then (state answered) to the caller again.
type command struct {
	claim *Claim
	kind  kind
	state atomic.Int32
	tries int       // error replies that may well be for ever
	until time.Time // of no use afterwards
	sent  time.Time // start of the flight that carried it
	again bool      // sent a second time after the connection broke: the first may have been executed

	cmd  redis.Cmder // of the present flight
	text string      // reply to askValue
	num  int64       // reply to the scripts
	none bool        // nil reply
	err  error
}

// build makes the command for the next flight. Key and token are given by their addresses, which go-redis reads as it does
// strings: a string costs an allocation each time it becomes an any.
func (c *command) build(ctx context.Context, d *Deduper) redis.Cmder {
	c.text, c.num, c.none, c.err, c.again = "", 0, false, nil, false
	k, token := &c.claim.key, &c.claim.token
	switch c.kind {
	case askClaim:
		c.cmd = redis.NewStatusCmd(ctx, "set", k, token, "px", d.leaseMillis, "nx")
	case askValue:
		c.cmd = redis.NewStringCmd(ctx, "get", k)
	case tellKept:
		c.cmd = redis.NewStatusCmd(ctx, "set", k, valueDone, "px", d.ttlMillis)
	case tellDead:
		c.cmd = redis.NewStatusCmd(ctx, "set", k, valueDoneDead, "px", d.ttlMillis)
	case tellLetGo:
		c.cmd = redis.NewIntCmd(ctx, "eval", scriptLetGo, 1, k, token)
	case renewLease:
		c.cmd = redis.NewIntCmd(ctx, "eval", scriptRenew, 1, k, token, d.leaseMillis)
	}
	return c.cmd
}

// collect takes the reply out of go-redis' command.
func (c *command) collect() {
	err := c.cmd.Err()
	switch {
	case errors.Is(err, redis.Nil):
		c.none = true
	case err != nil:
		c.err = err
	default:
		switch cmd := c.cmd.(type) {
		case *redis.StringCmd:
			c.text = cmd.Val()
		case *redis.IntCmd:
			c.num = cmd.Val()
		}
	}
	c.cmd = nil
}

// run sends cmds as one pipeline and leaves every command with its own error. Exec's error is no verdict: it is
// redis.Nil when a SET NX lost. But where no command has an error and Exec has, it is the connection's.
func run(ctx context.Context, client redis.UniversalClient, cmds []redis.Cmder) {
	pipe := client.Pipeline()
	if err := pipe.BatchProcess(ctx, cmds...); err != nil {
		fail(cmds, err)
		return
	}
	if _, err := pipe.Exec(ctx); err != nil {
		for _, cmd := range cmds {
			if cmd.Err() != nil {
				return
			}
		}
		fail(cmds, err)
	}
}

func fail(cmds []redis.Cmder, err error) {
	if errors.Is(err, redis.Nil) {
		err = errNoMaster // as a command's error a Sentinel's nil would read as a reply
	}
	for _, cmd := range cmds {
		cmd.SetErr(notSent{err})
	}
}
