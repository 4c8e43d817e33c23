package dedupe

import (
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	// guardEvery is how often the generation is looked at and given a new stamp.
	guardEvery = 2 * time.Second
	// guardGap is the age of a stamp from which on nobody has looked after it, or its successors are lost.
	guardGap = 15 * time.Second
	// guardMargin is how far before a stamp a repair begins: a mark is older than the stamp that was written with it by
	// the way to Kafka, the pace of stamps, and the difference of clocks.
	guardMargin = time.Minute
)

// generation is the value of a key that no delivery has and every instance refreshes: gen:<id>.<since>.<stamp>, the times in
// milliseconds of 13 digits. It tells what Redis has lost: all, if the key is missing; else what came after the stamp.
// Clocks that differ make repairs needlessly long or frequent, no more.
type generation struct {
	id    string // of the last loss
	since int64  // records since then may have no mark; 0: all have
	stamp int64
}

const valueGeneration = "gen:"

// head is the value up to the stamp.
func (g generation) head() string { return fmt.Sprintf("%s%s.%013d.", valueGeneration, g.id, g.since) }

func (g generation) digits() string { return fmt.Sprintf("%013d", g.stamp) }

func (g generation) String() string { return g.head() + g.digits() }

// parseGeneration reads a value. A later version's may be written in another way.
func parseGeneration(value string) (g generation, ok bool) {
	rest, ok := strings.CutPrefix(value, valueGeneration)
	part := strings.Split(rest, ".")
	if !ok || len(part) != 3 {
		return generation{}, false
	}
	since, bad := strconv.ParseUint(part[1], 10, 63)
	stamp, worse := strconv.ParseUint(part[2], 10, 63)
	g = generation{id: part[0], since: int64(since), stamp: int64(stamp)}
	return g, bad == nil && worse == nil && g.String() == value
}

// scriptGeneration puts another head before the stamp and never brings that back, if the value has still the old head.
const scriptGeneration = `local v=redis.pcall('get',KEYS[1])
if type(v)~='string' or string.sub(v,1,#ARGV[1])~=ARGV[1] then return 0 end
local s=string.sub(v,#ARGV[1]+1)
if s<ARGV[3] then s=ARGV[3] end
redis.call('set',KEYS[1],ARGV[2]..s,'px',ARGV[4])
return 1`

// finding is what a look at a generation tells.
type finding string

const (
	findNothing finding = ""
	findEmpty   finding = "empty" // no key, and none was seen before: Redis is new, or has lost everything
	findLost    finding = "lost"  // no key any more
	findOlder   finding = "older" // an older value than was seen before: an old backup, a failover
	findGap     finding = "gap"   // no stamp for a while: as above, or nobody was there
	findDoubt   finding = "doubt" // there is a new connection: a restart or a failover may have cost the last moments
)

var findings = []finding{findEmpty, findLost, findOlder, findGap, findDoubt}

// judge says what a generation tells and what should stand there next. is is nil if there is none. was is what was seen last,
// zero if nothing. A doubt is the time, in milliseconds, of what gave rise to it, else 0.
func judge(was generation, is *generation, now time.Time, doubt int64, ttl time.Duration) (generation, finding) {
	at := now.UnixMilli()
	found := findEmpty
	if is == nil {
		if was.id != "" {
			found = findLost
		}
		return generation{id: newGenerationID(), since: now.Add(-ttl).UnixMilli(), stamp: at}, found
	}
	next := generation{id: is.id, since: is.since, stamp: max(at, is.stamp)}
	switch {
	case is.stamp < was.stamp:
		found = findOlder
	case is.since != 0: // what may be lost is younger than the stamp, and will be read
		return next, findNothing
	case at-is.stamp > guardGap.Milliseconds():
		found = findGap
	case doubt != 0:
		found = findDoubt
	default:
		return next, findNothing
	}
	since := is.stamp
	if doubt != 0 {
		since = min(since, doubt)
	}
	since -= guardMargin.Milliseconds()
	if is.since != 0 {
		since = min(since, is.since)
	}
	next.id, next.since = newGenerationID(), since
	return next, found
}

func newGenerationID() string { return rand.Text()[:16] }
