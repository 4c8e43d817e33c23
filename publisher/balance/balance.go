// Package balance keeps account of what becomes of accepted events. An event is accepted when its signature has been
// found valid and no limit stands in its way, so that its content decides the answer. From then on it is in exactly one
// account:
//
//	in flight ─┬→ published, duplicate, dead-lettered, refused
//	           └→ spooled ─→ published, dead-lettered, lost
//
// Events that an earlier process has left on disk begin as spooled; they are counted as recovered. So, at every instant,
//
//	accepted + recovered = published + duplicate + dead-lettered + refused + lost + spooled + in flight
//
// The sum holds by construction. What can be wrong is an account, so those who know an event's fate move it, each at one
// place: the publisher what is kept, and cmd what is a duplicate or isn't kept.
//
// It is a leaf: it knows neither Kafka nor Redis. It keeps numbers and no events, and nothing of it
// outlives the process: over the restarts of one that was killed the accounts don't add up, since what it had published in
// its last moment may be recovered, and then counts in both lives.
package balance

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
)

// Account is where an event is. The zero Account is InFlight.
type Account uint8

// The accounts.
const (
	InFlight     Account = iota // accepted, and its outcome isn't known
	Published                   // on its own topic, or on the overflow topic
	Duplicate                   // kept before
	DeadLettered                // on the dead-letter topic
	Refused                     // answered 503, and certainly not kept
	Lost                        // acknowledged, and damaged on disk since
	Spooled                     // on disk: this process or the next one publishes it
	accounts
)

// ended reports whether an account is never left again.
func (a Account) ended() bool { return a != InFlight && a != Spooled }

// Book holds the accounts. The zero Book is empty and ready. Its methods are safe for concurrent use.
type Book struct {
	// accepted isn't guarded by mu: an event is accepted before it is moved, so whoever holds mu and reads it afterwards
	// has the balance of that instant, with what isn't in another account in flight.
	accepted atomic.Int64

	mu        sync.Mutex
	recovered int64
	in        [accounts]int64 // InFlight's is what has left it, negative
}

// Accept takes an event in; it is in flight.
func (b *Book) Accept() { b.accepted.Add(1) }

// Recover takes in n events that an earlier process has left on disk; they are spooled.
func (b *Book) Recover(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.recovered += int64(n)
	b.in[Spooled] += int64(n)
}

// Move moves an event whose account its caller knows.
func (b *Book) Move(from, to Account) {
	if from == to {
		return
	}
	b.mu.Lock()
	b.in[from]--
	b.in[to]++
	b.mu.Unlock()
}

// Advance moves an event on whose news may come in any order: what is told after its end is ignored. *at is where it is;
// it belongs to the book.
func (b *Book) Advance(at *Account, to Account) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if at.ended() {
		return
	}
	b.in[*at]--
	b.in[to]++
	*at = to
}

// Balance is a book at one instant, in events since the process began. Accepted and Recovered are the sum of the others.
type Balance struct {
	Accepted     int64 `json:"accepted"`
	Recovered    int64 `json:"recovered"`
	Published    int64 `json:"published"`
	Duplicate    int64 `json:"duplicate"`
	DeadLettered int64 `json:"dead_lettered"`
	Refused      int64 `json:"refused"`
	Lost         int64 `json:"lost"`
	Spooled      int64 `json:"spooled"`   // now
	InFlight     int64 `json:"in_flight"` // now
}

// Balance takes the balance.
func (b *Book) Balance() Balance {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := Balance{
		Recovered: b.recovered, Published: b.in[Published], Duplicate: b.in[Duplicate], DeadLettered: b.in[DeadLettered],
		Refused: b.in[Refused], Lost: b.in[Lost], Spooled: b.in[Spooled], Accepted: b.accepted.Load(),
	}
	n.InFlight = n.Accepted + b.in[InFlight]
	return n
}

// String writes it as the equation that it is, without what is zero.
func (n Balance) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%d accepted", n.Accepted)
	part := func(before string, count int64, name string) {
		if count != 0 {
			fmt.Fprintf(&s, "%s%d %s", before, count, name)
		}
	}
	part(" + ", n.Recovered, "recovered")
	sign := " = "
	for _, x := range []struct {
		count int64
		name  string
	}{
		{n.Published, "published"},
		{n.Duplicate, "duplicate"},
		{n.DeadLettered, "dead-lettered"},
		{n.Refused, "refused"},
		{n.Lost, "lost"},
		{n.Spooled, "spooled"},
		{n.InFlight, "in flight"},
	} {
		part(sign, x.count, x.name)
		if x.count != 0 {
			sign = " + "
		}
	}
	return s.String()
}
