package signature

import (
	"hash"
	"hash/maphash"
	"slices"
)

const (
	// maxWeight is how much may be wrong at a time. Simple changes weigh 1.
	maxWeight = 3
	// maxWork bounds the search, in bytes hashed or written.
	maxWork = 1 << 30
	// hashWork is what a signature costs beside its text.
	hashWork = 4 << 10
	// rewriteWork is what making a body costs, compared with hashing it.
	rewriteWork = 2
)

// search tries combinations of what may have gone wrong.
type search struct {
	attempt *Attempt
	targets []target
	stamps  []stampVariant
	keys    []keyVariant
	schemes []scheme
	ways    []digestWay
	macs    map[macOf]hash.Hash

	seed      maphash.Seed
	sum       []byte
	work      int
	tried     int
	exhausted bool
}

type macOf struct{ key, way int }

// match is the combination that makes the signature.
type match struct {
	keyName  string
	findings []Finding
}

func newSearch(a *Attempt, stamp timestamp, targets []target) *search {
	s := &search{
		attempt: a, targets: targets, stamps: stamp.variants(a.Body), keys: keyVariants(a.Keys), schemes: schemes(),
		macs: make(map[macOf]hash.Hash), seed: maphash.MakeSeed(),
	}
	for _, way := range digestWays() {
		if slices.ContainsFunc(targets, func(t target) bool { return t.size() == way.size || t.partial != "" && way.size == 32 }) {
			s.ways = append(s.ways, way)
		}
	}
	return s
}

// run returns the first match, by total weight, or nil.
func (s *search) run() *match {
	if len(s.targets) == 0 {
		return nil
	}
	for total := 0; total <= maxWeight; total++ {
		seen := make(map[uint64]bool)
		for body := range bodies(s.attempt.Body, s.attempt.Original, total) {
			if s.work += rewriteWork * len(body.body); body.weight == 0 {
				s.work -= rewriteWork * len(body.body)
			}
			digest := maphash.Bytes(s.seed, body.body)
			if body.weight > total || seen[digest] {
				continue
			}
			seen[digest] = true
			if m := s.tryBody(body, total-body.weight); m != nil || s.exhausted {
				return m
			}
		}
	}
	return nil
}

// tryBody tries what sums up to exactly the weight left.
func (s *search) tryBody(body bodyVariant, left int) *match {
	for w := range s.ways {
		for k := range s.keys {
			for c := range s.schemes {
				spare := left - s.ways[w].weight - s.keys[k].weight - s.schemes[c].weight
				if spare < 0 {
					continue
				}
				if m := s.tryStamps(body, w, k, c, spare); m != nil || s.exhausted {
					return m
				}
			}
		}
	}
	return nil
}

func (s *search) tryStamps(body bodyVariant, w, k, c, weight int) *match {
	for i := range s.stamps {
		stamp := &s.stamps[i]
		if stamp.weight != weight {
			continue
		}
		if s.schemes[c].untimed && stamp.weight > 0 {
			return nil // it isn't in the signed text
		}
		if s.work += hashWork + len(body.body); s.work > maxWork {
			s.exhausted = true
			return nil
		}
		if s.fits(body.body, w, k, c, stamp.text) {
			return &match{s.keys[k].name, slices.Concat(
				s.ways[w].findings, s.schemes[c].finding(), s.keys[k].findings, stamp.findings, body.findings(),
			)}
		}
	}
	return nil
}

// fits computes one signature.
func (s *search) fits(body []byte, w, k, c int, stamp string) bool {
	mac := s.macs[macOf{k, w}]
	if mac == nil {
		mac = s.ways[w].keyed(s.keys[k].secret)
		s.macs[macOf{k, w}] = mac
	}
	mac.Reset()
	s.schemes[c].write(mac, stamp, body)
	s.sum = mac.Sum(s.sum[:0])
	s.tried++
	return slices.ContainsFunc(s.targets, func(t target) bool { return t.matches(s.sum) })
}
