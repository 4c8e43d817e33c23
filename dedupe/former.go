package dedupe

import (
	"strings"
	"time"
)

// Remember marks a delivery as kept that an earlier process of this instance has published, or that this process will
// publish whatever happens. It is called before the first [Deduper.Claim]: retries are duplicates from then on, though
// Redis may learn of it later.
func (d *Deduper) Remember(id string, deadLetter bool) {
	c := &Claim{d: d, id: d.recent.digest(id), key: Key(d.opt.Prefix, id), token: d.tokens.next()}
	c.settle.claim = c
	if deadLetter {
		c.ConfirmDeadLetter()
		return
	}
	c.Confirm()
}

// letGoFormer gives back a lease that an earlier process of this instance has left, if the value is one: with
// [Options.Succeeds] nothing was sent under it.
func (d *Deduper) letGoFormer(key, value string) {
	if !d.opt.Succeeds || !strings.HasPrefix(value, d.tokens.instance) || strings.HasPrefix(value, d.tokens.prefix) {
		return
	}
	former := &Claim{d: d, key: key, token: value}
	d.tell(&command{claim: former, kind: tellLetGo, until: time.Now().Add(d.opt.Lease)})
}
