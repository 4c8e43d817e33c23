//go:build !unix

package main

import (
	"errors"
	"net"
)

func inheritedListener(int) (net.Listener, error) {
	return nil, errors.New("this system can't hand sockets over")
}
