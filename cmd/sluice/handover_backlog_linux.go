package main

import (
	"net"

	"golang.org/x/sys/unix"
)

// backlogOf is how many connections may wait in the queue of a listening TCP socket, and whether that could be found
// out. It is the smaller of what listen(2) was told and net.core.somaxconn.
func backlogOf(l net.Listener) (connections int, known bool) {
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return 0, false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, false
	}
	var info *unix.TCPInfo
	var infoErr error
	err = raw.Control(func(fd uintptr) { info, infoErr = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	if err != nil || infoErr != nil {
		return 0, false
	}
	// For a listening socket Linux tells its queue in the fields of these names: unacked is its length, sacked its limit.
	return int(info.Sacked), true
}
