package dedupe

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
)

// The values of a key. They are a data format: instances of different versions share one Redis.
const (
	valuePending    = "pending:"
	valueDone       = "done"
	valueDoneDead   = "done:dl"
	valueDonePrefix = "done:" // marks of later versions
)

// tokens makes the values that leases are known by: never the same one twice, also across restarts.
type tokens struct {
	instance string // "pending:<instance>."
	prefix   string // "pending:<instance>.<life>."
	n        atomic.Uint64
}

func newTokens(instance string) (*tokens, error) {
	var life [8]byte
	if _, err := rand.Read(life[:]); err != nil {
		return nil, fmt.Errorf("making the token of this process: %w", err)
	}
	mine := valuePending + instance + "."
	return &tokens{instance: mine, prefix: mine + hex.EncodeToString(life[:]) + "."}, nil
}

func (t *tokens) next() string {
	var digits [13]byte // enough for any uint64 in base 36
	return t.prefix + string(strconv.AppendUint(digits[:0], t.n.Add(1), 36))
}

// holding is what a value says about its key, seen from one claim.
type holding int

const (
	holdMine    holding = iota // my own lease: an earlier sending of my SET was executed
	holdPending                // another claim's lease
	holdDone
	holdDoneDead
	holdForeign // nothing that any version of sluice writes
)

func readValue(value, mine string) holding {
	switch {
	case value == mine:
		return holdMine
	case value == valueDone:
		return holdDone
	case value == valueDoneDead:
		return holdDoneDead
	case strings.HasPrefix(value, valueDonePrefix):
		return holdDone // a newer version's way of saying kept
	case strings.HasPrefix(value, valuePending):
		return holdPending
	default:
		return holdForeign
	}
}
