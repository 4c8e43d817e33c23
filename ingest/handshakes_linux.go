package ingest

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// refuseHandshakes makes the kernel drop the first packet of new connections
// to l, while handshakes that are under way can be finished. Linux runs a
// listening socket's filter on every TCP segment for it, beginning with the
// TCP header; accepted connections inherit the filter, and it lets all of
// their segments pass.
func refuseHandshakes(l net.Listener) error {
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return errors.ErrUnsupported
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return fmt.Errorf("reaching the socket: %w", err)
	}
	const (
		flagsOffset = 13 // in the TCP header, RFC 9293 (3.1)
		syn, ack    = 0x02, 0x10
		keepAll     = 0xffffffff
	)
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: flagsOffset},
		{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: syn | ack},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: syn, Jt: 0, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: keepAll},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	var attachErr error
	err = raw.Control(func(fd uintptr) {
		attachErr = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program)
	})
	if err := errors.Join(err, attachErr); err != nil {
		return fmt.Errorf("attaching a socket filter: %w", err)
	}
	return nil
}
