package dedupe

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Parameters that a URL may carry. Everything else go-redis would take (timeouts, retries, pool sizes, routing to
// replicas) would break what this package promises, so it is refused instead of overridden silently.
var urlParameters = map[string][]string{
	"":         {"client_name", "db", "protocol", "skip_verify"},
	"cluster":  {"addr", "client_name", "protocol", "skip_verify"},
	"sentinel": {"addr", "client_name", "db", "master_name", "password", "protocol", "skip_verify", "username"},
}

// parseURL reads what [Options.URL] allows on top of go-redis' own parsers. No error holds any part of the URL that
// could be a secret.
func parseURL(raw string) (*redis.UniversalOptions, error) {
	u, err := url.Parse(raw)
	if err != nil {
		// The reason quotes the URL, and a password with a bare slash ends up in the quoted part.
		return nil, errors.New("dedupe: redis URL can't be parsed (percent-encode special characters of user and password)")
	}
	base, topology, _ := strings.Cut(u.Scheme, "+")
	allowed, known := urlParameters[topology]
	switch {
	case base != "redis" && base != "rediss" && base != "unix", !known, base == "unix" && topology != "":
		return nil, fmt.Errorf("dedupe: redis URL scheme %q is unknown: use redis, rediss, unix, or redis or rediss with +cluster or +sentinel", u.Scheme)
	case base != "unix" && u.Hostname() == "":
		return nil, errors.New("dedupe: redis URL names no host")
	case strings.Contains(u.Host, ","):
		return nil, errors.New("dedupe: redis URL names several hosts: give the further ones as addr parameters")
	}
	query := u.Query()
	for name := range query {
		if !slices.Contains(allowed, name) {
			return nil, fmt.Errorf("dedupe: redis URL parameter %q is not accepted here: use %s", name, strings.Join(allowed, ", "))
		}
	}
	u.Scheme = base
	var o *redis.UniversalOptions
	switch topology {
	case "cluster":
		o, err = parseCluster(u, query)
	case "sentinel":
		o, err = parseSentinel(u, query)
	default:
		o, err = parseSingle(u)
	}
	if err != nil {
		return nil, fmt.Errorf("dedupe: redis URL: %w", err)
	}
	if o.Protocol == 0 {
		o.Protocol = 2 // nothing here needs RESP3, and every server and proxy speaks RESP2
	}
	return o, nil
}

func parseSingle(u *url.URL) (*redis.UniversalOptions, error) {
	p, err := redis.ParseURL(u.String())
	if err != nil {
		return nil, err
	}
	return &redis.UniversalOptions{
		Addrs: []string{p.Addr}, Username: p.Username, Password: p.Password, DB: p.DB,
		ClientName: p.ClientName, Protocol: p.Protocol, TLSConfig: p.TLSConfig,
	}, nil
}

func parseCluster(u *url.URL, query url.Values) (*redis.UniversalOptions, error) {
	if strings.Trim(u.Path, "/") != "" {
		return nil, errors.New("a cluster has no database number")
	}
	verify, err := takeBool(u, query, "skip_verify") // go-redis reads it for the other kinds only
	if err != nil {
		return nil, err
	}
	p, err := redis.ParseClusterURL(u.String())
	if err != nil {
		return nil, err
	}
	if p.TLSConfig != nil {
		p.TLSConfig.InsecureSkipVerify = verify
	} else if verify {
		return nil, errors.New("skip_verify needs rediss")
	}
	return &redis.UniversalOptions{
		Addrs: p.Addrs, Username: p.Username, Password: p.Password,
		ClientName: p.ClientName, Protocol: p.Protocol, TLSConfig: p.TLSConfig,
		IsClusterMode: true, // also with one address: a configuration endpoint
	}, nil
}

func parseSentinel(u *url.URL, query url.Values) (*redis.UniversalOptions, error) {
	if query.Get("master_name") == "" {
		return nil, errors.New("master_name is missing: sentinels watch masters by name")
	}
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), "26379") // go-redis would take Redis' own port
	}
	p, err := redis.ParseFailoverURL(u.String())
	if err != nil {
		return nil, err
	}
	return &redis.UniversalOptions{
		Addrs: p.SentinelAddrs, MasterName: p.MasterName,
		SentinelUsername: p.SentinelUsername, SentinelPassword: p.SentinelPassword,
		Username: p.Username, Password: p.Password, DB: p.DB,
		ClientName: p.ClientName, Protocol: p.Protocol, TLSConfig: p.TLSConfig,
	}, nil
}

// takeBool reads a boolean parameter and removes it from the URL.
func takeBool(u *url.URL, query url.Values, name string) (bool, error) {
	s := query.Get(name)
	query.Del(name)
	u.RawQuery = query.Encode()
	if s == "" {
		return false, nil
	}
	b, err := strconv.ParseBool(s)
	if err != nil {
		return false, fmt.Errorf("%s must be true or false", name)
	}
	return b, nil
}
