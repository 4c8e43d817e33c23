package main

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"sluice/config"
)

// The variables with which a supervisor tells a process of the listening sockets that it inherits, as systemd does for
// socket activation (sd_listen_fds(3)): the descriptors are 3, 4 and so on, LISTEN_FDS of them; LISTEN_FDNAMES has
// their names, separated by colons; LISTEN_PID is the process that they are meant for, so that a child doesn't take its
// parent's variables for its own.
const (
	listenPID   = "LISTEN_PID"
	listenFDs   = "LISTEN_FDS"
	listenNames = "LISTEN_FDNAMES"

	firstInherited = 3
)

// The names of the sockets that Sluice takes, in the order in which they are expected where none has such a name.
const (
	webhookSocket = "webhook"
	adminSocket   = "admin"
)

// smallBacklog is the length of a socket's queue below which a restart under load may fill it. Connections beyond are
// kept out until their clients' next try, which Linux makes after 1 s and then 3 s.
const smallBacklog = 128

// inherited are the listeners that were handed over by whoever started the process. The sockets outlive it: while it
// is replaced, connections wait in their queues instead of being refused.
type inherited struct {
	webhook net.Listener // nil: not handed over
	admin   net.Listener // nil: not handed over
}

// takeOver makes listeners of the sockets that are meant for this process, if there are any, and removes the
// variables from its environment. An error is a [config.InvalidError]: starting again won't help.
func takeOver(environ []string, log *zap.Logger) (inherited, error) {
	names, err := inheritedNames(environ, os.Getpid())
	if err != nil {
		return inherited{}, invalidSockets(err)
	}
	if len(names) == 0 {
		if pid := variable(environ, listenPID); pid != "" {
			log.Warn("inherited sockets aren't used: they are meant for another process", zap.String(listenPID, pid), zap.Int("this", os.Getpid()))
		}
		return inherited{}, nil
	}
	for _, name := range []string{listenPID, listenFDs, listenNames} {
		if err := os.Unsetenv(name); err != nil {
			return inherited{}, fmt.Errorf("removing %s from the environment: %w", name, err)
		}
	}
	return listenersOf(names, firstInherited, log)
}

// listenersOf makes listeners of the descriptors from first on, one for each name.
func listenersOf(names []string, first int, log *zap.Logger) (in inherited, err error) {
	for i, name := range names {
		fd := first + i
		l, err := inheritedListener(fd)
		if err != nil {
			in.close()
			return inherited{}, invalidSockets(fmt.Errorf("descriptor %d, for the %s port, is no listening TCP or Unix socket: %w", fd, name, err))
		}
		if backlog, known := backlogOf(l); known && backlog < smallBacklog {
			log.Warn("an inherited socket has a short queue: connections may have to be repeated during a restart",
				zap.String("socket", name), zap.Int("backlog", backlog))
		}
		if name == webhookSocket {
			in.webhook = l
		} else {
			in.admin = l
		}
	}
	return in, nil
}

// inheritedNames is webhookSocket or adminSocket for each descriptor that is meant for the process pid. Names that
// say neither go by the order, as long as all of them do: systemd makes up names where its configuration has none.
func inheritedNames(environ []string, pid int) ([]string, error) {
	meant := variable(environ, listenPID)
	if meant == "" {
		return nil, nil
	}
	if n, err := strconv.Atoi(meant); err != nil || n <= 0 {
		return nil, fmt.Errorf("%s is %q, which is no process id", listenPID, meant)
	} else if n != pid {
		return nil, nil
	}
	known := []string{webhookSocket, adminSocket}
	text := variable(environ, listenFDs)
	n, err := strconv.Atoi(text)
	switch {
	case err != nil || n < 0:
		return nil, fmt.Errorf("%s is %q, which is no number of descriptors", listenFDs, text)
	case n == 0:
		return nil, nil
	case n > len(known):
		return nil, fmt.Errorf("%s hands over %d sockets; at most two can be used, %q and %q", listenFDs, n, webhookSocket, adminSocket)
	}
	var names []string
	if text := variable(environ, listenNames); text != "" {
		names = strings.Split(text, ":")
	}
	if !slices.ContainsFunc(names, func(name string) bool { return slices.Contains(known, name) }) {
		return known[:n], nil
	}
	if len(names) != n {
		return nil, fmt.Errorf("%s has %d names for %d sockets", listenNames, len(names), n)
	}
	for i, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("%s names a socket %q; they are %q and %q", listenNames, name, webhookSocket, adminSocket)
		}
		if slices.Contains(names[:i], name) {
			return nil, fmt.Errorf("%s names two sockets %q; one that takes IPv4 and IPv6 will do", listenNames, name)
		}
	}
	return names, nil
}

// names are the sockets that were handed over, for the log.
func (in inherited) names() (names []string) {
	if in.webhook != nil {
		names = append(names, webhookSocket)
	}
	if in.admin != nil {
		names = append(names, adminSocket)
	}
	return names
}

// close closes this process's descriptors. The sockets go on listening for whoever else holds them.
func (in inherited) close() {
	for _, l := range []net.Listener{in.webhook, in.admin} {
		if l != nil {
			_ = l.Close() // a server that was made with it may have done so
		}
	}
}

func invalidSockets(err error) error {
	return &config.InvalidError{Problems: []string{"inherited sockets: " + err.Error()}}
}

// variable is the last value of a variable in environ, "" if there is none.
func variable(environ []string, name string) (value string) {
	for _, v := range environ {
		if text, ok := strings.CutPrefix(v, name+"="); ok {
			value = text
		}
	}
	return value
}
