package spool

// numbers is a set of entries' numbers. These are dense, so that it takes about a bit for each.
type numbers struct {
	count int
	pages map[uint64]*page // by number / pageBits
}

const pageBits = 4096

type page struct {
	count int
	bits  [pageBits / 64]uint64
}

func newNumbers() *numbers { return &numbers{pages: make(map[uint64]*page)} }

func (s *numbers) has(n uint64) bool {
	p := s.pages[n/pageBits]
	return p != nil && p.bits[n%pageBits/64]>>(n%64)&1 == 1
}

func (s *numbers) add(n uint64) {
	if s.has(n) {
		return
	}
	p := s.pages[n/pageBits]
	if p == nil {
		p = &page{}
		s.pages[n/pageBits] = p
	}
	p.bits[n%pageBits/64] |= 1 << (n % 64)
	p.count++
	s.count++
}

// remove reports whether it was there.
func (s *numbers) remove(n uint64) bool {
	if !s.has(n) {
		return false
	}
	p := s.pages[n/pageBits]
	p.bits[n%pageBits/64] &^= 1 << (n % 64)
	s.count--
	if p.count--; p.count == 0 {
		delete(s.pages, n/pageBits)
	}
	return true
}
