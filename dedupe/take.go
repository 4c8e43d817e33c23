package dedupe

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// A [Marker] also reserves deliveries for a run that writes many of them to Kafka, is interrupted at any place, and goes on:
// a run that sends dead letters on to their topics, or one that imports. Each reservation has a name of its own, made of
// the run's and the place of the record in its source, so that a run that goes on tells its own from those of others, and
// the same delivery at another place. The order is: Take, write to Kafka, Give. Against each thing that may happen to the
// key in between:
//
//   - The run is killed after Take. It goes on later, finds its own name and writes; nobody else has written.
//   - It is killed after it has written. It goes on, finds its own name, is told by its journal that it has written, and
//     gives. Where it finds "done" it has given already.
//   - Two runs take the same delivery: the script runs alone, and the second one finds the first one's name.
//   - What is kept as a dead letter stays kept, so its reservation is a mark: done:<name>. A retry of the sender is a
//     duplicate, however long it lasts, and a repair leaves it alone. It has the expiry of the mark that it replaces.
//   - What isn't kept yet has a lease for a reservation: pending:<name>. A retry of the sender waits and is then told to come
//     again, as with another instance's. It ends by itself, since nobody else could end it: then an instance may publish
//     the delivery, and a run that goes on later takes it for kept.
//   - A confirm overwrites whatever is there: the delivery is kept, by whoever. Then Take finds "done".
//   - Redis loses the key: Take sees nothing there and reserves it. A repair first is up to the caller.
//
// Every command may be sent again after its reply was lost: Take finds its own name, and Give finds the mark.

// Taking is a reservation.
type Taking struct {
	ID string // see [Identify]
	// Name is the reservation's, of letters, digits, dots and dashes. The same one is given again by a run that goes on.
	Name string
	// Kept: the delivery is on the dead-letter topic, whether or not that is still remembered.
	Kept bool
	// DeadLetter: it is to be written there. Otherwise it is to be written to its own topic, also if it is marked as a dead
	// letter.
	DeadLetter bool
	// Until is when the reservation ends, where nothing was there: a mark's end if Kept, else a lease's.
	Until time.Time
}

func (t *Taking) lease() string { return valuePending + t.Name }
func (t *Taking) mark() string  { return valueDonePrefix + t.Name }

// TakeOutcome is what became of a [Taking].
type TakeOutcome int

// The outcomes. [Marker.LookTaken] has the same ones, for what Take would do.
const (
	Taken        TakeOutcome = iota + 1 // it is the caller's to write
	TakenKept                           // the delivery is kept
	TakenPending                        // an instance holds a lease on it, or another import: come again
	TakenByOther                        // another run, or another record of this one, is sending it on
	TakenForeign                        // the key holds what no version of Sluice writes
)

// scriptTake reserves a key: ARGV are the lease and the mark that stand for the reservation, the value that the mark may
// replace, and what to put for how many milliseconds where nothing is. It returns the value that stands in the way, or
// nothing.
const scriptTake = `local v=redis.pcall('get',KEYS[1])
if type(v)=='table' then return v end
if v==ARGV[1] or v==ARGV[2] then return '' end
if not v then redis.call('set',KEYS[1],ARGV[4],'px',ARGV[5]) return '' end
if v~=ARGV[3] then return v end
local left=redis.pcall('pttl',KEYS[1])
if type(left)~='number' then redis.call('set',KEYS[1],ARGV[2],'keepttl')
elseif left<0 then redis.call('set',KEYS[1],ARGV[2])
else redis.call('set',KEYS[1],ARGV[2],'px',math.max(left,1)) end
return ''`

// scriptGive puts the mark ARGV[3] in the place of a reservation, or where nothing is. Whatever else is there is as good.
const scriptGive = `local v=redis.pcall('get',KEYS[1])
if not v or v==ARGV[1] or v==ARGV[2] then redis.call('set',KEYS[1],ARGV[3],'px',ARGV[4]) end
return 1`

// Take reserves deliveries and returns what became of each, in their order. It waits for Redis as [Marker.Mark] does, and
// has the same errors.
func (m *Marker) Take(ctx context.Context, takings []Taking) ([]TakeOutcome, error) {
	return m.take(ctx, takings, func(ctx context.Context, t *Taking, key string) redis.Cmder {
		replaced, fresh := valueDoneDead, t.lease()
		if t.DeadLetter {
			replaced = ""
		}
		if t.Kept {
			fresh = t.mark()
		}
		left := max(1, t.Until.Sub(m.now()).Milliseconds())
		return redis.NewCmd(ctx, "eval", scriptTake, 1, key, t.lease(), t.mark(), replaced, fresh, left)
	})
}

// LookTaken is Take without writing.
func (m *Marker) LookTaken(ctx context.Context, takings []Taking) ([]TakeOutcome, error) {
	return m.take(ctx, takings, func(ctx context.Context, _ *Taking, key string) redis.Cmder {
		return redis.NewCmd(ctx, "get", key)
	})
}

// Give marks deliveries as kept that were taken and written, until the given time.
func (m *Marker) Give(ctx context.Context, takings []Taking, until time.Time) error {
	_, err := m.take(ctx, takings, func(ctx context.Context, t *Taking, key string) redis.Cmder {
		mark := valueDone
		if t.DeadLetter {
			mark = valueDoneDead
		}
		left := max(1, until.Sub(m.now()).Milliseconds())
		return redis.NewCmd(ctx, "eval", scriptGive, 1, key, t.lease(), t.mark(), mark, left)
	})
	return err
}

func (m *Marker) take(ctx context.Context, takings []Taking, build func(context.Context, *Taking, string) redis.Cmder) ([]TakeOutcome, error) {
	outcomes := make([]TakeOutcome, len(takings))
	open := make([]int, len(takings))
	for i := range takings {
		open[i] = i
	}
	err := m.insist(ctx, func(ctx context.Context) (more bool, why fault, err error) {
		cmds := make([]redis.Cmder, len(open))
		for n, i := range open {
			cmds[n] = build(ctx, &takings[i], Key(m.opt.Prefix, takings[i].ID))
		}
		if len(cmds) > 0 {
			run(ctx, m.client, cmds)
		}
		left := open[:0]
		for n, i := range open {
			cmd := cmds[n].(*redis.Cmd)
			outcome, failed := taken(&takings[i], cmd)
			if failed == nil {
				outcomes[i] = outcome
				continue
			}
			left = append(left, i)
			if w := classify(failed); why == faultNone || m.permanent(w) {
				why, err = w, failed
			}
		}
		open = left
		return len(open) > 0, why, err
	})
	if err != nil {
		return nil, err
	}
	return outcomes, nil
}

// taken is what a reply means.
func taken(t *Taking, cmd *redis.Cmd) (TakeOutcome, error) {
	err := cmd.Err()
	if _, unsent := errors.AsType[notSent](err); unsent {
		return 0, err
	}
	switch {
	case errors.Is(err, redis.Nil):
		return Taken, nil // nothing is there
	case classify(err) == faultWrongType:
		return TakenForeign, nil
	case err != nil:
		return 0, err
	}
	value, is := cmd.Val().(string)
	switch {
	case !is, value == "", value == t.lease(), value == t.mark(), value == valueDoneDead && !t.DeadLetter:
		return Taken, nil
	}
	switch readValue(value, "") {
	case holdPending:
		return TakenPending, nil
	case holdDone:
		if value != valueDone && t.Kept {
			return TakenByOther, nil
		}
		return TakenKept, nil
	case holdDoneDead:
		return TakenKept, nil
	default:
		return TakenForeign, nil
	}
}
