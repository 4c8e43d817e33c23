package testenv

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
)

// port is a loopback TCP port that no other test on this machine is given while it is held. Two things guard it:
//   - it lies below the kernel's ephemeral range, so that no outgoing connection takes it between a server's death
//     and its restart (and no client dialling the dead server connects to itself);
//   - the UDP port of the same number is held open, which keeps test binaries that run at the same time apart and
//     ends by itself with the process.
type port struct {
	number int
	guard  net.PacketConn
}

// addr is the port with its loopback address.
func (p *port) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.number)) }

// release gives the port back.
func (p *port) release() { _ = p.guard.Close() } // nothing can be done about a close that failed, nor is it needed

// reservePort finds a port that is free for TCP now and stays this process's until it is released.
func reservePort() (*port, error) {
	low, high := portRange()
	var last error
	for range 200 {
		p := &port{number: low + rand.IntN(high-low)}
		guard, err := net.ListenPacket("udp4", p.addr())
		if err != nil {
			last = err
			continue
		}
		probe, err := net.Listen("tcp4", p.addr())
		if err != nil {
			last = errors.Join(err, guard.Close())
			continue
		}
		if err := probe.Close(); err != nil {
			return nil, errors.Join(fmt.Errorf("closing the probe of port %d: %w", p.number, err), guard.Close())
		}
		p.guard = guard
		return p, nil
	}
	return nil, fmt.Errorf("no free port in %d-%d: %w", low, high, last)
}

// portRange is where to look: below the ephemeral range where that leaves room.
//
//nolint:unparam // a range has two ends
func portRange() (low, high int) {
	low, high = 12000, 32000 // ephemeral ports begin at 32768 on Linux by default, later elsewhere
	raw, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return low, high
	}
	if fields := strings.Fields(string(raw)); len(fields) == 2 {
		if first, err := strconv.Atoi(fields[0]); err == nil && first > low+1000 {
			high = min(high, first)
		}
	}
	return low, high
}

// FreePort gives the test a loopback port of its own, for a server that must be told its port or that is restarted
// on it. It is held until the test ends.
func FreePort(t testing.TB) int {
	t.Helper()
	p, err := reservePort()
	if err != nil {
		t.Fatalf("reserving a port: %v", err)
	}
	t.Cleanup(p.release)
	return p.number
}
