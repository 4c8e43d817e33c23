package dedupe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// markStep is what is asked of Redis next about a mark.
type markStep int

const (
	markSet   markStep = iota // SET NX
	markRead                  // GET, after a SET NX that lost
	markRaise                 // done:dl to done
	markLook                  // GET, and nothing is to be written
)

// scriptRaise puts one mark in another's place and leaves the later of the two expiries. A user who may not ask for the
// expiry keeps the old one.
const scriptRaise = `if redis.pcall('get',KEYS[1])~=ARGV[1] then return 0 end
local left=redis.pcall('pttl',KEYS[1])
if type(left)~='number' then redis.call('set',KEYS[1],ARGV[2],'keepttl')
elseif left<0 then redis.call('set',KEYS[1],ARGV[2])
else redis.call('set',KEYS[1],ARGV[2],'px',math.max(left,tonumber(ARGV[3]))) end
return 1`

// marking is a mark on its way.
type marking struct {
	mark    Mark
	key     string
	step    markStep
	outcome MarkOutcome // 0: not there yet
}

// over reports whether there is an outcome.
func (x *marking) over(now time.Time) bool {
	if x.outcome == 0 && x.left(now) < 1 {
		x.outcome = MarkTooOld
	}
	return x.outcome != 0
}

// left is for how many milliseconds the mark is still of use.
func (x *marking) left(now time.Time) int64 { return x.mark.Until.Sub(now).Milliseconds() }

// build makes the command of the present step.
func (x *marking) build(ctx context.Context, now time.Time) redis.Cmder {
	left := max(1, x.left(now)) // its time may have come since it was looked at
	switch x.step {
	case markSet:
		value := valueDone
		if x.mark.DeadLetter {
			value = valueDoneDead
		}
		return redis.NewStatusCmd(ctx, "set", x.key, value, "px", left, "nx")
	case markRaise:
		return redis.NewIntCmd(ctx, "eval", scriptRaise, 1, x.key, valueDoneDead, valueDone, left)
	default:
		return redis.NewStringCmd(ctx, "get", x.key)
	}
}

// errNoReply is for a command that came back with neither a reply nor an error.
var errNoReply = errors.New("no reply")

// take applies the reply. An error leaves the mark where it was.
func (x *marking) take(cmd redis.Cmder) error {
	err := cmd.Err()
	none := errors.Is(err, redis.Nil)
	if _, unsent := errors.AsType[notSent](err); unsent {
		return err
	}
	switch cmd := cmd.(type) {
	case *redis.StatusCmd:
		switch {
		case none:
			x.step = markRead
		case err != nil:
			return err
		case cmd.Val() != "OK":
			return fmt.Errorf("set %q: %w", cmd.Val(), errNoReply)
		default:
			x.outcome = MarkWritten
		}
	case *redis.IntCmd:
		switch {
		case err != nil:
			return err
		case cmd.Val() == 1:
			x.outcome = MarkRaised
		default:
			x.step = markSet // it has changed in between
		}
	case *redis.StringCmd:
		switch {
		case none:
			x.missing()
		case classify(err) == faultWrongType:
			x.outcome = MarkForeign
		case err != nil:
			return err
		default:
			x.holds(cmd.Val())
		}
	}
	return nil
}

// missing is what a GET without a value means.
func (x *marking) missing() {
	if x.step == markLook {
		x.outcome = MarkWritten
		return
	}
	x.step = markSet // what kept the SET NX from winning has ended in between
}

// holds is what a value means.
func (x *marking) holds(value string) {
	switch readValue(value, "") {
	case holdPending:
		x.outcome = MarkPending
	case holdDone:
		x.outcome = MarkThere
	case holdDoneDead:
		switch {
		case x.mark.DeadLetter:
			x.outcome = MarkThere
		case x.step == markLook:
			x.outcome = MarkRaised
		default:
			x.step = markRaise
		}
	default:
		x.outcome = MarkForeign
	}
}
