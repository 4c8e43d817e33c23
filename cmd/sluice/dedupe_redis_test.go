package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/internal/testenv"
)

// redisOf asks the test's Redis, fake or real, past Sluice and its client.
type redisOf struct {
	*testing.T
	conn net.Conn
	in   *bufio.Reader
}

func newRedisOf(t *testing.T, env *testenv.Env) *redisOf {
	t.Helper()
	u, err := url.Parse(env.RedisURL())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &redisOf{t, conn, bufio.NewReader(conn)}
}

// do sends a command and reads its reply: the Redis serialization protocol, version 2.
func (r *redisOf) do(args ...string) []string {
	r.Helper()
	var out strings.Builder
	fmt.Fprintf(&out, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&out, "$%d\r\n%s\r\n", len(a), a)
	}
	if err := r.conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		r.Fatal(err)
	}
	if _, err := io.WriteString(r.conn, out.String()); err != nil {
		r.Fatal(err)
	}
	reply, err := r.reply()
	if err != nil {
		r.Fatalf("%q: %v", args, err)
	}
	return reply
}

func (r *redisOf) reply() ([]string, error) {
	line, err := r.in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	kind, rest := line[0], strings.TrimSpace(line[1:])
	if kind == '+' || kind == ':' {
		return []string{rest}, nil
	}
	n, err := strconv.Atoi(rest)
	switch {
	case kind == '-':
		return nil, errors.New(rest)
	case err != nil:
		return nil, err
	case kind == '$' && n >= 0:
		text := make([]byte, n+2)
		_, err := io.ReadFull(r.in, text)
		return []string{string(text[:n])}, err
	}
	var all []string
	for ; n > 0; n-- {
		one, err := r.reply()
		if err != nil {
			return nil, err
		}
		all = append(all, one...)
	}
	return all, nil
}

// all is every mark by its key, without the guard's keys.
func (r *redisOf) all() map[string]string {
	r.Helper()
	marks := make(map[string]string)
	for _, key := range r.do("KEYS", "slu:[^~]*") {
		marks[key] = strings.Join(r.do("GET", key), "")
	}
	for _, key := range r.do("KEYS", "slu:~[^gl]*") {
		marks[key] = strings.Join(r.do("GET", key), "")
	}
	return marks
}

// left is how long a key still lives.
func (r *redisOf) left(key string) time.Duration {
	r.Helper()
	ms, err := strconv.Atoi(r.do("PTTL", key)[0])
	if err != nil {
		r.Fatal(err)
	}
	return time.Duration(ms) * time.Millisecond
}

func (r *redisOf) put(id, value string) {
	r.Helper()
	r.do("SET", "slu:"+id, value)
}
