//go:build unix

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

var (
	errNotListening = errors.New("nothing listens on it")
	errNotStream    = errors.New("it isn't a stream socket")
)

// inheritedListener makes a listener of a descriptor, which is closed: the listener has one of its own.
func inheritedListener(fd int) (net.Listener, error) {
	// net.FileListener takes any stream socket; one that doesn't listen would fail at its first Accept only.
	listening, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN)
	if err != nil {
		return nil, fmt.Errorf("asking whether it listens: %w", err)
	}
	kind, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_TYPE)
	switch {
	case err != nil:
		return nil, fmt.Errorf("asking for its type: %w", err)
	case kind != syscall.SOCK_STREAM:
		return nil, errNotStream
	case listening == 0:
		return nil, errNotListening
	}
	file := os.NewFile(uintptr(fd), "inherited socket")
	defer func() { _ = file.Close() }()
	return net.FileListener(file)
}
