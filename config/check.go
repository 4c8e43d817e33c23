package config

import (
	"net"
	"regexp"
	"strconv"
	"time"
)

// senderRetries is how long the sender repeats a request that failed (Customer.io, reporting webhooks).
const senderRetries = 7 * 24 * time.Hour

// check looks at what a single value's bounds can't say: forms of text, and settings that have to suit each other.
// Values that were refused already are left out.
func (l *loader) check() {
	l.checkListeners()
	l.checkLimits()
	l.checkSignature()
	l.checkRedis()
	l.checkInstance()
	l.checkBrokers()
	l.checkTLS()
	l.checkSASL()
	l.checkTopics()
	l.checkCounts()
	l.checkRetention()
}

func (l *loader) checkListeners() {
	c := l.cfg
	for _, address := range []*string{&c.Listen, &c.AdminListen} {
		if _, port, err := net.SplitHostPort(*address); err != nil || !isPort(port, 0) {
			l.refuse(address, "want HOST:PORT, such as 127.0.0.1:8080 or :8080")
		}
	}
	_, port, _ := net.SplitHostPort(c.Listen)
	if l.usable(&c.Listen, &c.AdminListen) && c.Listen == c.AdminListen && port != "0" {
		l.refuse(&c.AdminListen, "want another address than that of %s", l.name(&c.Listen))
	}
	if l.usable(&c.ReadTimeout, &c.ReadHeaderTimeout) && c.ReadTimeout < c.ReadHeaderTimeout {
		l.refuse(&c.ReadTimeout, "want at least %s, which is %s", l.name(&c.ReadHeaderTimeout), formatDuration(c.ReadHeaderTimeout))
	}
}

// isPort reports whether text is a port number of at least lowest.
func isPort(text string, lowest uint64) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n >= lowest
}

func (l *loader) checkLimits() {
	c := l.cfg
	if l.usable(&c.MaxBody, &c.MaxInFlightBytes) && c.MaxInFlightBytes < c.MaxBody {
		l.refuse(&c.MaxInFlightBytes, "want at least %s, which is %s: a body of that size would never be let in", l.name(&c.MaxBody), c.MaxBody)
	}
	if l.usable(&c.ClaimTimeout, &c.RequestTimeout) && c.ClaimTimeout >= c.RequestTimeout {
		l.refuse(&c.ClaimTimeout, "want less than %s, which is %s: nothing would be left to publish in", l.name(&c.RequestTimeout), formatDuration(c.RequestTimeout))
	}
}

// shortKey is a length under which a signing key was likely cut off or is a placeholder.
const shortKey = 16

func (l *loader) checkSignature() {
	c := l.cfg
	if l.usable(&c.SigningKeys, &c.InsecureNoSignature) {
		switch keys := l.field(&c.SigningKeys); {
		case len(c.SigningKeys) == 0 && !c.InsecureNoSignature && keys.in(l.src.Groups) && l.field(&c.Listen).in(l.src.Groups):
			keys.refuse = true
			l.problems = append(l.problems, "no signing key: set SLUICE_SIGNING_KEYS (or SLUICE_SIGNING_KEYS_FILE) to the webhook signing key that Customer.io shows, or, to accept every request unsigned, SLUICE_INSECURE_NO_SIGNATURE=true")
		case len(c.SigningKeys) > 0 && c.InsecureNoSignature:
			l.refuse(&c.InsecureNoSignature, "%s is set as well: remove it to accept every request unsigned, or remove this to check signatures", keys.name())
		case c.InsecureNoSignature:
			l.warn("%s is on: whoever reaches %s can write to the topics", l.name(&c.InsecureNoSignature), c.Listen)
		}
	}
	for _, key := range c.SigningKeys {
		if len(key.Key.Reveal()) < shortKey {
			l.warn("%s: key %s is shorter than %d characters; is it whole?", l.name(&c.SigningKeys), key.Name, shortKey)
		}
	}
	if !l.usable(&c.SignatureTolerance, &c.DedupeTTL) {
		return
	}
	switch tolerance := c.EffectiveTolerance(); {
	case tolerance > c.DedupeTTL:
		l.warn("%s is longer than %s: a request that comes again after that is accepted and stored a second time", l.name(&c.SignatureTolerance), l.name(&c.DedupeTTL))
	case c.SignatureTolerance != 0 && tolerance < senderRetries:
		l.warn("%s is shorter than the %s for which the sender retries: if its retries keep their first timestamp, they are refused and its queue stands still", l.name(&c.SignatureTolerance), formatDuration(senderRetries))
	}
}

var (
	prefixPattern   = regexp.MustCompile(`^[!-z|~]{1,32}$`) // printable ASCII without space, { and }
	instancePattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
)

func (l *loader) checkRedis() {
	c := l.cfg
	if l.usable(&c.RedisURL, &c.RedisPassword) && c.RedisURL.hasPassword() && c.RedisPassword.IsSet() {
		l.refuse(&c.RedisPassword, "%s has a password in it as well; give only one of the two", l.name(&c.RedisURL))
	}
	if !prefixPattern.MatchString(c.RedisPrefix) {
		// Braces would make Redis Cluster put every key into one slot (Redis Cluster specification, hash tags).
		l.refuse(&c.RedisPrefix, "want 1 to 32 printable ASCII characters without spaces and braces, such as slu:")
	}
	if l.usable(&c.DedupeTTL, &c.DedupeLease) && c.DedupeTTL <= c.DedupeLease {
		l.refuse(&c.DedupeTTL, "want more than %s, which is %s", l.name(&c.DedupeLease), formatDuration(c.DedupeLease))
	}
	if l.usable(&c.DedupeTTL) && c.DedupeTTL <= senderRetries {
		l.warn("%s is not above the %s for which the sender retries: a late retry is stored a second time", l.name(&c.DedupeTTL), formatDuration(senderRetries))
	}
}

func (l *loader) checkInstance() {
	if l.usable(&l.cfg.Instance) && !instancePattern.MatchString(l.cfg.Instance) {
		l.refuse(&l.cfg.Instance, "want 1 to 64 of A-Z a-z 0-9 . _ -")
	}
}
